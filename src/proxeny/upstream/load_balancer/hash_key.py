"""xxHash64, by which Envoy hashes what consistent load balancing goes by (``HashUtil::xxHash64``)."""

from __future__ import annotations

from struct import iter_unpack, unpack_from
from typing import Final

_MASK: Final = (1 << 64) - 1
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5
_STRIPE: Final = 32


def xxhash64(data: bytes, seed: int = 0) -> int:
    """The hash of ``data``; the algorithm is specified in the xxHash project's ``doc/xxhash_spec.md``."""
    size = len(data)
    at = 0
    if size >= _STRIPE:
        lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed & _MASK, (seed - _P1) & _MASK]
        at = size - size % _STRIPE
        for words in iter_unpack("<4Q", data[:at]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
        hashed = sum([_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)]) & _MASK
        for lane in lanes:
            hashed = ((hashed ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        hashed = (seed + _P5) & _MASK
    return _avalanche(_tail(data, at, (hashed + size) & _MASK))


def _tail(data: bytes, at: int, hashed: int) -> int:
    size = len(data)
    while at + 8 <= size:
        hashed = (_rotate(hashed ^ _round(0, unpack_from("<Q", data, at)[0]), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        hashed = (_rotate(hashed ^ (unpack_from("<I", data, at)[0] * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        hashed = (_rotate(hashed ^ (byte * _P5 & _MASK), 11) * _P1) & _MASK
    return hashed


def _avalanche(hashed: int) -> int:
    hashed = (hashed ^ (hashed >> 33)) * _P2 & _MASK
    hashed = (hashed ^ (hashed >> 29)) * _P3 & _MASK
    return hashed ^ (hashed >> 32)


def _round(lane: int, word: int) -> int:
    return (_rotate((lane + word * _P2) & _MASK, 31) * _P1) & _MASK


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK
