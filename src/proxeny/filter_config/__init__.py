"""Filters whose configuration is discovered, ``config_discovery`` (Envoy: ``source/common/filter``)."""
