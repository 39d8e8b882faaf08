from collections.abc import Sequence
from typing import final

def read_pem(pem: bytes) -> tuple[list[bytes], int]: ...

@final
class TrustStore:
    def __init__(self, certificates: Sequence[bytes], revocations: bytes = b"") -> None: ...
    def verify(
        self, chain: Sequence[bytes], purpose: bytes, allow_expired: bool = False, depth: int = -1
    ) -> tuple[int, str] | None: ...
