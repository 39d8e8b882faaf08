"""Stat stores: MainStore allots blocks and owns all names; WorkerStore only knows where its blocks are.

Both sides run the same compile code against the same interface (`Store`). In main it runs inside
`with store.recording() as table:`; the table travels to the workers with the resource, and their store, after
`install(table)`, finds every block at the base that main chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from proxeny.kernel.stats import COUNTER, MAX_SLOTS, Block, DynamicLog, DynamicStats, Segment, sum_slots
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.event.slices import Steps

T = TypeVar("T")
StatTable = dict[tuple[str, str], int]
Tags = tuple[tuple[str, str], ...]


class StatsError(RuntimeError):
    """A block that was never allotted, or no room for one."""


class Store(Protocol):
    """What factories and compilers see of the statistics, in main and in a worker."""

    def block(self, schema: Schema, prefix: str, tags: Tags = ()) -> Block:
        """The slots of one object; a second request for the same schema and prefix gives the same slots."""
        ...

    def dynamic(self, prefix: str) -> DynamicStats:
        """Statistics under this prefix whose names are met at run time."""
        ...

    def text_readout(self, name: str, value: str) -> None:
        """Sets a text statistic; only main shows them."""
        ...

    def wide_gauge(self, name: str, value: int | None) -> None:
        """Sets a gauge of 64 bits (None: not used yet); only main shows them."""
        ...


class BlockEntry:
    """One allotted block: its place, its names, and how many owners hold it."""

    __slots__ = ("base", "chosen", "owners", "prefix", "schema", "tags")

    def __init__(self, schema: Schema, prefix: str, tags: Tags, base: int) -> None:
        self.schema = schema
        self.prefix = prefix
        self.tags = tags
        self.base = base
        self.owners = 0
        self.chosen: dict[str, tuple[int, ...]] | None = None
        """By filter, the slots whose names it accepts: what readers of all statistics remember."""


class SlotAllocator:
    """Hands out runs of slots; runs that come back are reused for requests of the same size."""

    __slots__ = ("_free", "_next")

    def __init__(self) -> None:
        self._next = 0
        self._free: dict[int, list[int]] = {}

    def allot(self, size: int) -> int:
        free = self._free.get(size)
        if free:
            return free.pop()
        base = self._next
        if base + size > MAX_SLOTS:
            raise StatsError("no room for another block of statistics")
        self._next = base + size
        return base

    def give_back(self, base: int, size: int) -> None:
        self._free.setdefault(size, []).append(base)

    @property
    def high_water(self) -> int:
        """How many slots were ever in use."""
        return self._next


class MainStore:
    """The main process's store: allots, names and sums. Alone it is a complete local store (unit tests, tools)."""

    def __init__(self) -> None:
        self.segment = Segment.create("proxeny-stats-main")
        self.retired = Segment.create("proxeny-stats-retired")
        self.entries: dict[tuple[str, str], BlockEntry] = {}
        self.text_readouts: dict[str, str] = {}
        self.wide_gauges: dict[str, int | None] = {}
        """Gauges of main that need all 64 bits (a slot has 63); None until they are set."""
        self.workers: dict[int, Segment] = {}
        self._idle: dict[int, Segment] = {}
        """Those of workers that do not run (yet, or any more)."""
        self._log = DynamicLog(self.segment)
        self._retired_log = DynamicLog(self.retired)
        self._slots = SlotAllocator()
        self._recordings: list[StatTable] = []
        self.on_freed: Callable[[int, int], object] | None = None
        """Hears of slots (base and size) that come back: what else is kept by their numbers is to be forgotten."""
        # Reading a page of a segment allots it: the retired one is left alone until a worker dies.
        self._retired_used = False
        self.before_reading: list[Callable[[], object]] = []
        """Called before gauges are read: those that main makes of something else are brought up to date."""

    # -- what factories use ------------------------------------------------------------------------------------
    def block(self, schema: Schema, prefix: str, tags: Tags = ()) -> Block:
        """The slots of one object, allotted at the first request; recorded in the innermost open recording."""
        key = (schema.name, prefix)
        entry = self.entries.get(key)
        if entry is None:
            entry = BlockEntry(schema, prefix, tags, self._slots.allot(schema.size))
            self.entries[key] = entry
        if not self._recordings:
            entry.owners += 1
        elif key not in self._recordings[-1]:
            entry.owners += 1
            self._recordings[-1][key] = entry.base
        return self.segment.block(entry.base, schema.size)

    def dynamic(self, prefix: str) -> DynamicStats:
        return DynamicStats(self._log, prefix)

    def text_readout(self, name: str, value: str) -> None:
        self.text_readouts[name] = value

    def wide_gauge(self, name: str, value: int | None) -> None:
        self.wide_gauges[name] = value

    def forget_version(self, prefix: str) -> None:
        """The subscription below ``prefix`` is gone, with its version, and what a stream of its own told."""
        self.text_readouts.pop(f"{prefix}control_plane.identifier", None)
        self.wide_gauges.pop(f"{prefix}version", None)
        self.text_readouts.pop(f"{prefix}version_text", None)

    @contextmanager
    def recording(self) -> Iterator[StatTable]:
        """Collects the blocks that are requested inside into a table, which then is one owner of each of them."""
        table: StatTable = {}
        self._recordings.append(table)
        try:
            yield table
        except BaseException:
            self._recordings.pop()
            self.release(table)
            raise
        self._recordings.pop()

    def recording_steps(self, steps: Steps[T]) -> Steps[tuple[T, StatTable]]:
        """What ``steps`` return, and ``recording`` of what they request, for all that others request meanwhile."""
        table: StatTable = {}
        try:
            while True:
                self._recordings.append(table)
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value, table
                finally:
                    self._recordings.pop()
                yield
        except BaseException:
            steps.close()
            self.release(table)
            raise

    def release(self, table: StatTable, dynamic_prefixes: tuple[str, ...] = ()) -> None:
        """Ends a recording's ownership, after all workers let go of it: blocks without an owner become free."""
        for key in table:
            entry = self.entries[key]
            entry.owners -= 1
            if entry.owners == 0:
                self._free(key, entry)
        for prefix in dynamic_prefixes:
            self._log.drop(prefix)
            self._retired_log.drop(prefix)

    def _free(self, key: tuple[str, str], entry: BlockEntry) -> None:
        size = entry.schema.size
        self.segment.block(entry.base, size).clear(entry.schema.histograms_from)
        if self._retired_used:
            self.retired.block(entry.base, size).clear(entry.schema.histograms_from)
        for segment in self.workers.values():
            segment.block(entry.base, size).wipe()
        if self.on_freed is not None:
            self.on_freed(entry.base, size)
        del self.entries[key]
        self._slots.give_back(entry.base, size)

    # -- worker segments ---------------------------------------------------------------------------------------
    def create_worker_segment(self, index: int) -> Segment:
        """A fresh segment for worker `index`; its descriptor goes to the worker, a dead predecessor must be retired."""
        if index in self.workers:
            raise StatsError(f"worker {index} still has a statistics segment")
        segment = self._idle.pop(index) if index in self._idle else _new_segment(index)
        self.workers[index] = segment
        return segment

    def worker_segments(self, concurrency: int) -> list[Segment]:
        """The segments of all workers there will be, in order. A worker's stays the same one for its replacement, so
        that others may keep it mapped."""
        for index in range(concurrency):
            if index not in self.workers and index not in self._idle:
                self._idle[index] = _new_segment(index)
        return [self.workers.get(index) or self._idle[index] for index in range(concurrency)]

    def retire_worker(self, index: int) -> None:
        """Keeps a dead worker's counters and samples in the retired segment; its gauges go to zero."""
        dead = self.workers.pop(index)
        self._retired_used = True
        for entry in self.entries.values():
            schema = entry.schema
            kept = self.retired.block(entry.base, schema.size)
            kept.absorb(dead.block(entry.base, schema.size), schema.gauges_from, schema.histograms_from)
        self._retired_log.absorb(dead)
        dead.reset()
        self._idle[index] = dead

    def clear_retired(self, entry: BlockEntry) -> None:
        """What dead workers left of a block counts no more: its writer begins anew with it."""
        if self._retired_used:
            self.retired.block(entry.base, entry.schema.size).clear(entry.schema.histograms_from)

    def segments(self) -> list[Segment]:
        """Every segment that counts: main's, the workers', and the retired one once it holds anything."""
        retired = [self.retired] if self._retired_used else []
        return [self.segment, *self.workers.values(), *retired]

    def blocks_of(self, entry: BlockEntry) -> list[Block]:
        """The entry's slots in every segment."""
        return [segment.block(entry.base, entry.schema.size) for segment in self.segments()]

    # -- writing through the retired segment -------------------------------------------------------------------
    def reset_counters(self) -> None:
        """/reset_counters: all counters read 0 from here on.

        Only its worker may write a worker's segment, so the sums are taken off in the retired one.
        """
        self._retired_used = True
        for entry in self.entries.values():
            values, _ = sum_slots(self.blocks_of(entry), entry.schema.gauges_from)
            retired = self.retired.block(entry.base, entry.schema.size)
            for slot, value in enumerate(values):
                if value:
                    retired.sub(slot, value)
        for segment in self.segments():
            for name, kind, _, value, _ in segment.dynamic_entries():
                if kind == COUNTER and value:
                    self._retired_log.add(COUNTER, name, -value)


