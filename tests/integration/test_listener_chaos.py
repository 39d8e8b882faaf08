"""Any sequence of updates and deaths of workers ends in what the last file says."""

import os
import random
import signal
import time
from typing import Any

import pytest
from tests.integration.test_listener_updates import Lds, Serve, answer, chain, free_port, greeting, listener, start
from tests.integration.test_workers import wait_until

__all__ = ["start"]

UPDATES = 80


class Chaos:
    """Chooses what comes next."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ports = [free_port() for _ in range(4)]
        self.expected: dict[int, str] = {}
        """What the last file says that each port answers."""

    def listeners(self) -> list[dict[str, Any]]:
        """The next file's."""
        self.expected = {}
        return [self._listener(number, port) for number, port in enumerate(self.ports) if self.random.random() < 0.75]

    def _listener(self, number: int, port: int) -> dict[str, Any]:
        choose = self.random
        text = self.expected[port] = f"{number}-{choose.randint(0, 3)}"
        fields: dict[str, Any] = {"stat_prefix": f"p{choose.randint(0, 2)}"} if choose.random() < 0.4 else {}
        if number == 2:
            fields["connection_balance_config"] = {"exact_balance": {}}
        if number == 3:
            fields["enable_reuse_port"] = False
        others = [chain(greeting("x"), name=str(one), destination_port=one + 1) for one in range(choose.randint(0, 4))]
        name = f"first{number}" if choose.random() < 0.9 else f"second{number}"
        return listener(name, port, chain(greeting(text)), *others, **fields)

    def kill_a_worker(self, lds: Lds) -> None:
        """Perhaps."""
        pids = lds.running.worker_pids()
        if pids and self.random.random() < 0.15:
            try:
                os.kill(self.random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return


def answers(port: int) -> str:
    """What a port answers; empty: nothing listens."""
    try:
        return answer(port).decode()
    except (ConnectionRefusedError, ConnectionResetError):
        return ""


@pytest.mark.parametrize("seed", [1, 2])
def test_any_sequence_ends_in_the_last_state(start: Serve, seed: int) -> None:
    chaos = Chaos(seed)
    lds = start(drain_s=1)
    for _ in range(UPDATES):
        lds.write(*chaos.listeners())
        chaos.kill_a_worker(lds)
        time.sleep(chaos.random.choice([0, 0.005, 0.02, 0.1]))  # not a wait: how fast updates follow
    # One more that is read for sure: renames that follow at once may be one event.
    lds.put(*chaos.listeners())
    wait_until(lambda: len(lds.running.worker_pids()) == 2, "workers are missing")
    for port in chaos.ports:
        wait_until(
            lambda port=port: {answers(port) for _ in range(10)} == {chaos.expected.get(port, "")},  # type: ignore[misc]
            f"port {port} does not come to answer {chaos.expected.get(port)!r}",
        )
    for gauge in ("total_listeners_warming", "total_listeners_draining", "total_filter_chains_draining"):
        wait_until(lambda gauge=gauge: lds.stat(gauge) == 0, f"{gauge} stays")  # type: ignore[misc]
    assert lds.stat("total_listeners_active") == len(chaos.expected)
    assert lds.stat("lds.update_rejected") == lds.stat("listener_create_failure") == 0
    assert "Traceback" not in lds.running.log()
