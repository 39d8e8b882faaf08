"""Commands about a request and its response (Envoy: http_specific_formatter.cc)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from proxeny.config.errors import ConfigError
from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.line_program import HEADER_STEPS, Step
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax, header_names
from proxeny.kernel.headers import HeaderMap
from proxeny.network.grpc_status import grpc_status_of_http, is_grpc_content_type
from proxeny.network.stream_info import StreamInfo

Build = Callable[[Command, Namespace], Expression]
Table = dict[str, tuple[Syntax, Build]]


class ClosedTable(dict[str, tuple[Syntax, Build]]):
    """A table of commands that a format has instead of Envoy's usual ones, not besides them."""


Lookup = Callable[[Command, Namespace], Expression]

_HEADER = Syntax.PARAMS_REQUIRED | Syntax.LENGTH_ALLOWED

# Names of grpc::StatusCode, as Grpc::Utility::grpcStatusToString and absl::StatusCodeToString write them.
_GRPC_CAMEL = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
]
_GRPC_SNAKE = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


def _headers(variable: str) -> Build:
    def build(command: Command, names: Namespace) -> Expression:
        main, alternative = header_names(command.argument)
        source = f"{variable}.get({names.bind(main)})"
        if alternative is not None:
            source = f"(u if (u := {source}) is not None else {variable}.get({names.bind(alternative)}))"
        made = Expression(source, Kind.BYTES, max_length=command.max_length)
        limit = -1 if command.max_length is None else command.max_length
        made.step = Step(HEADER_STEPS[variable], main, alternative, limit)
        return made

    return build


def _byte_size(variable: str) -> Build:
    return lambda command, names: Expression(f"{variable}.byte_size()", Kind.INT)


def status_of(response: HeaderMap, trailers: HeaderMap, info: StreamInfo) -> int | None:
    """The gRPC status of a response: trailers, then headers, then the HTTP status; -1 when it is no number."""
    value = trailers.get(b"grpc-status")
    if value is None:
        value = response.get(b"grpc-status")
    if value is None:
        return grpc_status_of_http(info.response_code) if info.response_code else None
    if not value.isdigit() or len(value) > 9:
        return -1
    return int(value)


def grpc_status(request: HeaderMap, response: HeaderMap, trailers: HeaderMap, info: StreamInfo) -> int | None:
    """The gRPC status of a gRPC request; None when it is not gRPC."""
    return status_of(response, trailers, info) if is_grpc_content_type(request.get(b"content-type")) else None


def _grpc_name(table: list[str]) -> Callable[..., str | None]:
    def name(request: HeaderMap, response: HeaderMap, trailers: HeaderMap, info: StreamInfo) -> str | None:
        status = grpc_status(request, response, trailers, info)
        if status is None:
            return None
        return table[status] if 0 <= status < len(table) else str(status)

    return name


def _grpc(command: Command, names: Namespace) -> Expression:
    form = "NUMBER" if command.name == "GRPC_STATUS_NUMBER" else command.argument
    if form == "NUMBER":
        return Expression(f"{names.bind(grpc_status)}(rq, rs, tr, si)", Kind.OPTIONAL_INT)
    if form not in ("", "CAMEL_STRING", "SNAKE_STRING"):
        raise ConfigError(f"GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: {form}")
    table = _GRPC_SNAKE if form == "SNAKE_STRING" else _GRPC_CAMEL
    return Expression(f"{names.bind(_grpc_name(table))}(rq, rs, tr, si)", Kind.STR)


def query_parameter(path: bytes | None, key: bytes) -> bytes | None:
    """The first value of a query parameter, percent-decoded; None when there is none."""
    if path is None:
        return None
    _, _, query = path.partition(b"?")
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == key or (b"%" in name and unquote_to_bytes(name) == key):
            return unquote_to_bytes(value) if b"%" in value else value
    return None


def _query_param(command: Command, names: Namespace) -> Expression:
    source = f"{names.bind(query_parameter)}(rq.get(b':path'), {names.bind(command.argument.encode())})"
    return Expression(source, Kind.BYTES, max_length=command.max_length)


# A percent sign and two hexadecimal digits; or one with two other bytes behind it, which Envoy drops.
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})|%(?=..)", re.DOTALL)
_STAYS_ENCODED = frozenset([*range(0x21), *b'"<>\\^{|}', *range(0x7F, 0x100)])


