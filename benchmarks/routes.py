"""`python -m benchmarks.routes`: the cost of finding a route, and a virtual host, among few and among very many.

One process, no sockets: what a worker asks for every request. Cost must not grow with the number of routes, whatever
tells them apart. Of each look-up the least of several rounds counts. With `--memory` also what tables cost to make and
to keep.
"""

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxeny import extensions
from proxeny.config.message_types import message_class
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.route_table import RouteTable

SIZES = (10, 1_000, 10_000, 100_000)
HOSTS = (10, 1_000, 10_000)
ROUNDS, LOOKUPS, ASKED = 15, 4_000, 10
MOST_GROWTH = 1.3
"""What the largest table may cost, as a multiple of the smallest."""
TEMPLATE = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Kind:
    """One shape of table: how route `number` is written, and a request that it matches."""

    name: str
    write: Callable[[Any, int], None]
    path: Callable[[int], str]
    fields: Callable[[int], Fields] = lambda number: ()


def padded(number: int) -> str:
    """Of seven lengths, as many in a small table as in a large one: prefixes are looked for by length."""
    return f"{'a' * (number % 7)}{number:06}"


def by_prefix(match: Any, number: int) -> None:
    match.prefix = f"/svc{padded(number)}/"


def by_path(match: Any, number: int) -> None:
    match.path = f"/svc{number}/x"


def by_header(match: Any, number: int) -> None:
    match.prefix = "/"
    match.headers.add(name="x-route").string_match.exact = f"r{number}"


def by_two_headers(match: Any, number: int) -> None:
    match.prefix = "/"
    match.headers.add(name=":method").string_match.exact = "GET"
    match.headers.add(name="x-tenant").string_match.exact = f"t{number % 300}"
    match.headers.add(name="x-version").string_match.exact = f"v{number // 300}"


def by_header_prefix(match: Any, number: int) -> None:
    match.prefix = "/"
    match.headers.add(name="x-route").string_match.prefix = f"r{padded(number)}-"


def by_query(match: Any, number: int) -> None:
    match.prefix = "/"
    match.query_parameters.add(name="route").string_match.exact = f"r{number}"


def by_regex(match: Any, number: int) -> None:
    match.safe_regex.regex = f"/svc{padded(number)}/[a-z]+"


def by_template(match: Any, number: int) -> None:
    match.path_match_policy.name = "template"
    config = message_class(TEMPLATE.rpartition("/")[2])(path_template=f"/svc{padded(number)}/{{x}}")  # type: ignore[call-arg]
    match.path_match_policy.typed_config.Pack(config)


