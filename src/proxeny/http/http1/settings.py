"""What an HTTP/1 codec is told by configuration (Envoy: ``Http1Settings`` and the limits next to it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.kernel.http1_encode import KEY_LOWER, KEY_PROPER
from proxeny.matcher.string import StringMatcher, compile_string_matcher

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
    keep_case: bool = False
    """``preserve_case``: names are written as they came, by whichever codec writes them."""
    proper_added: bool = False
    """``formatter_type_on_envoy_headers``: those that did not come are written in proper case."""
    keep_reason: bool = False
    """``forward_reason_phrase``."""
    ignored_upgrades: tuple[StringMatcher, ...] = ()

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
        preserve = preserve_case(options)
        return cls(
            allow_absolute_url=options.allow_absolute_url.value if options.HasField("allow_absolute_url") else True,
            accept_http_10=options.accept_http_10,
            default_host_for_http_10=options.default_host_for_http_10.encode(),
            enable_trailers=options.enable_trailers,
            allow_chunked_length=options.allow_chunked_length,
            allow_custom_methods=options.allow_custom_methods,
            send_fully_qualified_url=options.send_fully_qualified_url,
            key_format=KEY_PROPER if has_proper_case(options) else KEY_LOWER,
            keep_case=preserve is not None,
            proper_added=preserve is not None and preserve.formatter_type_on_envoy_headers == preserve.PROPER_CASE,
            keep_reason=preserve is not None and preserve.forward_reason_phrase,
            ignored_upgrades=tuple([compile_string_matcher(item) for item in options.ignore_http_11_upgrade]),
            headers_with_underscores_action=headers_with_underscores_action,
            max_headers_kb=max_headers_kb,
            max_headers_count=max_headers_count,
        )

    @classmethod
    def for_upstream(cls, options: HttpProtocolOptions) -> Http1Settings:
        """From a cluster's compiled options."""
        return cls(
            enable_trailers=options.enable_trailers,
            allow_chunked_length=options.allow_chunked_length,
            send_fully_qualified_url=options.send_fully_qualified_url,
            key_format=KEY_PROPER if options.proper_case_headers else KEY_LOWER,
            keep_case=options.preserve_case_headers,
            proper_added=options.proper_case_of_added_headers,
            keep_reason=options.forward_reason_phrase,
            max_headers_kb=options.max_response_headers_kb,
            max_headers_count=options.max_headers_count,
        )

    def apply(self, parser: MessageParser) -> None:
        """Set up what requests and responses have in common."""
        parser.max_head_bytes = self.max_headers_kb * 1024
        parser.max_headers_count = self.max_headers_count
        parser.enable_trailers = self.enable_trailers
        parser.allow_chunked_length = self.allow_chunked_length
        if self.keep_case:
            parser.keep_case = True
            parser.proper_added = self.proper_added
            parser.keep_reason = self.keep_reason

    def apply_to_requests(self, parser: RequestParser) -> None:
        """Set up a request parser."""
        self.apply(parser)
        parser.allow_absolute_url = self.allow_absolute_url
        parser.allow_custom_methods = self.allow_custom_methods
        parser.accept_http_10 = self.accept_http_10
        parser.default_host = self.default_host_for_http_10
        parser.underscore_action = self.headers_with_underscores_action
        parser.ignored_upgrades = self.ignored_upgrades or None


def has_proper_case(options: Any) -> bool:
    """Whether ``header_key_format`` is ``proper_case_words``."""
    return bool(options.header_key_format.WhichOneof("header_format") == "proper_case_words")


def preserve_case(options: Any) -> Any:
    """The PreserveCaseFormatterConfig of ``header_key_format``, None where there is none; ConfigError for another."""
    if options.header_key_format.WhichOneof("header_format") != "stateful_formatter":
        return None
    formatter = options.header_key_format.stateful_formatter
    config_type = formatter.typed_config.type_url.rpartition("/")[2]
    if config_type != PRESERVE_CASE:
        raise ConfigError(
            f"Didn't find a registered implementation for '{formatter.name}' with type URL: '{config_type}'"
        )
    return unpack_any(formatter.typed_config)
