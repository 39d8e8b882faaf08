"""``local_reply_config``: what becomes of answers that the proxy makes itself (Envoy: ``source/common/local_reply``).

The first mapper whose filter matches changes the body, the headers and the code, in this order; then the body goes
through the mapper's format, or through the one of the whole configuration. Filters see the reply's own code; a format
sees what the mapper has made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.access_log.access_log import NOT_SET
from proxeny.access_log.filters import compile_filter
from proxeny.formatter.format_string import CompiledFormat, compile_format_string, data_source_bytes
from proxeny.http.local_reply import CODES, STATUS, TEXT_PLAIN
from proxeny.kernel.headers import HeaderMap
from proxeny.router.header_mutation import HeaderMutation, compile_mutation

if TYPE_CHECKING:
    from proxeny.access_log.filters import Filter
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

_EMPTY: Final = HeaderMap()


class ResponseMapper:
    """One mapper."""

    __slots__ = ("body", "filter", "format", "mutation", "status_code")

    def __init__(
        self,
        log_filter: Filter,
        status_code: int,
        body: bytes | None,
        body_format: CompiledFormat | None,
        mutation: HeaderMutation | None,
    ) -> None:
        """``status_code`` 0 and None elsewhere: left as it is."""
        self.filter = log_filter
        self.status_code = status_code
        self.body = body
        self.format = body_format
        self.mutation = mutation

    @classmethod
    def compile(cls, config: Any, context: FactoryContext) -> ResponseMapper:
        """From a ResponseMapper message; ConfigError in Envoy's words."""
        return cls(
            compile_filter(config.filter, context),
            config.status_code.value,
            data_source_bytes(config.body) if config.HasField("body") else None,
            compile_format_string(config.body_format_override) if config.HasField("body_format_override") else None,
            compile_mutation(config.headers_to_add, ()),
        )


class LocalReplyMappers:
    """The compiled ``LocalReplyConfig``: see ``http.local_reply.LocalReplyRewriter``."""

    __slots__ = ("format", "mappers")

    def __init__(self, mappers: tuple[ResponseMapper, ...], body_format: CompiledFormat | None) -> None:
        self.mappers = mappers
        self.format = body_format

    @classmethod
    def compile(cls, config: Any, context: FactoryContext) -> LocalReplyMappers:
        """From a LocalReplyConfig message; ConfigError in Envoy's words."""
        body_format = compile_format_string(config.body_format) if config.HasField("body_format") else None
        return cls(tuple([ResponseMapper.compile(mapper, context) for mapper in config.mappers]), body_format)

    def rewrite(
        self, request: HeaderMap | None, info: StreamInfo, response: HeaderMap, code: int, body: bytes
    ) -> tuple[int, bytes, bytes]:
        """Change ``response``; returns the code, the body and the content type that the body would have."""
        info.response_code = code
        body_format = self.format
        for mapper in self.mappers:
            if not mapper.filter.evaluate(request, response, _EMPTY, info, NOT_SET):
                continue
            if mapper.body is not None:
                body = mapper.body
            if mapper.mutation is not None:
                mapper.mutation.evaluate(response, request, response, info)
            if mapper.status_code and mapper.status_code != code:
                info.response_code = code = mapper.status_code
                response.set(STATUS, CODES[code])
            body_format = mapper.format or body_format
            break
        if body_format is None:
            return code, body, TEXT_PLAIN
        body = body_format.formatter.format(request, response, _EMPTY, info, body, NOT_SET)
        return code, body, body_format.content_type
