"""``envoy.transport_sockets.tls``."""
