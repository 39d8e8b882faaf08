"""Proxeny: an Envoy-compatible service proxy in Python."""

__version__ = "0.1.0"
