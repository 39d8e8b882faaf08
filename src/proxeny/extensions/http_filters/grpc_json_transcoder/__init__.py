"""``envoy.filters.http.grpc_json_transcoder``: lets clients that speak JSON over HTTP use gRPC services.

``config`` compiles descriptor sets and rules; ``path_matcher`` finds a request's method; ``request_translator`` makes
protobuf of JSON (``json_stream`` parses, ``object_writer`` writes), ``response_translator`` JSON of protobuf (``wire``
reads, ``json_writer`` writes); ``filter`` is what happens to one request. Both translations do what protobuf's C++
does, which Envoy uses, in all that can be seen from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.config import TranscoderConfig
from proxeny.extensions.http_filters.grpc_json_transcoder.filter import STATS, JsonTranscoder

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.grpc_json_transcoder"


class TranscoderFactory:
    """The compiled filter."""

    __slots__ = ("_config", "_stats", "name")

    filter_class = JsonTranscoder
    is_terminal = False
    rehearses = True

    def __init__(self, config: Any, stats_prefix: str, context: FactoryContext) -> None:
        self.name = NAME
        self._config = TranscoderConfig(config)
        self._stats: Block = context.stats.block(STATS, stats_prefix)

    def create(self) -> JsonTranscoder:
        """The filter of one request."""
        return JsonTranscoder(self._config, self._stats)


class TranscoderExtension:
    """The registered factory; a route's configuration is a whole one of its own."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> TranscoderFactory:
        """ConfigError in Envoy's words."""
        return TranscoderFactory(config, stats_prefix, context)

    def create_route_config(self, config: Any, context: FactoryContext) -> TranscoderConfig:
        """Takes the place of the filter's own for requests of this route."""
        return TranscoderConfig(config)


FACTORY: Final = TranscoderExtension()
