"""The fixtures of every process test: ``proxy(config)`` runs the real command, ``upstream()`` answers it."""

pytest_plugins = ["proxeny.testing.fixtures"]
