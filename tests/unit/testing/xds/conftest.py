"""The fixture that users have, too."""

from proxeny.testing.fixtures import control_plane

__all__ = ["control_plane"]
