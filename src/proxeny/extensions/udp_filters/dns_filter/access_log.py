"""What a DNS filter's access log knows: the commands of its formats, which are its own and no others, as in Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.formatter.expression import Expression, Kind
from proxeny.formatter.http_commands import Build, ClosedTable
from proxeny.formatter.syntax import Syntax
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxeny.extensions.udp_filters.dns_filter.message import Response
    from proxeny.formatter.parser import Command


class DnsStreamInfo(StreamInfo):
    """The facts of one query and its response."""

    __slots__ = ("dns",)

    def __init__(self, connection: ConnectionInfo, start_time: float, start_ns: int, dns: Response) -> None:
        super().__init__(connection, start_time, start_ns)
        self.dns = dns


def _text(source: str) -> tuple[Syntax, Build]:
    def build(command: Command, names: object) -> Expression:
        return Expression(source, Kind.STR)

    # Arguments and lengths are taken and without effect.
    return Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED, build


def _of_question(source: str) -> tuple[Syntax, Build]:
    return _text(f"({source} if si.dns.query.problem is None else '')")


COMMANDS: Final = ClosedTable(
    {
        "QUERY_NAME": _of_question("si.dns.query.name"),
        "QUERY_TYPE": _of_question("str(si.dns.query.type)"),
        "QUERY_CLASS": _of_question("'1'"),
        "ANSWER_COUNT": _text("str(len(si.dns.answers))"),
        "RESPONSE_CODE": _text("str(int(si.dns.code))"),
        "PARSE_STATUS": _text("('true' if si.dns.query.problem is None else 'false')"),
    }
)
