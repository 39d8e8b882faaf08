"""Rings and Maglev tables: shares, stability, edge cases. Equality with Envoy's: the differential suite."""

from bisect import bisect_left
from collections import Counter
from random import Random

import pytest

from proxeny.kernel.hashing import HashRing, MaglevTable, Shuffle, murmurhash2, xxhash64

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


def twister(seed: int) -> Random:
    """``std::mt19937(seed)``: the generator is Python's, its seeding is not."""
    state = [seed]
    for index in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + index) & 0xFFFFFFFF)
    random = Random()
    random.setstate((3, (*state, 624), None))
    return random


def shuffled(seed: int, count: int) -> list[int]:
    """By the book: Fisher-Yates, each number drawn by division and drawn again where it is out of range."""
    random, order = twister(seed), list(range(count))
    for position in range(count):
        left = other = count - position
        while other >= left:
            other = random.getrandbits(32) // ((1 << 32) // left)
        order[position], order[position + other] = order[position + other], order[position]
    return order


@pytest.mark.parametrize(("seed", "count"), [(0, 1), (5489, 3), (2**32 - 1, 10), (12345, 700), (7, 1500)])
def test_a_shuffle_is_that_of_the_twister(seed: int, count: int) -> None:
    made = Shuffle(seed, count)
    assert [made.next() for _ in range(count)] == shuffled(seed, count)
    assert made.next() == -1


def test_a_shuffle_takes_the_low_half_of_a_hash() -> None:
    assert [Shuffle(seed, 50).next() for seed in (9, 9 + (5 << 32))] == [shuffled(9, 50)[0]] * 2


def test_points_of_large_rings_are_in_order() -> None:
    ring = HashRing([b"%d" % number for number in range(50)], [0.02] * 50, 20_000, 8 << 20, False)
    values = sorted(Random(1).getrandbits(64) for _ in range(2000))
    points = sorted((xxhash64(b"%d_%d" % (host, number)), host) for host in range(50) for number in range(400))
    hashes = [point for point, _ in points]
    for value in values:
        assert ring.choose(value) == points[bisect_left(hashes, value) % len(points)][1]


@pytest.mark.parametrize("hosts", [3, 10, 40])
def test_maglev_disrupts_little_when_a_host_goes(hosts: int) -> None:
    keys = [b"host-%02d" % number for number in range(hosts)]
    before = MaglevTable(keys, [1 / hosts] * hosts, 65537)
    after = MaglevTable(keys[:-1], [1 / (hosts - 1)] * (hosts - 1), 65537)
    moved = sum(
        before.choose(value) != hosts - 1 and before.choose(value) != after.choose(value) for value in range(65537)
    )
    # The share of the host that went must move, and of the others' little more than as much.
    assert moved < 1.2 * 65537 / hosts
    assert before.max_entries - before.min_entries <= 1


def test_a_table_of_one_entry() -> None:
    table = MaglevTable([b"a"], [1.0], 1)
    assert (table.min_entries, table.max_entries) == (1, 1)
    assert {table.choose(value, value % 3) for value in range(10)} == {0}
