from __future__ import annotations

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import LocalReplyConfig
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo
from proxeny.router.local_reply_config import LocalReplyMappers
from proxeny.stats.store import MainStore

ANY = {"not_health_check_filter": {}}


def status_filter(code: int) -> dict[str, object]:
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": code, "runtime_key": "k"}}}}


def compiled(*mappers: dict[str, object], **rest: object) -> LocalReplyMappers:
    message = ParseDict({"mappers": list(mappers), **rest}, LocalReplyConfig())
    return LocalReplyMappers.compile(message, FactoryContext("worker", MainStore()))


def stream_info() -> StreamInfo:
    address = ip_address("127.0.0.1")
    return StreamInfo(ConnectionInfo(address, address, 1), 0.0, 0)


class Rewritten:
    """One reply, rewritten."""

    def __init__(self, config: LocalReplyMappers, code: int = 503, body: bytes = b"no") -> None:
        self.headers = HeaderMap(((b":status", b"%d" % code),))
        self.info = stream_info()
        self.info.set_flag(ResponseFlag.NO_HEALTHY_UPSTREAM)
        request = HeaderMap(((b":path", b"/p"),))
        self.result = config.rewrite(request, self.info, self.headers, code, body)


def test_without_mappers_nothing_changes() -> None:
    done = Rewritten(compiled())
    assert done.result == (503, b"no", b"text/plain")
    assert done.info.response_code == 503


def test_the_first_match_wins_and_sees_the_replys_own_code() -> None:
    config = compiled(
        {"filter": status_filter(500), "status_code": 501},
        {"filter": status_filter(503), "status_code": 504, "body": {"inline_string": "first"}},
        {"filter": status_filter(504), "body": {"inline_string": "second"}},
    )
    done = Rewritten(config)
    assert done.result == (504, b"first", b"text/plain")
    assert done.headers.get(b":status") == b"504"
    assert done.info.response_code == 504


def test_headers_see_the_old_code_the_format_sees_the_new_one() -> None:
    config = compiled(
        {
            "filter": ANY,
            "status_code": 418,
            "headers_to_add": [{"header": {"key": "x-code", "value": "%RESPONSE_CODE%"}}],
            "body_format_override": {
                "text_format_source": {
                    "inline_string": "%LOCAL_REPLY_BODY% %RESPONSE_CODE% %RESP(x-code)% %REQ(:path)%"
                }
            },
        }
    )
    done = Rewritten(config)
    assert done.result == (418, b"no 418 503 /p", b"text/plain")
    assert done.headers.get(b"x-code") == b"503"


def test_formats_of_mapper_and_configuration() -> None:
    config = compiled(
        {"filter": status_filter(503), "body_format_override": {"json_format": {"b": "%LOCAL_REPLY_BODY%"}}},
        {"filter": status_filter(404), "body": {"inline_string": ""}},
        body_format={"content_type": "x/y", "text_format_source": {"inline_string": "[%LOCAL_REPLY_BODY%]"}},
    )
    assert Rewritten(config).result == (503, b'{"b":"no"}\n', b"application/json")
    assert Rewritten(config, 404).result == (404, b"[]", b"x/y")
    assert Rewritten(config, 500).result == (500, b"[no]", b"x/y")


def test_requests_that_never_came_are_matched_too() -> None:
    config = compiled(
        {"filter": {"header_filter": {"header": {"name": "a", "present_match": True}}}, "status_code": 500}
    )
    headers = HeaderMap(((b":status", b"408"),))
    assert config.rewrite(None, stream_info(), headers, 408, b"late") == (408, b"late", b"text/plain")


@pytest.mark.parametrize(
    "mapper",
    [
        {"filter": ANY, "body": {"filename": "/nonexistent/file"}},
        {"filter": ANY, "body_format_override": {"text_format_source": {"inline_string": "%NOTHING%"}}},
        {"filter": ANY, "headers_to_add": [{"header": {"key": ":status", "value": "1"}}]},
    ],
)
def test_mistakes_are_refused(mapper: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        compiled(mapper)
