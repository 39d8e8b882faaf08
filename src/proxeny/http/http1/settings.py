"""What an HTTP/1 codec is told by configuration (Envoy: ``Http1Settings`` and the limits next to it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.kernel.http1_encode import KEY_LOWER, KEY_ORIGINAL, KEY_PROPER

if TYPE_CHECKING:
    from proxeny.kernel.http1_parse import MessageParser
    from proxeny.kernel.http1_request import RequestParser
    from proxeny.upstream.http_protocol_options import HttpProtocolOptions

PRESERVE_CASE = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"

DEFAULT_MAX_HEADERS_KB = 60
"""``max_request_headers_kb``, and Envoy's limit for responses."""
DEFAULT_MAX_HEADERS_COUNT = 100
"""``HttpProtocolOptions.max_headers_count``."""


@dataclass(slots=True, frozen=True)
class Http1Settings:
    """One codec configuration, shared by all connections that use it. Sizes in KiB, as Envoy's fields."""

    allow_absolute_url: bool = True
    accept_http_10: bool = False
    default_host_for_http_10: bytes = b""
    enable_trailers: bool = False
    allow_chunked_length: bool = False
    allow_custom_methods: bool = False
    send_fully_qualified_url: bool = False
    key_format: int = KEY_LOWER
    headers_with_underscores_action: int = 0
    max_headers_kb: int = DEFAULT_MAX_HEADERS_KB
    max_headers_count: int = DEFAULT_MAX_HEADERS_COUNT

    @classmethod
    def from_proto(
        cls,
        options: Any,
        *,
        max_headers_kb: int = DEFAULT_MAX_HEADERS_KB,
        max_headers_count: int = DEFAULT_MAX_HEADERS_COUNT,
        headers_with_underscores_action: int = 0,
    ) -> Http1Settings:
        """From ``Http1ProtocolOptions``; ConfigError for an unknown header-key formatter."""
        return cls(
            allow_absolute_url=options.allow_absolute_url.value if options.HasField("allow_absolute_url") else True,
            accept_http_10=options.accept_http_10,
            default_host_for_http_10=options.default_host_for_http_10.encode(),
            enable_trailers=options.enable_trailers,
            allow_chunked_length=options.allow_chunked_length,
            allow_custom_methods=options.allow_custom_methods,
            send_fully_qualified_url=options.send_fully_qualified_url,
            key_format=header_key_format(options),
            headers_with_underscores_action=headers_with_underscores_action,
            max_headers_kb=max_headers_kb,
            max_headers_count=max_headers_count,
        )

    @classmethod
    def for_upstream(cls, options: HttpProtocolOptions) -> Http1Settings:
        """From a cluster's compiled options."""
        key_format = KEY_LOWER
        if options.proper_case_headers:
            key_format = KEY_PROPER
        elif options.preserve_case_headers:
            key_format = KEY_ORIGINAL
        return cls(
            enable_trailers=options.enable_trailers,
            allow_chunked_length=options.allow_chunked_length,
            send_fully_qualified_url=options.send_fully_qualified_url,
            key_format=key_format,
            max_headers_kb=options.max_response_headers_kb,
            max_headers_count=options.max_headers_count,
        )

    def apply(self, parser: MessageParser) -> None:
        """Set up what requests and responses have in common."""
        parser.max_head_bytes = self.max_headers_kb * 1024
        parser.max_headers_count = self.max_headers_count
        parser.enable_trailers = self.enable_trailers
        parser.allow_chunked_length = self.allow_chunked_length
        parser.keep_case = self.key_format == KEY_ORIGINAL

    def apply_to_requests(self, parser: RequestParser) -> None:
        """Set up a request parser."""
        self.apply(parser)
        parser.allow_absolute_url = self.allow_absolute_url
        parser.allow_custom_methods = self.allow_custom_methods
        parser.accept_http_10 = self.accept_http_10
        parser.default_host = self.default_host_for_http_10
        parser.underscore_action = self.headers_with_underscores_action


def header_key_format(options: Any) -> int:
    """``header_key_format`` as the encoders' number."""
    which = options.header_key_format.WhichOneof("header_format")
    if which == "proper_case_words":
        return KEY_PROPER
    if which == "stateful_formatter":
        type_url = options.header_key_format.stateful_formatter.typed_config.type_url
        if type_url.rpartition("/")[2] != PRESERVE_CASE:
            name = options.header_key_format.stateful_formatter.name
            raise ConfigError(
                f"Didn't find a registered implementation for '{name}' with type URL: '{type_url.rpartition('/')[2]}'"
            )
        return KEY_ORIGINAL
    return KEY_LOWER
