"""Mutation fuzzing with a kept corpus: inputs from ``corpus/TARGET.txt``, damaged; what behaves in a new way stays.

An input's behaviour is the signature that a target returns for it. In `make test` each target runs for a second or two
(`FUZZ_SECONDS`), from a fixed seed; `make fuzz` runs longer, from a random one, and keeps what it finds
(`FUZZ_KEEP=1`). A line of a corpus is one input with Python's escapes.
"""

import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"
SECONDS = float(os.environ.get("FUZZ_SECONDS", "1.5"))
KEEP = bool(os.environ.get("FUZZ_KEEP"))
LONGEST = 4096
MOST_KEPT = 200

PARTS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\x85", b"\xa0",
    b"\xff", b"0", b"1", b";", b",", b"+", b"-", b"_", b"%", b"/", b"\\", b".", b"..", b"//", b"/../", b"%2e", b"%2F",
    b"%00",
    b"?", b"#", b"@", b"[", b"]", b"*", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n", b"Connection: close\r\n", b"chunked", b"HTTP/1.1", b"HTTP/1.0", b"GET ",
    b"CONNECT a:1 ", b"0\r\n\r\n", b"\r\n ", b"100", b"101", b"204", b"304", b"ffffffffffffffff", b"\xc0\xae", b"http://",
]  # fmt: skip


def load(target: str) -> list[bytes]:
    lines = (CORPUS / f"{target}.txt").read_text("ascii").split("\n")
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines if line]


def escaped(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def damaged(data: bytes, others: list[bytes], random: Random) -> bytes:
    """One to four changes: an insertion, a removal, a repetition, a byte, or another input's end."""
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        kind = random.randrange(5)
        if kind == 0:
            data = data[:at] + random.choice(PARTS) + data[at:]
        elif kind == 1:
            data = data[:at] + data[at + random.randint(1, 8) :]
        elif kind == 2:
            data = data[:at] + data[at : at + random.randint(1, 40)] * random.randint(2, 6) + data[at:]
        elif kind == 3:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        else:
            other = random.choice(others)
            data = data[:at] + other[random.randint(0, len(other)) :]
    return data[:LONGEST]


def hunt(target: str, judge: Callable[[bytes, Random], Hashable], seconds: float = SECONDS) -> int:
    """Judge the corpus and its mutants until the time is over; AssertionError with the input that failed."""
    random = Random() if KEEP else Random(target)
    corpus = load(target)
    seen: set[Hashable] = set()
    kept: list[bytes] = []
    tried = 0
    deadline = time.monotonic() + seconds
    while tried < len(corpus) or time.monotonic() < deadline:
        known = tried < len(corpus)
        data = corpus[tried] if known else damaged(random.choice(corpus + kept), corpus, random)
        tried += 1
        try:
            signature = judge(data, random)
        except Exception as error:
            raise AssertionError(f"{target}: {escaped(data)}\n{type(error).__name__}: {error}") from error
        if signature not in seen:
            seen.add(signature)
            if not known and len(kept) < MOST_KEPT:
                kept.append(data)
    if KEEP and kept:
        with (CORPUS / f"{target}.txt").open("a", encoding="ascii") as file:
            file.writelines(escaped(data) + "\n" for data in kept)
    return tried
