"""The Python filter's messages are found by their type URLs, like Envoy's own."""

from google.protobuf import any_pb2

from proxeny.api.python_filter import Python, PythonPerRoute
from proxeny.config.anys import open_any
from proxeny.extensions import install


def test_messages_open_from_anys() -> None:
    install()
    for message in (Python(filter="a:B", python_path=["."]), PythonPerRoute(disabled=True)):
        packed = any_pb2.Any()
        packed.Pack(message)
        assert open_any(packed) == message
