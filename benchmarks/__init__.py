"""The benchmark: Proxeny, Envoy, nginx and HAProxy in one run, configured alike (`python -m benchmarks`)."""
