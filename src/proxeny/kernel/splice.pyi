from proxeny.kernel.stream import Pump, Stream
from proxeny.kernel.timer import Timer

class PipePool:
    most: int
    size: int
    made: int
    def __init__(self, most: int = 32, size: int = 1048576) -> None: ...
    def statistics(self) -> dict[str, int]: ...

class SplicePump(Pump):
    source: Stream | None
    sink: Stream | None
    in_pipe: int
    moved: int
    spliced: int
    uses_splice: bool
    def __init__(
        self,
        source: Stream,
        sink: Stream,
        pool: PipePool | None,
        idle_timer: Timer | None = None,
        idle_ms: int = 0,
        limit: int = 0,
    ) -> None: ...
    def attach(self) -> None: ...
    def detach(self) -> None: ...
