"""Layers of the runtime: what they make together, what changes them, what a request makes of it."""

import difflib
import json
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy

TIMEOUT = 20.0
POLL = 0.01


class Side:
    """One proxy whose disk layers are under `current` of its folder."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.lines: list[str] = []
        self.folder = folder
        self._versions = 0
        data = folder.parent / f"{folder.name}-data"
        data.mkdir(parents=True)
        self._data = data
        self._link({"common/number": "8", "common/sub/key": "# why\n42\n#more\n", "clusters/mine/shadowed": "own\n"})
        template = (CONFIGS / "runtime.yaml").read_text().replace("{{folder}}", str(data))
        self.proxy = Proxy(kind, template, folder)

    def _link(self, files: dict[str, str]) -> None:
        """Have `current` lead to a new folder with these files."""
        self._versions += 1
        version = self._data / f"v{self._versions}"
        version.mkdir()
        for name, text in files.items():
            (version / name).parent.mkdir(parents=True, exist_ok=True)
            (version / name).write_text(text)
        link = self._data / "new"
        link.symlink_to(version.name)
        link.rename(self._data / "current")

    def swap(self, **files: str) -> None:
        """Replace the disk layers; wait until the proxy has read them, once per layer."""
        loads = self._loads()
        self._link({name.replace("__", "/"): text for name, text in files.items()})
        self._wait(lambda: self._loads() >= loads + 2)
        self.note("swapped")

    def _loads(self) -> int:
        stats = self.proxy.stats("^runtime[.]load_")
        return stats.get("runtime.load_success", 0) + stats.get("runtime.load_error", 0)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"{self.proxy.kind} waits in vain after\n" + "\n".join(self.lines)
            time.sleep(POLL)

    def modify(self, *pairs: str) -> None:
        """POST /runtime_modify."""
        answer = self.proxy.admin("/runtime_modify?" + "&".join(quote(pair, safe="=") for pair in pairs), "POST")
        self.note(f"modify {' '.join(pairs)}: {answer!r}")

    def show(self) -> None:
        """/runtime and the stats."""
        runtime = json.loads(self.proxy.admin("/runtime"))
        self.note(f"layers {runtime['layers']}")
        for key, entry in sorted(runtime["entries"].items()):
            self.note(f"{key} = {entry['final_value']!r} of {entry['layer_values']}")
        for name, value in sorted(self.proxy.stats("^runtime[.]").items()):
            self.note(f"{name} {value}")

    def until(self, status: int) -> None:
        """Ask until the route is the one wanted: workers hear of a change a moment later."""

        def answered() -> bool:
            host, port = self.proxy.address_of("main")
            with urllib.request.urlopen(f"http://{host}:{port}/", timeout=TIMEOUT) as answer:
                return bool(answer.status == status)

        self._wait(answered)
        self.note(f"answered {status}")

    def note(self, text: str) -> None:
        self.lines.append(text)


def start(side: Side) -> None:
    side.show()
    side.until(201)


def by_hand(side: Side) -> None:
    side.modify("share=0")
    side.until(202)
    side.modify("share=100", "fresh=1", "number=9")
    side.until(201)
    side.show()
    side.modify("share=numerator: 0\ndenominator: HUNDRED")
    side.until(202)
    side.modify("share=true")
    side.until(202)
    side.modify("share=", "number=", "never=")
    side.until(201)
    side.show()


def odd_values(side: Side) -> None:
    for value in ("1e3", "1_0", "0x10", "-1", "1.0", "18446744073709551616", " 50 ", "TRUE", "tRue", "numerator: x"):
        side.modify(f"odd={value}", f"share={value}")
        side.show()
    side.modify("share=100")
    side.until(201)
    for name in ("", "a b", "a/b", "ü", "a%b"):
        side.modify(f"{name}=1")
    side.show()


def odd_shares(side: Side) -> None:
    for share, status in SHARES.items():
        side.modify("share=0")
        side.until(202)
        side.modify(f"share={share}")
        side.until(status)


SHARES = {"100.5": 201, "1e2": 201, "true": 202, "{numerator: 100}": 201, "numerator: 100": 201, "x": 202}


def usage(side: Side) -> None:
    side.modify()
    side.modify("word")
    side.show()


def disk(side: Side) -> None:
    side.swap(common__share="0", common__deep__er__est="x\n\n", common__blank="", common__spaces=" 5 \n")
    side.until(202)
    side.show()
    side.swap(clusters__mine__share="# only a comment", clusters__other__x="1")
    side.show()
    side.swap(elsewhere="1")
    side.until(201)
    side.show()
    side.modify("share=0")
    side.swap(common__share="50", common__gone="", clusters__mine__number="11")
    side.until(202)
    side.show()


CASES = [start, by_hand, odd_values, odd_shares, usage, disk]


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_runtime(case: Callable[[Side], None], tmp_path: Path) -> None:
    def run(kind: str) -> list[str]:
        side = Side(kind, tmp_path / kind)
        try:
            case(side)
        finally:
            side.proxy.close()
        return side.lines

    with ThreadPoolExecutor(2) as pool:
        envoy, proxeny = pool.map(run, (ENVOY, PROXENY))
    if proxeny != envoy:
        lines = difflib.unified_diff(envoy, proxeny, "envoy", "proxeny", lineterm="", n=2)
        pytest.fail("\n".join(lines), pytrace=False)
