"""What a start waits for."""

import gc
import weakref

from proxeny.xds.init_manager import InitManager, InitTarget


def target(name: str, log: list[str]) -> InitTarget:
    return InitTarget(name, lambda: log.append(f"start {name}"))


def test_without_targets_it_is_done_at_once() -> None:
    log: list[str] = []
    InitManager("m").initialize(lambda: log.append("done"))
    assert log == ["done"]


def test_all_are_started_and_waited_for_once() -> None:
    log: list[str] = []
    manager = InitManager("m")
    one, two = target("one", log), target("two", log)
    manager.add(one)
    manager.add(two)
    assert (log, manager.is_done, manager.unready()) == ([], False, ["target one", "target two"])
    manager.initialize(lambda: log.append("done"))
    assert log == ["start one", "start two"]
    assert one.ready()
    assert not one.ready()
    assert (manager.unready(), manager.is_done) == (["target two"], False)
    two.ready()
    assert log == ["start one", "start two", "done"]
    assert manager.is_done


def test_one_that_is_ready_when_it_starts_is_not_waited_for() -> None:
    log: list[str] = []
    manager = InitManager("m")
    quick = InitTarget("quick", lambda: quick.ready())
    manager.add(quick)
    manager.initialize(lambda: log.append("done"))
    assert log == ["done"]


def test_one_that_comes_later_is_started_at_once() -> None:
    log: list[str] = []
    manager = InitManager("m")
    first, later = target("first", log), target("later", log)
    manager.add(first)
    manager.initialize(lambda: log.append("done"))
    manager.add(later)
    first.ready()
    assert log == ["start first", "start later"]
    later.ready()
    assert log[-1] == "done"


def test_two_managers_wait_for_one_target_which_starts_once() -> None:
    log: list[str] = []
    managers = [InitManager("a"), InitManager("b")]
    shared = target("shared", log)
    for manager in managers:
        manager.add(shared)
        manager.initialize(lambda name=manager.name: log.append(f"done {name}"))  # type: ignore[misc]
    shared.ready()
    assert log == ["start shared", "done init manager a", "done init manager b"]
    late = InitManager("c")
    late.add(shared)
    late.initialize(lambda: log.append("done c"))
    assert log[-1] == "done c"


def test_who_no_longer_waits_is_not_called() -> None:
    log: list[str] = []
    manager = InitManager("m")
    slow = target("slow", log)
    manager.add(slow)
    manager.initialize(lambda: log.append("done"))
    manager.cancel()
    slow.ready()
    assert log == ["start slow"]


def test_targets_of_one_name_show_once() -> None:
    manager = InitManager("m")
    for name in ("twin", "twin", "a"):
        manager.add(target(name, []))
    manager.add(InitTarget("z", list, shared=True))
    assert manager.name == "init manager m"
    assert manager.unready() == ["shared target z", "target a", "target twin"]


def test_one_that_is_ready_lets_its_owner_go() -> None:
    class Owner:
        def __init__(self) -> None:
            self.target = InitTarget("owner", self.start)

        def start(self) -> None:
            """Never called."""

    owner = Owner()
    owner.target.ready()
    seen = weakref.ref(owner)
    gc.disable()
    try:
        del owner
        assert seen() is None, "there is a cycle"
    finally:
        gc.enable()
