"""Load balancing policies (Envoy: ``source/extensions/load_balancing_policies``)."""
