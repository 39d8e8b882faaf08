"""Configuration: text to validated protobuf messages, with Envoy's verdicts."""