def _decoded(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        return b""
    byte = int(digits, 16)
    return match[0] if byte in _STAYS_ENCODED else bytes((byte,))


def decoded_query(path: bytes | None) -> bytes | None:
    """The query with what may stand in one as it is decoded, as Envoy does it; None without a query."""
    query = (path or b"").partition(b"?")[2]
    if not query or b"%" not in query:
        return query or None
    return _ESCAPE.sub(_decoded, query)


_PATH_OPTIONS = {
    "ORIG": "rq.get(b'x-envoy-original-path')",
    "PATH": "rq.get(b':path')",
    "ORIG_OR_PATH": "(rq.get(b'x-envoy-original-path') or rq.get(b':path'))",
}


def _path(command: Command, names: Namespace) -> Expression:
    query, _, option = command.argument.partition(":")
    if query not in ("", "WQ", "NQ"):
        raise ConfigError(f"Invalid PATH option: '{query}', only 'WQ'/'NQ' are allowed")
    source = _PATH_OPTIONS.get(option or "ORIG_OR_PATH")
    if source is None:
        raise ConfigError(f"Invalid PATH option: '{option}', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed")
    source = f"({source} or None)"
    if query == "NQ":
        source = f"(u.partition(b'?')[0] if (u := {source}) is not None else None)"
    return Expression(source, Kind.BYTES, max_length=command.max_length)


def _query_params(command: Command, names: Namespace) -> Expression:
    if command.argument not in ("", "ORIG", "DECODED"):
        raise ConfigError(f"Invalid QUERY_PARAMS option: '{command.argument}', only 'ORIG'/'DECODED' are allowed")
    if command.argument == "DECODED":
        source = f"{names.bind(decoded_query)}(rq.get(b':path'))"
    else:
        source = "((rq.get(b':path') or b'').partition(b'?')[2] or None)"
    return Expression(source, Kind.BYTES, max_length=command.max_length)


def _coalesce(lookup: Lookup) -> Build:
    def build(command: Command, names: Namespace) -> Expression:
        source = "None"
        for index, entry in reversed(list(enumerate(_coalesce_operators(command.argument)))):
            try:
                text = lookup(_coalesce_operator(entry), names).text()
            except ConfigError as error:
                raise ConfigError(f"COALESCE: failed to parse operator at index {index}: {error.message}") from error
            source = f"(x if (x := {text}) is not None else {source})"
        return Expression(source, Kind.BYTES, max_length=command.max_length)

    return build


def _coalesce_operators(argument: str) -> list[object]:
    try:
        document = json.loads(argument)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"COALESCE: failed to parse JSON configuration: {error}") from error
    entries = document.get("operators") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ConfigError("COALESCE: JSON configuration must contain 'operators' array")
    if not entries:
        raise ConfigError("COALESCE: 'operators' array must not be empty")
    return entries


def _coalesce_operator(entry: object) -> Command:
    if isinstance(entry, str):
        return Command(entry)
    if isinstance(entry, dict) and isinstance(entry.get("command"), str):
        length = entry.get("max_length")
        if length is not None and (not isinstance(length, int) or length < 0):
            raise ConfigError("'max_length' must be a non-negative integer")
        return Command(entry["command"], str(entry.get("param", "")), length)
    raise ConfigError("operator entry must be either a string (command name) or an object with 'command' field")


def http_commands(lookup: Lookup) -> Table:
    """The table of commands; ``lookup`` compiles a nested command (COALESCE)."""
    request, response, trailer = _headers("rq"), _headers("rs"), _headers("tr")
    no_trace: Build = lambda command, names: Expression("None", Kind.BYTES)  # noqa: E731
    return {
        "REQ": (_HEADER, request),
        "REQUEST_HEADER": (_HEADER, request),
        "STREAM_INFO_REQ": (_HEADER, request),
        "RESP": (_HEADER, response),
        "RESPONSE_HEADER": (_HEADER, response),
        "TRAILER": (_HEADER, trailer),
        "RESPONSE_TRAILER": (_HEADER, trailer),
        "LOCAL_REPLY_BODY": (Syntax.COMMAND_ONLY, lambda command, names: Expression("body", Kind.BYTES, present=True)),
        "ACCESS_LOG_TYPE": (
            Syntax.COMMAND_ONLY,
            lambda command, names: Expression("log_type", Kind.BYTES, present=True),
        ),
        "GRPC_STATUS": (Syntax.PARAMS_OPTIONAL, _grpc),
        "GRPC_STATUS_NUMBER": (Syntax.COMMAND_ONLY, _grpc),
        "REQUEST_HEADERS_BYTES": (Syntax.COMMAND_ONLY, _byte_size("rq")),
        "RESPONSE_HEADERS_BYTES": (Syntax.COMMAND_ONLY, _byte_size("rs")),
        "RESPONSE_TRAILERS_BYTES": (Syntax.COMMAND_ONLY, _byte_size("tr")),
        # Spans belong to tracing: without an active span both are absent in Envoy too.
        "TRACE_ID": (Syntax.COMMAND_ONLY, no_trace),
        "SPAN_ID": (Syntax.COMMAND_ONLY, no_trace),
        "QUERY_PARAM": (_HEADER, _query_param),
        "QUERY_PARAMS": (Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED, _query_params),
        "PATH": (Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED, _path),
        "COALESCE": (_HEADER, _coalesce(lookup)),
    }