KINDS = (
    Kind("prefix", by_prefix, lambda number: f"/svc{padded(number)}/x"),
    Kind("path", by_path, lambda number: f"/svc{number}/x"),
    Kind("header, one path", by_header, lambda number: "/x", lambda number: ((b"x-route", b"r%d" % number),)),
    Kind(
        "three headers, one path",
        by_two_headers,
        lambda number: "/x",
        lambda number: ((b"x-tenant", b"t%d" % (number % 300)), (b"x-version", b"v%d" % (number // 300))),
    ),
    Kind(
        "header prefix, one path",
        by_header_prefix,
        lambda number: "/x",
        lambda number: ((b"x-route", f"r{padded(number)}-z".encode()),),
    ),
    Kind("query parameter", by_query, lambda number: f"/x?a=b&route=r{number}"),
    Kind("regex", by_regex, lambda number: f"/svc{padded(number)}/x"),
    Kind("URI template", by_template, lambda number: f"/svc{padded(number)}/x"),
)


def mixture(match: Any, number: int) -> None:
    KINDS[number % len(KINDS)].write(match, number)


MIXTURE = Kind(
    "all of these",
    mixture,
    lambda number: KINDS[number % len(KINDS)].path(number),
    lambda number: KINDS[number % len(KINDS)].fields(number),
)


def context() -> FactoryContext:
    return FactoryContext(role="worker", stats=None)  # type: ignore[arg-type]


def table_of(kind: Kind, count: int) -> RouteTable:
    config: Any = message_class("envoy.config.route.v3.RouteConfiguration")(name="r")  # type: ignore[call-arg]
    host = config.virtual_hosts.add(name="v", domains=["*"])
    for number in range(count):
        route = host.routes.add(name=f"{number}")
        kind.write(route.match, number)
        route.route.cluster = "c"
    return RouteTable.compile(config, context(), False)


def host_table(count: int) -> RouteTable:
    """Domains of all kinds: a third exact, a third suffixes, a third prefixes."""
    config: Any = message_class("envoy.config.route.v3.RouteConfiguration")(name="r")  # type: ignore[call-arg]
    for number in range(count):
        domain = (f"host{number}.test", f"*.domain{number}.test", f"app{number}.*")[number % 3]
        route = config.virtual_hosts.add(name=f"{number}", domains=[domain]).routes.add(name=f"{number}")
        route.match.prefix = "/"
        route.route.cluster = "c"
    return RouteTable.compile(config, context(), False)


def request(path: str, host: str = "a.test", fields: Fields = ()) -> HeaderMap:
    """As a connection manager hands it over, with some headers that nobody asks for."""
    pairs = [(b":method", b"GET"), (b":path", path.encode()), (b":authority", host.encode()), (b":scheme", b"http")]
    others = [(b"x-forwarded-proto", b"http"), (b"user-agent", b"bench/1.0"), (b"accept", b"*/*")]
    return HeaderMap([*pairs, *others, *fields])


def spread(count: int) -> list[int]:
    """Numbers from all over the table; as many whatever its size, so that caches are asked alike."""
    return [number * count // ASKED for number in range(ASKED)]


def microseconds(table: RouteTable, asked: list[tuple[HeaderMap, str]]) -> float:
    """The cost of a look-up: the least of the rounds."""
    for headers, name in asked:
        found = table.route(headers, None, 0)
        assert found is not None and found.name == name, (found, name)
    find, all_headers = table.route, [headers for headers, _ in asked]
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(LOOKUPS // len(all_headers)):
            for headers in all_headers:
                find(headers, None, 0)
        rounds.append((time.process_time_ns() - started) / LOOKUPS / 1000)
    return min(rounds)


def host_microseconds(count: int) -> float:
    asked = []
    for number in spread(count):
        host = (f"host{number}.test", f"x.domain{number}.test", f"app{number}.org")[number % 3]
        asked.append((request("/x", host), f"{number}"))
    return microseconds(host_table(count), asked)


def routes_microseconds(kind: Kind, count: int) -> float:
    asked = [(request(kind.path(number), fields=kind.fields(number)), f"{number}") for number in spread(count)]
    return microseconds(table_of(kind, count), asked)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory() -> None:
    """What the largest table of each kind costs (its messages aside, which go when it is made)."""
    print(f"| {SIZES[-1]:,} routes by | seconds to make | MB |\n|---|---|---|")
    for kind in (*KINDS, MIXTURE):
        gc.collect()
        before, started = resident_mb(), time.process_time()
        table = table_of(kind, SIZES[-1])
        seconds = time.process_time() - started
        gc.collect()
        print(f"| {kind.name} | {seconds:.1f} | {resident_mb() - before:.0f} |", flush=True)
        del table


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes", description=__doc__)
    parser.add_argument("--memory", action="store_true", help="what the largest tables cost to make and to keep")
    parser.add_argument("--check", action="store_true", help=f"fail where a cost grows by more than {MOST_GROWTH}")
    args = parser.parse_args(arguments)
    extensions.install()
    if args.memory:
        memory()
        return 0
    flat = True
    print("| a route by | " + " | ".join(f"of {size:,}, µs" for size in SIZES) + " | growth |")
    print("|---" * (len(SIZES) + 2) + "|")
    rows = [(kind.name, [routes_microseconds(kind, size) for size in SIZES]) for kind in (*KINDS, MIXTURE)]
    rows.append(("a virtual host", [host_microseconds(size) for size in HOSTS]))
    for name, costs in rows:
        growth = costs[-1] / costs[0]
        flat = flat and growth <= MOST_GROWTH
        cells = [f"{cost:.2f}" for cost in costs] + ["-"] * (len(SIZES) - len(costs))
        print(f"| {name} | {' | '.join(cells)} | {growth:.2f} |", flush=True)
    return 1 if args.check and not flat else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
