"""The file, stdout and stderr access loggers, from their configuration to written lines."""

import pytest
from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2  # noqa: F401 - ParseDict looks for the type
from envoy.extensions.access_loggers.stream.v3 import stream_pb2  # noqa: F401
from google.protobuf.json_format import ParseDict

from proxeny.access_log.config import compile_access_logs
from proxeny.access_log.manager import AccessLogManager
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions import install
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.stats.store import MainStore

TYPES = "type.googleapis.com/envoy.extensions.access_loggers"


class Address:
    def as_string(self):
        return "127.0.0.1:80"


@pytest.fixture
def context():
    install()
    dispatcher, store = Dispatcher(), MainStore()
    manager = AccessLogManager(dispatcher, store)
    yield FactoryContext("worker", store, dispatcher, access_log_manager=manager)
    manager.close()
    dispatcher.close()


@pytest.fixture
def info():
    made = StreamInfo(ConnectionInfo(Address(), Address(), 1), 0.0, 1)
    made.end_ns, made.response_code = 2, 404
    return made


def config(path=None, stream=None, **more):
    typed = (
        {"@type": f"{TYPES}.stream.v3.{stream}"}
        if stream
        else {"@type": f"{TYPES}.file.v3.FileAccessLog", "path": path}
    )
    entry = {"name": "any", "typed_config": {**typed, **more}}
    return ParseDict(entry, accesslog_pb2.AccessLog())


def written(context, entry, info, path):
    (log,) = compile_access_logs([entry], context)
    log.log(HeaderMap([(b":path", b"/x")]), None, None, info)
    context.access_log_manager.flush()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"format": "%REQ(:path)%\n"}, b"/x\n"),
        ({"json_format": {"p": "%REQ(:path)%", "c": "%RESPONSE_CODE%"}}, b'{"c":404,"p":"/x"}\n'),
        ({"typed_json_format": {"c": "%RESPONSE_CODE%"}}, b'{"c":404}\n'),
        ({"log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE%|"}}}, b"404|"),
        ({}, b'[1970-01-01T00:00:00.000Z] "- /x -" 404 - 0 0 0 - "-" "-" "-" "-" "-"\n'),
    ],
)
def test_formats(context, info, tmp_path, more, expected):
    path = tmp_path / "log"
    assert written(context, config(str(path), **more), info, path) == expected


def test_a_filter_decides(context, info, tmp_path):
    path = tmp_path / "log"
    entry = config(str(path), format="x")
    entry.filter.response_flag_filter.SetInParent()
    assert written(context, entry, info, path) == b""


@pytest.mark.parametrize(("stream", "name"), [("StdoutAccessLog", "out"), ("StderrAccessLog", "err")])
def test_streams(context, info, capfd, stream, name):
    entry = config(stream=stream, log_format={"text_format_source": {"inline_string": "line\n"}})
    (log,) = compile_access_logs([entry], context)
    log.log(None, None, None, info)
    context.access_log_manager.flush()
    assert getattr(capfd.readouterr(), name) == "line\n"


def test_main_checks_the_path_and_the_format_but_keeps_nothing_open(context, info, tmp_path):
    context.role = "main"
    path = tmp_path / "log"
    assert written(context, config(str(path), format="x"), info, path) == b""
    with pytest.raises(ConfigError, match="unable to open file"):
        compile_access_logs([config("/nope/x")], context)
    with pytest.raises(ConfigError, match="Not supported field in StreamInfo: FOO"):
        compile_access_logs([config(str(path), format="%FOO%")], context)


def test_an_unknown_logger_is_refused(context):
    entry = accesslog_pb2.AccessLog(name="f")
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for 'f' with type URL: ''"):
        compile_access_logs([entry], context)
