"""Configuration messages of our own, beside Envoy's."""
