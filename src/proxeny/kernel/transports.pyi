from collections.abc import Callable

from proxeny.kernel.stream import Stream, Transport

class Preface(Transport):
    def __init__(self, compose: Callable[[Stream], bytes], inner: Transport | None = None) -> None: ...

class Tunnel(Preface):
    def __init__(
        self, compose: Callable[[Stream], bytes], accepts: Callable[[bytes], int], inner: Transport | None = None
    ) -> None: ...

class Observed(Transport):
    def __init__(
        self,
        connected: Callable[[Stream], object],
        closing: Callable[[Stream], object],
        inner: Transport | None = None,
    ) -> None: ...

class StartTls(Transport):
    def __init__(self, secure: Transport) -> None: ...
    def start_secure(self, stream: Stream) -> None: ...
