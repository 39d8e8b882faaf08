"""Rings and Maglev tables: shares, stability, edge cases. Equality with Envoy's: the differential suite."""

from collections import Counter

import pytest

from proxeny.kernel.hashing import HashRing, MaglevTable, murmurhash2, xxhash64

KEYS = [b"host-a", b"host-b", b"host-c"]
EVEN = [1 / 3, 1 / 3, 1 / 3]


@pytest.mark.parametrize("size", range(18))
def test_murmurhash_depends_on_every_byte(size: int) -> None:
    data = bytes(range(size))
    changed = [data[:at] + b"\xff" + data[at + 1 :] for at in range(size)]
    hashes = {murmurhash2(text) for text in (data, data + b"\x00", *changed)}
    assert len(hashes) == size + 2
    assert all(0 <= value < 1 << 64 for value in hashes)


def test_a_ring_has_the_points_that_were_asked_for() -> None:
    ring = HashRing(KEYS, EVEN, 1024, 8 << 20, False)
    assert (ring.size, ring.min_hashes, ring.max_hashes) == (1026, 342, 342)


def test_the_largest_size_of_a_ring_holds() -> None:
    ring = HashRing(KEYS, [0.1, 0.1, 0.8], 1, 7, False)
    assert ring.size == 7
    assert ring.min_hashes == 0 or ring.min_hashes == 1


def test_every_hash_finds_a_host_on_the_ring() -> None:
    ring = HashRing(KEYS, EVEN, 10, 100, True)
    chosen = Counter(ring.choose(xxhash64(b"%d" % number)) for number in range(1000))
    assert set(chosen) == {0, 1, 2}
    assert ring.choose(0) >= 0
    assert ring.choose(2**64 - 1) >= 0


def test_a_further_attempt_takes_the_next_point() -> None:
    ring = HashRing(KEYS, EVEN, 3, 3, False)
    assert {ring.choose(5, attempt) for attempt in range(3)} == {0, 1, 2}


def test_most_keys_stay_when_a_host_goes() -> None:
    before = HashRing(KEYS, EVEN, 1024, 8 << 20, False)
    after = HashRing(KEYS[:2], [0.5, 0.5], 684, 8 << 20, False)
    assert before.min_hashes == after.min_hashes
    values = [xxhash64(b"%d" % number) for number in range(500)]
    moved = [value for value in values if before.choose(value) != 2 and before.choose(value) != after.choose(value)]
    assert not moved


def test_maglev_shares_follow_the_weights() -> None:
    table = MaglevTable(KEYS, [0.5, 0.25, 0.25], 1009)
    counted = Counter(table.choose(value) for value in range(1009))
    assert counted[0] > 1.9 * counted[1]
    assert (min(counted.values()), max(counted.values())) == (table.min_entries, table.max_entries)


def test_a_further_attempt_changes_the_hash_of_maglev() -> None:
    table = MaglevTable(KEYS, EVEN, 65537)
    assert len({table.choose(12345, attempt) for attempt in range(20)}) > 1


def test_without_hosts_there_is_none() -> None:
    assert HashRing([], [], 1024, 2048, False).choose(1) == -1
    assert MaglevTable([], [], 251).choose(1) == -1
