"""`python -m benchmarks`: run, print the table, write it to benchmarks/results."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.calls import calls_per_request
from benchmarks.processes import BenchmarkError
from benchmarks.report import Results, as_json, markdown, verdicts
from benchmarks.runner import Options, run_scenario
from benchmarks.scenarios import ALL, SCENARIOS, Scenario, select

RESULTS = Path(__file__).parent / "results"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("--scenario", action="append", default=[], help=f"one of: {names}; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=float, default=2, help="load per peer and round (2)")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: to see that it runs")
    parser.add_argument("--only", default=",".join(ALL), help="peers, separated by commas")
    parser.add_argument("--calls", action="store_true", help="only count Proxeny's Python calls per request")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    try:
        scenarios = select(args.scenario)
        peers = tuple(args.only.split(","))
        if unknown := set(peers) - set(ALL):
            raise ValueError(f"no such peer: {', '.join(sorted(unknown))}")
        missing = [tool for tool in ("wrk", "nginx", "haproxy") if shutil.which(tool) is None]
        if missing:
            raise BenchmarkError(f"missing: {', '.join(missing)}; run tools/setup-peers.sh")
    except (ValueError, BenchmarkError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.calls:
        return count_calls(scenarios)
    options = Options(2, 1, peers) if args.quick else Options(args.rounds, args.seconds, peers)
    results: Results = []
    for scenario in scenarios:
        results.append((scenario, run_scenario(scenario, options, _progress)))
    write(results, options)
    if "proxeny" in peers and not args.quick:
        count_calls([scenario for scenario in scenarios if scenario.name == "small"])
    failed = any(one.error for _, series in results for one in series.values())
    missed = any(entry["pass"] is False for entry in verdicts(results))
    return 1 if failed or (args.check and missed) else 0


def count_calls(scenarios: list[Scenario]) -> int:
    for scenario in scenarios:
        if scenario.kind != "load":
            continue
        try:
            print(f"Python calls per request, {scenario.name}: {calls_per_request(scenario):.1f}")
        except (BenchmarkError, OSError) as error:
            print(f"Python calls per request, {scenario.name}: {error}")
            return 1
    return 0


def write(results: Results, options: Options) -> None:
    machine = {
        "machine": f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}",
        "run": f"{options.rounds} rounds of {options.seconds:g} s, interleaved, one worker each; medians",
    } | _versions()
    text = markdown(results, machine)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.md").write_text(text)
    (RESULTS / "latest.json").write_text(json.dumps(as_json(results, machine), indent=1) + "\n")
    print(text)


def _versions() -> dict[str, str]:
    found = {}
    for name, command in (("nginx", ["nginx", "-v"]), ("haproxy", ["haproxy", "-v"]), ("wrk", ["wrk", "-v"])):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[name] = (done.stdout + done.stderr).splitlines()[0].strip()
    return found


def _progress(text: str) -> None:
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
