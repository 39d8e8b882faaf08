"""XXH64, the hash that Envoy's configuration speaks of (``HashUtil::xxHash64``): https://xxhash.com, XXH64 algorithm.

A few microseconds for a short key: meant for decisions per connection.
"""

from __future__ import annotations

import struct
from typing import Final

_MASK: Final = (1 << 64) - 1
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5
_LANES: Final = struct.Struct("<4Q")


def xxhash64(data: bytes, seed: int = 0) -> int:
    """The 64-bit hash of ``data``."""
    size = len(data)
    at = size & ~31
    value = _stripes(data, at, seed) if at else (seed + _P5) & _MASK
    return _avalanche(_tail(data, at, (value + size) & _MASK))


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(lane: int, word: int) -> int:
    return _rotate(lane + word * _P2, 31) * _P1 & _MASK


def _stripes(data: bytes, end: int, seed: int) -> int:
    lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed & _MASK, (seed - _P1) & _MASK]
    for words in _LANES.iter_unpack(data[:end]):
        lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
    value = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
    for lane in lanes:
        value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return value


def _tail(data: bytes, at: int, value: int) -> int:
    size = len(data)
    while at + 8 <= size:
        word = int.from_bytes(data[at : at + 8], "little")
        value = (_rotate(value ^ _round(0, word), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        word = int.from_bytes(data[at : at + 4], "little")
        value = (_rotate(value ^ (word * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        value = _rotate(value ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return value


def _avalanche(value: int) -> int:
    value = (value ^ (value >> 33)) * _P2 & _MASK
    value = (value ^ (value >> 29)) * _P3 & _MASK
    return value ^ (value >> 32)
