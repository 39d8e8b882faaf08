"""The command line of ``proxeny intercept``: install, show and remove."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

from proxeny.intercept import config as parse
from proxeny.intercept.config import ALL, InboundMode, InterceptConfig, InterceptError
from proxeny.intercept.installer import Backend, Installed, apply, choose_backend, read_installed, steps, wanted
from proxeny.intercept.iptables import restore_text
from proxeny.intercept.system import System

PROGRAM: Final = "proxeny intercept"
EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1

_Parse = Callable[[str], Any]

_FLAGS: Final[tuple[tuple[tuple[str, ...], str, _Parse, str], ...]] = (
    (("-p", "--envoy-port"), "envoy_port", parse.port, "where the proxy takes outbound connections (15001)"),
    (("-z", "--inbound-capture-port"), "inbound_capture_port", parse.port,
     "where the proxy takes inbound connections (15006)"),
    (("-e", "--inbound-tunnel-port"), "inbound_tunnel_port", parse.port,
     "the proxy's tunnel port, never captured (15008)"),
    (("-u", "--proxy-uid"), "proxy_uids", parse.users,
     "users that the proxy runs as, whose traffic is left alone (1337)"),
    (("-g", "--proxy-gid"), "proxy_gids", parse.groups, "the same for groups (the numbers of --proxy-uid)"),
    (("-b", "--istio-inbound-ports", "--inbound-ports"), "inbound_ports", parse.ports_or_all,
     "inbound ports to capture: a list, * or nothing (*)"),
    (("-d", "--istio-local-exclude-ports", "--exclude-inbound-ports"), "exclude_inbound_ports", parse.ports,
     "inbound ports that * leaves out"),
    (("-c", "--istio-exclude-interfaces", "--exclude-interfaces"), "exclude_interfaces", parse.interfaces,
     "network devices whose traffic is left alone"),
    (("-k", "--kube-virt-interfaces"), "virtual_interfaces", parse.interfaces,
     "network devices of virtual machines, whose inbound traffic counts as outbound"),
    (("-i", "--istio-service-cidr", "--outbound-cidrs"), "outbound_cidrs", parse.cidrs_or_all,
     "destinations to capture: a list of CIDRs, * or nothing (*)"),
    (("-x", "--istio-service-exclude-cidr", "--exclude-outbound-cidrs"), "exclude_outbound_cidrs", parse.cidrs,
     "destinations that are left out"),
    (("-q", "--istio-outbound-ports", "--outbound-ports"), "outbound_ports", parse.ports,
     "outbound ports to capture whatever the destination"),
    (("-o", "--istio-local-outbound-ports-exclude", "--exclude-outbound-ports"), "exclude_outbound_ports", parse.ports,
     "outbound ports that are left out"),
    (("--istio-outbound-owner-users", "--owner-users"), "owner_uids", parse.users_or_all,
     "users whose connections are captured (*)"),
    (("--istio-outbound-owner-users-exclude", "--exclude-owner-users"), "exclude_owner_uids", parse.users,
     "users that * leaves out"),
    (("--istio-outbound-owner-groups", "--owner-groups"), "owner_gids", parse.groups_or_all,
     "groups whose connections are captured (*)"),
    (("--istio-outbound-owner-groups-exclude", "--exclude-owner-groups"), "exclude_owner_gids", parse.groups,
     "groups that * leaves out"),
    (("--dns-port",), "dns_port", parse.port, "where the proxy takes captured DNS queries, UDP and TCP (15053)"),
)  # fmt: skip
"""Istio's flags first, then a plainer name; what of the configuration they set."""


def _argument(read: _Parse) -> _Parse:
    """A parser of values whose refusals argparse prints."""

    def parsed(text: str) -> Any:
        try:
            return read(text)
        except InterceptError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _mark(text: str) -> int:
    return parse.number(text, 1, 2**32 - 1, "a mark")


def _route_table(text: str) -> int:
    return parse.number(text, 1, 252, "a routing table of one's own")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, allow_abbrev=False,
        description="Leads a service's connections through its sidecar, by rules like those of Istio's init container.",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    install = commands.add_parser("install", allow_abbrev=False, help="install the rules, or replace those of before")
    show = commands.add_parser("show", allow_abbrev=False, help="print what is installed; status 1 when nothing is")
    remove = commands.add_parser("remove", allow_abbrev=False, help="remove what is installed")
    for command in (install, show, remove):
        command.add_argument(
            "--namespace", "--network-namespace", metavar="NAME|PATH|pid:N", help="the network namespace (this one)"
        )
        command.add_argument("-t", "--istio-inbound-tproxy-mark", dest="tproxy_mark", type=_argument(_mark),
                             metavar="MARK", help="packet mark of TPROXY (1337)")  # fmt: skip
        command.add_argument("-r", "--istio-inbound-tproxy-route-table", dest="tproxy_route_table", metavar="TABLE",
                             type=_argument(_route_table), help="routing table of TPROXY (133)")  # fmt: skip
    for command in (install, remove):
        command.add_argument("-n", "--dry-run", action="store_true", help="print what would run, as a shell script")
    _add_install_flags(install)
    return parser


