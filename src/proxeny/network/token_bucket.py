"""``envoy.type.v3.TokenBucket``, compiled: one bucket for all workers, in memory that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import duration_ms
from proxeny.kernel.token_bucket import BucketTable, TokenBucket
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

CELL: Final = Schema("token_bucket", counters=("cell",), hidden=True)
"""Its block's base is the bucket's row in the table: main allots both."""
LEAST_INTERVAL_MS: Final = 50
"""Envoy's, from when a timer filled its buckets."""


def compile_token_bucket(message: Any, name: str, context: FactoryContext) -> TokenBucket:
    """The bucket of a configuration object; ``name`` tells it from all others. ConfigError in Envoy's words.

    Compiled in main it is full, whatever was drawn from an earlier one of that name.
    """
    interval_ms = duration_ms(message.fill_interval)
    if interval_ms < LEAST_INTERVAL_MS:
        raise ConfigError("local rate limit token bucket fill timer must be >= 50ms")
    per_fill = message.tokens_per_fill.value if message.HasField("tokens_per_fill") else 1
    # Alone (unit tests, tools) it holds in this process.
    table = context.token_buckets or BucketTable.create()
    row = context.stats.block(CELL, name).base
    bucket = TokenBucket(table, row, message.max_tokens, per_fill, interval_ms * 1_000_000)
    if not context.is_worker:
        bucket.fill()
    return bucket
