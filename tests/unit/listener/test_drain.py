"""The drain decision: server-wide reasons, gradual and immediate drains."""

from types import SimpleNamespace

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.listener.drain import MODIFY_ONLY, FilterChainDrain, ListenerDrain
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore


class Fixed:
    """A random source that says what the test wants."""

    def __init__(self) -> None:
        self.value = 0

    def random(self) -> int:
        return self.value


class Setup:
    def __init__(self, strategy: str = "gradual", drain_type: int = 0, drain_time_s: int = 100) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.random = Fixed()
        self.context = FactoryContext(
            "worker",
            MainStore(),
            dispatcher=self.dispatcher,
            options=SimpleNamespace(drain_strategy=strategy, drain_time_s=drain_time_s),
            random=self.random,
        )
        self.drain = ListenerDrain(self.context, drain_type)


@pytest.fixture
def make(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    def made(**options: object) -> Setup:
        setup = Setup(**options)  # type: ignore[arg-type]
        request.addfinalizer(setup.dispatcher.close)
        return setup

    return made


def test_nothing_drains_by_itself(make) -> None:  # type: ignore[no-untyped-def]
    assert not make().drain.drain_close()


@pytest.mark.parametrize("reason", ["draining", "health_check_failed"])
def test_the_server_drains_all_but_modify_only(make, reason: str) -> None:  # type: ignore[no-untyped-def]
    for drain_type, drains in ((0, True), (MODIFY_ONLY, False)):
        setup = make(drain_type=drain_type)
        setattr(setup.context.server_state, reason, True)
        assert setup.drain.drain_close() is drains


def test_immediate(make) -> None:  # type: ignore[no-untyped-def]
    setup = make(strategy="immediate")
    setup.random.value = 99
    setup.drain.start()
    assert setup.drain.started and setup.drain.drain_close()


def test_gradual_drains_become_more_likely(make) -> None:  # type: ignore[no-untyped-def]
    setup = make()
    setup.drain.start()
    assert not setup.drain.drain_close()  # not in the first second, whatever the chance
    for seconds, last in ((1, 1), (29, 59), (20, 99)):
        setup.time.advance_ms(seconds * 1000)
        setup.dispatcher.run_once()
        setup.random.value = last
        assert setup.drain.drain_close()
        setup.random.value = last + 1 if last < 99 else 0
        assert setup.drain.drain_close() is (last == 99)


def test_without_a_drain_time_all_go_at_once(make) -> None:  # type: ignore[no-untyped-def]
    setup = make(drain_time_s=0)
    assert not setup.drain.drain_close()
    setup.drain.start()
    assert setup.drain.drain_close()


def test_a_chain_drains_with_its_listener_or_by_itself(make) -> None:  # type: ignore[no-untyped-def]
    setup = make(strategy="immediate")
    gone, stays = (FilterChainDrain(setup.context, setup.drain) for _ in range(2))
    gone.start()
    assert (gone.drain_close(), stays.drain_close()) == (True, False)
    setup.drain.start()
    assert stays.drain_close()


def test_a_chain_drains_gradually_too(make) -> None:  # type: ignore[no-untyped-def]
    setup = make()
    gone = FilterChainDrain(setup.context, setup.drain)
    gone.start()
    setup.random.value = 50
    assert not gone.drain_close()
    setup.time.advance_ms(30_000)
    setup.dispatcher.run_once()
    assert gone.drain_close()
    assert not setup.drain.drain_close()
