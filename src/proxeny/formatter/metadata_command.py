"""``%METADATA(TYPE:namespace:key...)%`` and ``%REQ_WITHOUT_QUERY(X?Y)%`` (Envoy: extensions/formatter)."""

from __future__ import annotations

from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Table
from proxeny.formatter.parser import Command
from proxeny.formatter.stream_commands import metadata_expression
from proxeny.formatter.syntax import Syntax, header_names
from proxeny.network.stream_info import StreamInfo


def _route_metadata(info: StreamInfo) -> Any:
    return getattr(info.route, "metadata", None)


def _virtual_host_metadata(info: StreamInfo) -> Any:
    return getattr(getattr(info.route, "virtual_host", None), "metadata", None)


def _metadata(command: Command, names: Namespace) -> Expression:
    kind, _, rest = command.argument.partition(":")
    namespace, *path = rest.split(":")
    sources = {
        "DYNAMIC": "si.dynamic_metadata_map",
        "CLUSTER": "(u.metadata if (u := si.upstream_cluster) is not None else None)",
        "UPSTREAM_HOST": "(u.metadata if (u := si.upstream_host) is not None else None)",
        "ROUTE": f"{names.bind(_route_metadata)}(si)",
        "VIRTUAL_HOST": f"{names.bind(_virtual_host_metadata)}(si)",
        "LISTENER": "(u.metadata if (u := si.connection.listener) is not None else None)",
        "LISTENER_FILTER_CHAIN": "(u.metadata if (u := si.connection.filter_chain) is not None else None)",
    }
    if kind not in sources:
        raise ConfigError(f"{kind} is not supported type of metadata")
    return metadata_expression(sources[kind], namespace, tuple(path), command.max_length, names)


def _without_query(command: Command, names: Namespace) -> Expression:
    main, alternative = header_names(command.argument)
    source = f"rq.get({names.bind(main)})"
    if alternative is not None:
        source = f"(u if (u := {source}) is not None else rq.get({names.bind(alternative)}))"
    source = f"(u.partition(b'?')[0] if (u := {source}) is not None else None)"
    return Expression(source, Kind.BYTES, max_length=command.max_length)


METADATA: Table = {"METADATA": (Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED, _metadata)}
REQ_WITHOUT_QUERY: Table = {"REQ_WITHOUT_QUERY": (Syntax.PARAMS_REQUIRED | Syntax.LENGTH_ALLOWED, _without_query)}
