"""``proxeny reload``: have a running proxy load its configuration anew, and say what became of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from proxeny.admin.client import AdminClient, AdminError, add_address, address_of
from proxeny.server.reload.reloader import APPLIED, DEFAULT_PATIENCE_S, PLANNED, ROLLED_BACK, RUNNING, UNCHANGED

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_ROLLED_BACK: Final = 2
_POLL_S: Final = 0.05
_HELP: Final = """\
The proxy reads the files of its command line again, checks them in a process of its own, and applies what changed in
static listeners, clusters and secrets and in static runtime layers. When a part fails, all of it is taken back.
Exit status: 0 applied or nothing to do, 1 refused (nothing was touched), 2 rolled back."""


def main(argv: Sequence[str]) -> int:
    """Run ``proxeny reload``; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        with closing(AdminClient(address_of(arguments))) as client:
            outcome = _reload(client, arguments)
    except AdminError as error:
        sys.stderr.write(f"proxeny reload: {error}\n")
        return EXIT_REFUSED
    if arguments.json:
        sys.stdout.write(json.dumps(outcome, indent=1) + "\n")
    else:
        sys.stdout.write(outcome["plan"])
        _say(outcome)
    if outcome["state"] in (APPLIED, PLANNED, UNCHANGED):
        return EXIT_OK
    return EXIT_ROLLED_BACK if outcome["state"] == ROLLED_BACK else EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxeny reload",
        description="Have a running proxy load its configuration anew.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_address(parser)
    parser.add_argument("--plan", action="store_true", help="print what would change, and change nothing")
    parser.add_argument("--partial", action="store_true", help="apply the rest when some of it needs a restart")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument(
        "--patience",
        type=float,
        default=DEFAULT_PATIENCE_S,
        metavar="SECONDS",
        help=f"how long a cluster or listener may take to become ready ({DEFAULT_PATIENCE_S:g})",
    )
    return parser


def _reload(client: AdminClient, arguments: argparse.Namespace) -> dict[str, Any]:
    wishes = f"patience={arguments.patience:g}"
    wishes += "&plan" if arguments.plan else ""
    wishes += "&partial" if arguments.partial else ""
    number = client.post(f"/reload?{wishes}")["number"]
    while True:
        outcome: dict[str, Any] = client.get("/reload/status")
        if outcome["number"] != number:
            raise AdminError("another reload began meanwhile")
        if outcome["state"] != RUNNING:
            return outcome
        time.sleep(_POLL_S)


def _say(outcome: dict[str, Any]) -> None:
    state, reason = outcome["state"], outcome["reason"]
    if reason:
        words = {ROLLED_BACK: "rolled back, what was there before serves"}.get(state, state)
        sys.stderr.write(f"{words}: {reason}\n")
    elif state == APPLIED:
        sys.stdout.write(f"applied in {outcome['seconds']:.2f} s\n")
