"""Public test tools: a fake upstream, a running proxy, simulated time."""