def _add_install_flags(install: argparse.ArgumentParser) -> None:
    install.add_argument("--backend", choices=("auto", "nft", "iptables"), default="auto",
                         help="what holds the rules (the one in use, else nft, else iptables)")  # fmt: skip
    for names, destination, read, text in _FLAGS:
        install.add_argument(*names, dest=destination, type=_argument(read), help=text.replace("%", "%%"),
                             metavar=names[-1].lstrip("-").rpartition("-")[2].upper())  # fmt: skip
    install.add_argument("-m", "--istio-inbound-interception-mode", "--inbound-mode", dest="inbound_mode",
                         type=str.upper, choices=[mode.value for mode in InboundMode],
                         help="how inbound connections are captured (REDIRECT)")  # fmt: skip
    install.add_argument("--redirect-dns", action="store_true", default=None, help="capture DNS queries too")
    install.add_argument("--capture-all-dns", action="store_true",
                         help="with --redirect-dns: to any server, not only those of resolv.conf")  # fmt: skip
    install.add_argument("--dns-servers", type=_argument(parse.addresses), metavar="ADDRESSES",
                         help="with --redirect-dns: to these servers, not those of resolv.conf")  # fmt: skip
    install.add_argument("--drop-invalid", action="store_true", default=None,
                         help="drop packets that belong to no connection instead of answering them")  # fmt: skip
    install.add_argument("--ipv6", action=argparse.BooleanOptionalAction, help="capture IPv6 (where it is in use)")


def config_of(arguments: argparse.Namespace, system: System) -> InterceptConfig:
    """What the arguments ask for. Raises InterceptError."""
    named = {key: value for key, value in vars(arguments).items() if value is not None}
    known = {key: named[key] for key in InterceptConfig.__dataclass_fields__ if key in named}
    if "inbound_mode" in known:
        known["inbound_mode"] = InboundMode(known["inbound_mode"])
    if "proxy_uids" in known and "proxy_gids" not in known:
        known["proxy_gids"] = known["proxy_uids"]
    if arguments.capture_all_dns and arguments.dns_servers is not None:
        raise InterceptError("--capture-all-dns and --dns-servers exclude each other")
    if arguments.capture_all_dns:
        known["dns_servers"] = ALL
    elif arguments.redirect_dns and arguments.dns_servers is None:
        known["dns_servers"] = system.nameservers()
    if arguments.ipv6 is None:
        known["ipv6"] = system.has_ipv6()
    return replace(InterceptConfig(), **known).check()


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        system = System(arguments.namespace)
        return {"install": _install, "show": _show, "remove": _remove}[arguments.command](arguments, system)
    except InterceptError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return EXIT_FAILURE


def _present(arguments: argparse.Namespace, system: System) -> Installed:
    """What is there. Where only a dry run may not read it: nothing."""
    default = InterceptConfig()
    mark = arguments.tproxy_mark or default.tproxy_mark
    table = arguments.tproxy_route_table or default.tproxy_route_table
    try:
        return read_installed(system, (mark,), (str(table),))
    except InterceptError as error:
        if not getattr(arguments, "dry_run", False):
            raise
        sys.stdout.write(f"# What is installed cannot be read; taken for nothing. {error}\n")
        return Installed()


def _install(arguments: argparse.Namespace, system: System) -> int:
    config = config_of(arguments, system)
    with nullcontext() if arguments.dry_run else system.alone():
        present = _present(arguments, system)
        backend = choose_backend(system, present) if arguments.backend == "auto" else Backend(arguments.backend)
        target = wanted(config, backend)
        if arguments.dry_run:
            _print_steps(system, present, target)
            return EXIT_OK
        apply(system, present, target)
    _tell_installed(config, backend)
    if not system.loopback_is_up():
        sys.stderr.write(f"{PROGRAM}: lo is down: what is captured cannot reach the proxy until it is up\n")
    return EXIT_OK


def _tell_installed(config: InterceptConfig, backend: Backend) -> None:
    inbound = f"inbound to {config.inbound_capture_port} ({config.inbound_mode.value})" if config.inbound_ports else ""
    parts = [f"outbound to {config.envoy_port}", inbound, f"DNS to {config.dns_port}" if config.redirect_dns else ""]
    versions = " and ".join(f"IPv{family}" for family in config.families)
    sys.stdout.write(f"{', '.join(part for part in parts if part)}; {versions}, by {backend.value}\n")


def _remove(arguments: argparse.Namespace, system: System) -> int:
    with nullcontext() if arguments.dry_run else system.alone():
        present = _present(arguments, system)
        if arguments.dry_run:
            _print_steps(system, present, Installed())
            return EXIT_OK
        apply(system, present, Installed())
    sys.stdout.write("removed\n" if present else "nothing was installed\n")
    return EXIT_OK


def _print_steps(system: System, present: Installed, target: Installed) -> None:
    for step in steps(present, target):
        sys.stdout.write(system.command_line(step))


def _show(arguments: argparse.Namespace, system: System) -> int:
    present = _present(arguments, system)
    if not present:
        sys.stdout.write("nothing is installed\n")
        return EXIT_FAILURE
    for family, state in present.iptables.items():
        sys.stdout.write(f"# iptables, IPv{family}\n{restore_text({}, state)}")
    if present.nftables:
        sys.stdout.write(f"# nftables\n{present.nftables}")
    for step in steps(Installed(), replace(present, iptables={}, nftables="")):
        sys.stdout.write(f"# {system.command_line(step)}")
    return EXIT_OK
