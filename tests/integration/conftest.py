"""The fixtures of every process test: ``proxy(config)`` runs the real command, ``upstream()`` answers it."""

from proxeny.testing.fixtures import proxy, upstream

__all__ = ["proxy", "upstream"]
