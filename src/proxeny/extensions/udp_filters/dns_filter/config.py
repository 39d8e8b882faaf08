"""The compiled configuration of a DNS filter (``envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig``)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from envoy.data.dns.v3 import dns_table_pb2

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms
from proxeny.config.sources import read_file
from proxeny.extensions.udp_filters.dns_filter.access_log import COMMANDS
from proxeny.extensions.udp_filters.dns_filter.lookups import LookupSettings
from proxeny.extensions.udp_filters.dns_filter.stats import DNS_FILTER
from proxeny.extensions.udp_filters.dns_filter.table import DnsTable
from proxeny.upstream import dns_resolver, dns_resolver_config

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

log = logging.getLogger("proxeny.filter")

RESOLVER_TIMEOUT_MS: Final = 500
"""``client_config.resolver_timeout`` when unset."""


class DnsFilterConfig:
    """One DNS filter's configuration; immutable, shared by its filters."""

    __slots__ = ("access_logs", "context", "lookups", "stats", "table")

    def __init__(self, message: Any, context: FactoryContext) -> None:
        self.context = context
        self.stats: Block = context.stats.block(DNS_FILTER, f"dns_filter.{message.stat_prefix}.")
        self.table = _load_table(message.server_config, context)
        self.lookups: LookupSettings | None = None
        """None: names that the table does not have do not exist."""
        if message.HasField("client_config"):
            client = message.client_config
            timeout = RESOLVER_TIMEOUT_MS
            if client.HasField("resolver_timeout"):
                timeout = duration_ms(client.resolver_timeout)
            resolver = dns_resolver_config.of_dns_filter(client)
            stats = dns_resolver.stats_of(context)
            self.lookups = LookupSettings(resolver, stats, timeout, client.max_pending_lookups)
        self.access_logs = compile_access_logs(message.access_log, replace(context, log_commands=COMMANDS))


def _load_table(server: Any, context: FactoryContext) -> DnsTable:
    random = context.random.random if context.random is not None else int
    if server.WhichOneof("config_source") == "inline_dns_table":
        return DnsTable(server.inline_dns_table, random)
    table = dns_table_pb2.DnsTable()
    try:
        read_file(server.external_dns_table.filename, table, True)
    except ConfigError as error:
        log.warning("Filesystem DNS Filter config update failure: %s", error)
        table.Clear()
    try:
        return DnsTable(table, random)
    except ConfigError as error:
        if context.role != "worker":
            raise
        # Main took the file as it was then; a worker that starts later must not fail by it.
        log.warning("Filesystem DNS Filter config update failure: %s", error)
        return DnsTable(dns_table_pb2.DnsTable(), random)
