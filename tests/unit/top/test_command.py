"""The command against an admin interface that does not answer as one."""

import socket
import threading
from collections.abc import Iterator

import pytest

from proxeny.admin.client import AdminClient, AdminError
from proxeny.top.command import main


@pytest.mark.parametrize("address", ["", "nonsense", "host:", "host:x", "host:0", "host:65536", ":1"])
def test_bad_addresses(address: str) -> None:
    with pytest.raises(AdminError, match="is neither host:port nor the path of a socket"):
        AdminClient(address)


def test_nobody_listens(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert main(["--admin", f"{tmp_path}/none.sock", "--once"]) == 1
    assert capsys.readouterr().err.startswith(f"proxeny top: no answer from {tmp_path}/none.sock: ")
    assert main(["--admin-address-path", f"{tmp_path}/none"]) == 1
    assert "cannot read" in capsys.readouterr().err


@pytest.fixture
def teapot() -> Iterator[str]:
    """A server of one answer per connection that is no admin interface."""
    server = socket.create_server(("127.0.0.1", 0))
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
        b"hm\r\n",
    ]

    def serve() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    thread.join()
    server.close()


def test_other_servers(teapot: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("is no JSON: not an admin interface?", "answers 404 to /server_info", "no answer from"):
        assert main(["--admin", teapot, "--once"]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--interval", "0"], ["--filter", "("], ["--view", "all"]])
def test_bad_flags(flag: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(flag)
