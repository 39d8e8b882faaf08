"""What a differential case is made of: the client's steps, the upstream's answers, and what the case itself expects."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.differential.http2_frames import Frames
from tests.differential.upstream import Answer
from tests.differential.wire import End
from tests.name_server import Fault


@dataclass(frozen=True, slots=True)
class Reply:
    """Read one response."""

    on: int = 0
    head_only: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send on another connection than the first, byte by byte, or cut before the given positions."""

    data: bytes
    on: int = 0
    each_byte: bool = False
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Expect:
    """Raw: read as many bytes as this has; they go into the transcript."""

    data: bytes
    on: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamSaw:
    """Wait until an upstream saw this many requests (raw upstream: connections)."""

    count: int = 1
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Release:
    """Let an upstream's `Hold` go on."""

    name: str = "hold"
    upstream: str = "up"


@dataclass(frozen=True, slots=True)
class Do:
    """Client connection: `fin`, `rst`, `close`, `end` (read up to the end)."""

    name: str
    on: int = 0


@dataclass(frozen=True, slots=True)
class StatIs:
    """Wait until a stat has this value."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Names:
    """From now on the name server answers so for these names; queries that came before stay as they were answered."""

    records: dict[str, Sequence[str] | Fault]
    ttl: int = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """Wait until the name server was asked for a name in this case."""

    name: str


Step = bytes | Reply | Frames | Send | Expect | UpstreamSaw | Release | Do | StatIs | Names | Asked


@dataclass(frozen=True)
class Case:
    """One differential case; `steps` is the client's program, `answers` the upstream's."""

    name: str
    steps: Sequence[Step]
    config: str = "http"
    listener: str = "main"
    address: str = ""
    """`+1` for the listener's first additional address."""
    source: str = ""
    """The client's own IP address; empty: as the kernel chooses."""
    answers: Sequence[Answer] = ()
    raw: Answer | None = None
    answers_of: dict[str, Sequence[Answer]] = field(default_factory=dict)
    status: int | tuple[int, ...] | None = None
    body: bytes | None = None
    end: End | None = None
    """How the first connection stands at the end; `CLOSED` is FIN or RST."""
    forwarded: int | None = None
    """How many requests reached the upstreams."""
    logged: int | None = None
    """How many access-log lines to wait for; otherwise one per request (connection) counted."""
    lines_per_request: int = 1
    """How many lines the listener's log has of each request."""
    log: str = ""
    """Text that a line of the access log must hold."""
    contains: tuple[str, ...] = ()
    """Regexes, each of which must be found in the transcript."""
    ignore: tuple[str, ...] = ()
    """Regexes of transcript lines that are not compared."""
    exact: str = ""
    """Regex of stat lines to compare although pooling may move them from case to case."""
    stats: str = r"^(http\.LISTENER\.|tcp\.LISTENER\.|cluster\.|listener\.[^a])"
    names: dict[str, Sequence[str] | Fault] = field(default_factory=dict)
    """What the name server knows."""
    stricter: str = ""
    """Why Proxeny may refuse here what Envoy lets pass: then only safety is asserted for it."""


def request(*data: bytes, head_only: bool = False) -> tuple[Step, ...]:
    """Send a request, read its response."""
    return (*data, Reply(head_only=head_only))


def case_id(case: Case) -> str:
    return case.name
