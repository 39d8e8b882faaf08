"""Addresses out of x-forwarded-for."""

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.http.original_ip_detection.custom_header.v3.custom_header_pb2 import CustomHeaderConfig
from envoy.extensions.http.original_ip_detection.xff.v3.xff_pb2 import XffConfig
from google.protobuf import json_format

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.http.original_ip import compile_detections, last_address_from_xff, last_untrusted_from_xff
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext

XFF = f"type.googleapis.com/{XffConfig.DESCRIPTOR.full_name}"
CUSTOM = f"type.googleapis.com/{CustomHeaderConfig.DESCRIPTOR.full_name}"
PEER = ip_address("10.0.0.9", 1)
CIDRS = {"cidrs": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}


@pytest.mark.parametrize(
    ("value", "skip", "address", "single"),
    [
        (None, 0, None, False),
        (b"1.2.3.4", 0, "1.2.3.4", True),
        (b" 1.2.3.4 ", 0, "1.2.3.4", True),
        (b"1.2.3.4,\t5.6.7.8", 0, "5.6.7.8", False),
        (b"1.2.3.4, 5.6.7.8", 1, "1.2.3.4", False),
        (b"1.2.3.4", 1, None, False),
        (b"1.2.3.4,", 0, None, False),
        (b"1.2.3.4:80", 0, None, False),
        (b"[::1]", 0, None, False),
        (b"::ffff:1.2.3.4", 0, "::ffff:1.2.3.4", True),
        (b"\xd9\xa1.2.3.4", 0, None, False),
        (b"010.0.0.1", 0, None, False),
        (b"1.2.3.4\x00", 0, None, False),
    ],
)
def test_the_last_address(value: bytes | None, skip: int, address: str | None, single: bool) -> None:
    found, alone = last_address_from_xff(value, skip)
    assert (None if found is None else found.ip, alone) == (address, single)


@pytest.mark.parametrize(
    ("value", "address", "single"),
    [
        (None, None, False),
        (b"1.2.3.4, 10.0.0.1", "1.2.3.4", False),
        (b"10.0.0.2, 10.0.0.1", "10.0.0.2", False),
        (b"10.0.0.2", "10.0.0.2", True),
        (b"1.2.3.4, junk, 10.0.0.1", None, False),
        (b"9.9.9.9, 1.2.3.4, 10.0.0.1", "1.2.3.4", False),
    ],
)
def test_the_last_untrusted_address(value: bytes | None, address: str | None, single: bool) -> None:
    def is_trusted(candidate: bytes) -> bool:
        return candidate[0] == 10

    found, alone = last_untrusted_from_xff(value, is_trusted)
    assert (None if found is None else found.ip, alone) == (address, single)


def compiled(context: FactoryContext, **fields: object) -> tuple[object, ...]:
    extensions.install()
    return compile_detections(json_format.ParseDict(fields, HttpConnectionManager()), context)


def extension(type_url: str, **fields: object) -> dict[str, object]:
    return {"name": "x", "typed_config": {"@type": type_url, **fields}}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"use_remote_address": True}, "extensions and use_remote_address may not be mixed"),
        ({"xff_num_trusted_hops": 1}, "extensions and xff_num_trusted_hops may not be mixed"),
    ],
)
def test_what_does_not_go_with_extensions(fields: dict[str, object], error: str) -> None:
    context = FactoryContext("main", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=error):
        compiled(context, original_ip_detection_extensions=[extension(XFF)], **fields)


def test_hops_and_networks_exclude_each_other() -> None:
    context = FactoryContext("main", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Cannot set both xff_num_trusted_hops and xff_trusted_cidrs"):
        compiled(
            context,
            original_ip_detection_extensions=[extension(XFF, xff_num_trusted_hops=1, xff_trusted_cidrs=CIDRS)],
        )


def test_a_custom_header() -> None:
    context = FactoryContext("main", None)  # type: ignore[arg-type]
    (detector,) = compiled(
        context,
        original_ip_detection_extensions=[
            extension(CUSTOM, header_name="X-Ip", reject_with_status={"code": "Unauthorized"})
        ],
    )
    found = detector.detect(HeaderMap(((b"x-ip", b"1.2.3.4"),)), PEER)  # type: ignore[attr-defined]
    assert (found.address.ip, found.trusted, found.reject_status) == ("1.2.3.4", False, 0)
    refused = detector.detect(HeaderMap(((b"x-ip", b"junk"),)), PEER)  # type: ignore[attr-defined]
    assert (refused.address, refused.reject_status) == (None, 401)


def test_an_untrusted_peer_is_appended() -> None:
    context = FactoryContext("main", None)  # type: ignore[arg-type]
    (detector,) = compiled(
        context, original_ip_detection_extensions=[extension(XFF, xff_trusted_cidrs=CIDRS, skip_xff_append=True)]
    )
    headers = HeaderMap(((b"x-forwarded-for", b"1.2.3.4, 10.1.1.1"),))
    assert detector.detect(headers, ip_address("192.0.2.1", 1)).append_xff  # type: ignore[attr-defined]
    found = detector.detect(headers, PEER)  # type: ignore[attr-defined]
    assert (found.address.ip, found.append_xff) == ("1.2.3.4", False)
