from proxeny.kernel.buffer import Buffer

COMPRESSED: int
CONNECT_END: int
MOST_END_BYTES: int

class FrameInspector:
    count: int
    def __init__(self, ends: bool = False) -> None: ...
    def inspect(self, data: Buffer) -> int: ...
    def end_frame(self) -> bytes | None: ...

class FrameDecoder:
    failed: bool
    too_long: bool
    most: int
    buffered: int
    def __init__(self, most: int = ...) -> None: ...
    def decode(self, data: Buffer) -> list[tuple[int, bytes]]: ...

def frame_head(size: int, flags: int = 0) -> bytes: ...
