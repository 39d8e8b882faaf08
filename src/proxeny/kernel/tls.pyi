from collections.abc import Callable
from typing import Any

from proxeny.kernel.stream import Transport
from proxeny.kernel.tls_context import TlsContext
from proxeny.kernel.tls_session import TlsSession

class TlsTransport(TlsSession):
    context: TlsContext
    options: Any
    verification_error: str | None
    verified: bool
    key_log: Callable[[bytes], object] | None
    handshake_done_ns: int
    def __init__(
        self, context: TlsContext, server_name: bytes | None = None, alpn: bytes | None = None, options: object = None
    ) -> None: ...

class NotReadyTransport(Transport): ...
