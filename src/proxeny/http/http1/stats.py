"""Codec statistics (Envoy: ``Http1::CodecStats``): global under ``http1.``, per cluster ``cluster.<name>.http1.``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block, DynamicStats
    from proxeny.stats.store import Store

HTTP1 = Schema(
    "http1",
    counters=(
        "dropped_headers_with_underscores",
        "metadata_not_supported_error",
        "requests_rejected_with_underscores_in_headers",
        "response_flood",
    ),
)
DROPPED_HEADERS_WITH_UNDERSCORES = HTTP1.slot("dropped_headers_with_underscores")
REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = HTTP1.slot("requests_rejected_with_underscores_in_headers")


class CodecStats:
    """Where a codec counts."""

    __slots__ = ()

    def dropped_headers_with_underscores(self, n: int) -> None:
        """So many header fields were dropped for an underscore in their name."""

    def request_rejected_with_underscores(self) -> None:
        """A request was refused for an underscore in a header name."""


class BlockCodecStats(CodecStats):
    """Counts that exist from the start."""

    __slots__ = ("_block",)

    def __init__(self, block: Block) -> None:
        self._block = block

    def dropped_headers_with_underscores(self, n: int) -> None:
        """So many header fields were dropped for an underscore in their name."""
        self._block.add(DROPPED_HEADERS_WITH_UNDERSCORES, n)

    def request_rejected_with_underscores(self) -> None:
        """A request was refused for an underscore in a header name."""
        self._block.inc(REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS)


class DynamicCodecStats(CodecStats):
    """Counts that come into being when something is counted: thousands of clusters never do."""

    __slots__ = ("_dynamic",)

    def __init__(self, dynamic: DynamicStats) -> None:
        self._dynamic = dynamic

    def dropped_headers_with_underscores(self, n: int) -> None:
        """So many header fields were dropped for an underscore in their name."""
        self._dynamic.add("dropped_headers_with_underscores", n)

    def request_rejected_with_underscores(self) -> None:
        """A request was refused for an underscore in a header name."""
        self._dynamic.inc("requests_rejected_with_underscores_in_headers")


def codec_stats(store: Store, prefix: str) -> CodecStats:
    """The stats of server codecs; ``prefix`` is ``http1.``."""
    return BlockCodecStats(store.block(HTTP1, prefix))


def cluster_codec_stats(store: Store, cluster_prefix: str) -> CodecStats:
    """The stats of one cluster's codecs; ``cluster_prefix`` is ``cluster.<name>.``."""
    return DynamicCodecStats(store.dynamic(f"{cluster_prefix}http1."))
