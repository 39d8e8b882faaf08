"""Http1Settings from Envoy's messages."""

import pytest
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions
from envoy.extensions.http.header_formatters.preserve_case.v3.preserve_case_pb2 import PreserveCaseFormatterConfig

from proxeny.config.errors import ConfigError
from proxeny.http.http1.settings import Http1Settings
from proxeny.http.http1.stats import cluster_codec_stats, codec_stats
from proxeny.kernel.http1_encode import KEY_LOWER, KEY_PROPER
from proxeny.stats.store import MainStore


def test_defaults() -> None:
    assert Http1Settings.from_proto(Http1ProtocolOptions()) == Http1Settings()
    assert Http1Settings().key_format == KEY_LOWER


def test_all_fields() -> None:
    options = Http1ProtocolOptions(
        accept_http_10=True,
        default_host_for_http_10="h",
        enable_trailers=True,
        allow_chunked_length=True,
        allow_custom_methods=True,
        send_fully_qualified_url=True,
    )
    options.allow_absolute_url.value = False
    options.header_key_format.proper_case_words.SetInParent()
    settings = Http1Settings.from_proto(
        options, max_headers_kb=1, max_headers_count=2, headers_with_underscores_action=1
    )
    assert settings == Http1Settings(False, True, b"h", True, True, True, True, KEY_PROPER, 1, 1, 2)


def test_formatters() -> None:
    options = Http1ProtocolOptions()
    formatter = options.header_key_format.stateful_formatter
    formatter.name = "preserve_case"
    formatter.typed_config.type_url = (
        "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    )
    settings = Http1Settings.from_proto(options)
    assert (settings.keep_case, settings.proper_added, settings.keep_reason) == (True, False, False)
    made = PreserveCaseFormatterConfig(forward_reason_phrase=True, formatter_type_on_envoy_headers="PROPER_CASE")
    formatter.typed_config.Pack(made)
    settings = Http1Settings.from_proto(options)
    assert (settings.keep_case, settings.proper_added, settings.keep_reason) == (True, True, True)
    formatter.typed_config.type_url = "type.googleapis.com/other"
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for 'preserve_case'"):
        Http1Settings.from_proto(options)


def test_stats() -> None:
    store = MainStore()
    codec_stats(store, "http1.").dropped_headers_with_underscores(2)
    codec_stats(store, "http1.").request_rejected_with_underscores()
    cluster = cluster_codec_stats(store, "cluster.c.")
    cluster.dropped_headers_with_underscores(3)
    cluster.request_rejected_with_underscores()