def _new_segment(index: int) -> Segment:
    return Segment.create(f"proxeny-stats-worker-{index}")


class WorkerStore:
    """A worker's store: finds the blocks that main allotted; keeps no names."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._bases: dict[tuple[str, str], int] = {}
        self._owners: dict[tuple[str, str], int] = {}
        self._schemas: dict[str, Schema] = {}
        self._log = DynamicLog(segment)

    def install(self, table: StatTable) -> None:
        """Makes the blocks of a resource findable; call it before the resource is compiled."""
        self._bases.update(table)
        for key in table:
            self._owners[key] = self._owners.get(key, 0) + 1

    def release(self, table: StatTable, dynamic_prefixes: tuple[str, ...] = ()) -> None:
        """Zeroes the blocks that no other resource holds; acknowledge the removal to main only afterwards."""
        for key in table:
            self._owners[key] -= 1
            if self._owners[key]:
                continue
            base = self._bases.pop(key)
            del self._owners[key]
            schema = self._schemas.get(key[0])
            if schema is not None:
                self.segment.block(base, schema.size).clear(schema.histograms_from)
        for prefix in dynamic_prefixes:
            self._log.drop(prefix)

    def block(self, schema: Schema, prefix: str, tags: Tags = ()) -> Block:
        """The slots that main allotted for this object; StatsError when main sent none."""
        base = self._bases.get((schema.name, prefix))
        if base is None:
            raise StatsError(f"no statistics were allotted for {schema.name} {prefix!r}")
        self._schemas[schema.name] = schema
        return self.segment.block(base, schema.size)

    def dynamic(self, prefix: str) -> DynamicStats:
        return DynamicStats(self._log, prefix)

    def text_readout(self, name: str, value: str) -> None:
        """Text statistics belong to main: nothing to do here."""

    def wide_gauge(self, name: str, value: int | None) -> None:
        """So do gauges of 64 bits."""
