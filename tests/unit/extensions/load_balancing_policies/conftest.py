"""What tests of policies share with those of clusters."""

from tests.unit.upstream.conftest import context, dispatcher

__all__ = ["context", "dispatcher"]
