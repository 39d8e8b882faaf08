"""Public test tools: a fake upstream, a running proxy, a pytest fixture, simulated time.

In a ``conftest.py``: ``pytest_plugins = ["proxeny.testing.fixtures"]`` gives the fixtures ``proxy`` and ``upstream``.
"""

from proxeny.event.time_source import SimulatedTimeSource
from proxeny.testing.proxy import ProxyFailed, RunningProxy
from proxeny.testing.upstream import FakeUpstream, ReceivedRequest

__all__ = ["FakeUpstream", "ProxyFailed", "ReceivedRequest", "RunningProxy", "SimulatedTimeSource"]
