"""The command line: Istio's flags, plainer names, refusals."""

from __future__ import annotations

import ipaddress

import pytest

from proxeny.intercept import command
from proxeny.intercept.config import ALL, InboundMode, InterceptConfig, InterceptError
from proxeny.intercept.system import System


class Here(System):
    """A namespace with IPv6 and one DNS server."""

    def has_ipv6(self) -> bool:
        return True

    def nameservers(self) -> tuple[ipaddress.IPv4Address, ...]:
        return (ipaddress.IPv4Address("10.0.0.2"),)


def config_of(*args: str) -> InterceptConfig:
    return command.config_of(command._parser().parse_args(["install", *args]), Here())


def test_defaults() -> None:
    assert config_of() == InterceptConfig()


def test_flags_of_istio() -> None:
    """As its init container gets them."""
    short = (
        "-p 16001 -z 16006 -e 16008 -u 0 -g 1337 -m TPROXY -i 10.0.0.0/8 -x 10.1.0.0/16 -b * -d 15090,15021 -o 25 -q 53"
    )
    long = (
        "--envoy-port 16001 --inbound-capture-port 16006 --inbound-tunnel-port 16008 --proxy-uid 0 --proxy-gid 1337 "
        "--istio-inbound-interception-mode TPROXY --istio-service-cidr 10.0.0.0/8 --istio-service-exclude-cidr "
        "10.1.0.0/16 --istio-inbound-ports * --istio-local-exclude-ports 15090,15021 "
        "--istio-local-outbound-ports-exclude 25 --istio-outbound-ports 53"
    )
    plain = (
        "-p 16001 -z 16006 -e 16008 -u 0 -g 1337 --inbound-mode tproxy --outbound-cidrs 10.0.0.0/8 "
        "--exclude-outbound-cidrs 10.1.0.0/16 --inbound-ports * --exclude-inbound-ports 15090,15021 "
        "--exclude-outbound-ports 25 --outbound-ports 53"
    )
    wanted = InterceptConfig(
        envoy_port=16001, inbound_capture_port=16006, inbound_tunnel_port=16008, proxy_uids=(0,), proxy_gids=(1337,),
        inbound_mode=InboundMode.TPROXY, outbound_cidrs=(ipaddress.ip_network("10.0.0.0/8"),),
        exclude_outbound_cidrs=(ipaddress.ip_network("10.1.0.0/16"),), exclude_inbound_ports=(15090, 15021),
        exclude_outbound_ports=(25,), outbound_ports=(53,),
    )  # fmt: skip
    assert config_of(*short.split()) == config_of(*long.split()) == config_of(*plain.split()) == wanted


def test_more_flags() -> None:
    flags = "-c eth1 -k tap0 -t 7 -r 9 --owner-users 5 --exclude-owner-groups 6 --drop-invalid --no-ipv6 -u 42"
    found = config_of(*flags.split())
    assert found.exclude_interfaces == ("eth1",) and found.virtual_interfaces == ("tap0",)
    assert (found.tproxy_mark, found.tproxy_route_table) == (7, 9)
    assert found.owner_uids == (5,) and found.exclude_owner_gids == (6,)
    assert found.drop_invalid and not found.ipv6
    assert found.proxy_uids == found.proxy_gids == (42,)
    assert config_of("--outbound-cidrs", "", "--inbound-ports", "").outbound_cidrs == ()


def test_dns() -> None:
    assert config_of("--redirect-dns").dns_servers == (ipaddress.ip_address("10.0.0.2"),)
    assert config_of("--redirect-dns", "--capture-all-dns", "--dns-port", "53").dns_servers is ALL
    assert config_of("--redirect-dns", "--dns-servers", "::1").dns_servers == (ipaddress.ip_address("::1"),)
    for wrong in (["--capture-all-dns"], ["--dns-servers", "::1"], ["--redirect-dns", "--dns-servers", ""],
                  ["--redirect-dns", "--capture-all-dns", "--dns-servers", "::1"]):  # fmt: skip
        with pytest.raises(InterceptError):
            config_of(*wrong)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-p", "0"], "'0' is not a port"),
        (["-i", "*,10.0.0.0/8"], "'*' is not a range of addresses"),
        (["-m", "NONE"], "invalid choice: 'NONE'"),
        (["-r", "255"], "not a routing table of one's own"),
        (["-t", "0"], "not a mark"),
        (["-u", "no-such-user"], "there is no user 'no-such-user'"),
        (["--envoy", "1"], "unrecognized arguments"),
    ],
)
def test_refused_by_the_parser(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        command.main(["install", *arguments])
    assert status.value.code == 2 and why in capsys.readouterr().err


def test_refused_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["show", "--namespace", "no-such-namespace"]) == 1
    assert capsys.readouterr().err == "proxeny intercept: there is no network namespace 'no-such-namespace'\n"
    with pytest.raises(SystemExit):
        command.main([])


def test_a_subcommand_of_proxeny(capsys: pytest.CaptureFixture[str]) -> None:
    from proxeny import cli

    with pytest.raises(SystemExit) as status:
        cli.main(["intercept", "--help"])
    assert status.value.code == 0 and "usage: proxeny intercept" in capsys.readouterr().out
