"""The command line of ``proxeny top``."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from rich.console import Console
from rich.live import Live

from proxeny.admin.client import AdminClient, AdminError, add_address, address_of
from proxeny.top.keys import Keys
from proxeny.top.sample import Sample, take
from proxeny.top.screen import SORTS, VIEWS, render
from proxeny.top.view import View, compare

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
_KEYS: Final = {"o": "overview", "l": "listeners", "h": "http", "c": "clusters", "n": "hosts", "x": "xds"}
_HELP: Final = """\
keys: q quit, o overview, l listeners, h http, c clusters, n hosts, x xds, s next sort order,
p pause

Works with Proxeny's and with Envoy's admin interface. Percentiles are those of the proxy's last stats interval
(stats_flush_interval, 5 s)."""


def main(argv: Sequence[str]) -> int:
    """Run ``proxeny top``; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        with closing(AdminClient(address_of(arguments))) as client:
            top = _Top(client, arguments)
            if arguments.json or arguments.once or not sys.stdout.isatty():
                top.print_all()
            else:
                top.live()
    except AdminError as error:
        sys.stderr.write(f"proxeny top: {error}\n")
        return EXIT_FAILURE
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxeny top",
        description="A live view of listeners, HTTP managers, clusters and hosts.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_address(parser)
    parser.add_argument("--interval", type=_interval, default=2.0, metavar="SECONDS", help="between samples (2)")
    parser.add_argument("--view", choices=VIEWS, default="overview", help="(overview)")
    parser.add_argument("--sort", choices=SORTS, default="rate", help="(rate)")
    parser.add_argument("--filter", type=_regex, metavar="REGEX", help="only what has such a name")
    parser.add_argument("--once", action="store_true", help="print one view and end")
    parser.add_argument("--json", action="store_true", help="print a line of JSON per view")
    parser.add_argument("--iterations", type=int, default=0, metavar="N", help="end after N views (never; --once: 1)")
    return parser


def _interval(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError("between 0.05 and 3600 seconds")
    return value


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"bad regex: {error}") from None


class _Top:
    """Samples, and the views between them."""

    def __init__(self, client: AdminClient, arguments: argparse.Namespace) -> None:
        self._client = client
        self._interval: float = arguments.interval
        self._filter: re.Pattern[str] | None = arguments.filter
        self._views = 1 if arguments.once else arguments.iterations
        self._as_json: bool = arguments.json
        self._shown: str = arguments.view
        self._sort: str = arguments.sort
        self._paused = False
        self._last = self._take()

    def _take(self) -> Sample:
        return take(self._client.get, time.monotonic())

    def _next(self) -> View:
        now = self._take()
        view = compare(self._last, now, self._filter)
        self._last = now
        return view

    def print_all(self) -> None:
        """Views as text or JSON, one after the other; AdminError."""
        console = Console()
        count = 0
        while not self._views or count < self._views:
            time.sleep(self._interval)
            view = self._next()
            count += 1
            if self._as_json:
                sys.stdout.write(json.dumps(view.as_json()) + "\n")
                sys.stdout.flush()
            else:
                console.print(render(view, self._shown, self._sort, sys.maxsize))

    def live(self) -> None:
        """Views in place, until q; the proxy may go away and come back meanwhile. AdminError if it was never there."""
        view = compare(self._last, self._last, self._filter)
        notice = ""
        count = 0
        console = Console()
        with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as screen:
            due = time.monotonic() + self._interval
            while not self._views or count < self._views:
                screen.update(render(view, self._shown, self._sort, console.size.height, notice), refresh=True)
                if not all([self._obey(key) for key in keys.wait(due - time.monotonic())]):
                    return
                if time.monotonic() < due:
                    continue
                due = time.monotonic() + self._interval
                count += 1
                if not self._paused:
                    try:
                        view, notice = self._next(), ""
                    except AdminError as error:
                        notice = str(error)

    def _obey(self, key: str) -> bool:
        """Do what a key says; False: end."""
        if key in ("q", "\x1b"):
            return False
        if key == "s":
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        elif key == "p":
            self._paused = not self._paused
        else:
            self._shown = _KEYS.get(key, self._shown)
        return True
