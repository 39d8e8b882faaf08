from typing import Final, final

NEED_MORE: Final = 0
FOUND: Final = 1
NOT_TLS: Final = 2
CLOSED: Final = 3

@final
class ClientHelloParser:
    error: Final[int]
    processed: Final[int]
    version: Final[int]
    server_name: Final[bytes]
    def feed(self, data: bytes) -> int: ...
    @property
    def ciphers(self) -> list[int]: ...
    @property
    def extensions(self) -> list[tuple[int, bytes]]: ...
    @property
    def protocols(self) -> list[bytes] | None: ...
