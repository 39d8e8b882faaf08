"""Kinds of active health checks (``upstream.health_check.contract``)."""
