from typing import Final, final

def xxhash64(data: bytes, seed: int = 0) -> int: ...
def murmurhash2(data: bytes) -> int: ...

@final
class HashRing:
    size: Final[int]
    min_hashes: Final[int]
    max_hashes: Final[int]
    def __init__(self, keys: list[bytes], weights: list[float], min_size: int, max_size: int, murmur: bool) -> None: ...
    def choose(self, value: int, attempt: int = 0) -> int: ...

@final
class MaglevTable:
    size: Final[int]
    min_entries: Final[int]
    max_entries: Final[int]
    def __init__(self, keys: list[bytes], weights: list[float], size: int) -> None: ...
    def choose(self, value: int, attempt: int = 0) -> int: ...

@final
class Shuffle:
    count: Final[int]
    position: Final[int]
    def __init__(self, seed: int, count: int) -> None: ...
    def next(self) -> int: ...
