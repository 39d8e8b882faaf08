"""For all unit tests: extensions are found by name."""

from proxeny import extensions

extensions.install()
