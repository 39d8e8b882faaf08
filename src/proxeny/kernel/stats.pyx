"""Counters, gauges and log-linear histograms in shared memory (theory in stats.pxd).

Segment layout (1 GiB of sparse memfd, mapped once, so that addresses never move):

    0        header: magic, layout version, epoch, heartbeat, fill levels of the areas below
    4 KiB    blocks: slots at bases that the main process allots, the same in every segment
    256 MiB  histogram bins, allotted by the segment's writer at the first sample
    768 MiB  log of dynamic names: entries of (slot, size, kind, state, name), appended by the writer, capped

Histogram bins are circllhist's: a value is (mantissa 10..99) x 10^(decade - 1); 90 bins per decade, one chunk of bins
per decade that was ever hit.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import os

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void* addr, size_t length)
    int madvise(void* addr, size_t length, int advice)
    const int MADV_REMOVE
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

cdef extern from "<unistd.h>" nogil:
    int posix_close "close" (int fd)

cdef extern from *:
    """
    #define PX_PUBLISH(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define PX_OBSERVE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    void publish "PX_PUBLISH" (uint64_t* p, uint64_t v) noexcept nogil
    uint64_t observe "PX_OBSERVE" (uint64_t* p) noexcept nogil

cdef enum:
    LAYOUT_VERSION = 1
    CHUNK_BINS = 90
    DECADES = 19                       # an int64 has at most 19 digits
    # header fields, in slots
    F_MAGIC = 0
    F_VERSION = 1
    F_EPOCH = 2
    F_HEARTBEAT = 3
    F_BINS_END = 4
    F_LOG_END = 5
    F_LOG_NAMES = 6
    F_DROPPED = 7
    F_SINK = 8
    F_HISTOGRAMS = 9                   # the list of histogram heads ever allotted, newest first
    # head of a histogram, in slots: count, zeros, offset of its slot (0: free), next head, chunk offset per decade
    H_COUNT = 0
    H_ZEROS = 1
    H_SLOT = 2
    H_NEXT = 3
    H_CHUNKS = 4
    # states of an entry of the log
    E_LIVE = 1
    E_DEAD = 2

cdef uint64_t MAGIC = 0x5354415458525031
cdef uint64_t BLOCKS_AT = 4096
cdef uint64_t BINS_AT = <uint64_t>256 << 20
cdef uint64_t LOG_AT = <uint64_t>768 << 20
cdef uint64_t SEGMENT_SIZE = <uint64_t>1024 << 20
cdef uint64_t HEAD_SIZE = (H_CHUNKS + DECADES) * 8
cdef uint64_t CHUNK_SIZE = CHUNK_BINS * 8
cdef uint64_t VALUE_MASK = ~STAT_USED

COUNTER = 0
GAUGE = 1
HISTOGRAM = 2
MAX_SLOTS = (BINS_AT - BLOCKS_AT) // 8

cdef struct LogEntry:  # 16 bytes, the name follows; readers check every length
    uint64_t slot
    uint32_t size
    uint16_t name_length
    uint8_t kind
    uint8_t state


@cython.final
cdef class Segment:
    """One process's statistics memory; create() makes one, Segment(fd) maps another's."""

    def __cinit__(self, int fd):
        self.mem = NULL
        self.fd = -1
        cdef void* address = mmap(NULL, SEGMENT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
        if address == MAP_FAILED:
            raise OSError("cannot map the statistics segment")
        self.mem = <char*>address
        self.fd = fd
        self.free_chunks = {}
        self.free_heads = []
        cdef uint64_t* header = <uint64_t*>self.mem
        if header[F_MAGIC] == 0:
            self.begin()
        elif header[F_MAGIC] != MAGIC or header[F_VERSION] != LAYOUT_VERSION:
            raise ValueError("not a statistics segment of this version")

    cdef void begin(self) noexcept:
        cdef uint64_t* header = <uint64_t*>self.mem
        header[F_VERSION] = LAYOUT_VERSION
        header[F_BINS_END] = BINS_AT
        header[F_LOG_END] = LOG_AT
        header[F_MAGIC] = MAGIC

    def reset(self):
        """Make it as new, in the same memory: who has it mapped reads zeros."""
        if madvise(self.mem, SEGMENT_SIZE, MADV_REMOVE) != 0:
            raise OSError("cannot clear the statistics segment")
        self.free_chunks = {}
        self.free_heads = []
        self.begin()

    def __dealloc__(self):
        if self.mem != NULL:
            munmap(self.mem, SEGMENT_SIZE)
        if self.owns_fd and self.fd >= 0:
            posix_close(self.fd)

    @staticmethod
    def create(name: str = "proxeny-stats"):
        """A new segment in its own memfd, whose descriptor lives until close() or the end of the object."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(fd, SEGMENT_SIZE)
        cdef Segment segment = Segment(fd)
        segment.owns_fd = True
        return segment

    def close(self):
        """Closes the descriptor; the mapping lives as long as the object."""
        if self.fd >= 0:
            posix_close(self.fd)
            self.fd = -1

    @property
    def heartbeat(self):
        return (<uint64_t*>self.mem)[F_HEARTBEAT]

    @heartbeat.setter
    def heartbeat(self, uint64_t value):
        (<uint64_t*>self.mem)[F_HEARTBEAT] = value

    @property
    def epoch(self):
        return (<uint64_t*>self.mem)[F_EPOCH]

    @epoch.setter
    def epoch(self, uint64_t value):
        (<uint64_t*>self.mem)[F_EPOCH] = value

    @property
    def dropped_names(self):
        """How many dynamic statistics the log's cap refused."""
        return (<uint64_t*>self.mem)[F_DROPPED]

    def block(self, uint32_t base, uint32_t size):
        """The slots base .. base+size-1; the owner of the bases is the main process."""
        if <uint64_t>base + size > <uint64_t>MAX_SLOTS:
            raise IndexError("statistics slot out of the segment")
        cdef Block block = Block.__new__(Block)
        block.segment = self
        block.base = base
        block.size = size
        block.p = <uint64_t*>(self.mem + BLOCKS_AT) + base
        return block

    cdef uint64_t allot(self, uint64_t size) except 0:
        # A piece of the histogram area, zeroed; pieces come back through free_chunks.
        cdef uint64_t* header = <uint64_t*>self.mem
        cdef list free = self.free_chunks.get(size)
        cdef uint64_t offset
        if free:
            offset = free.pop()
            memset(self.mem + offset, 0, size)
            return offset
        offset = header[F_BINS_END]
        if offset + size > LOG_AT:
            raise MemoryError("the histogram area of the statistics segment is full")
        header[F_BINS_END] = offset + size
        return offset

    cdef uint64_t allot_head(self, uint64_t slot_at) except 0:
        # Heads stay in the list for ever: one that came back is linked already.
        cdef uint64_t* header = <uint64_t*>self.mem
        cdef uint64_t next_head = 0
        cdef list free = self.free_heads
        cdef uint64_t offset
        cdef uint64_t* head
        if free:
            offset = free.pop()
            head = <uint64_t*>(self.mem + offset)
            next_head = head[H_NEXT]
            memset(head, 0, HEAD_SIZE)
            head[H_NEXT] = next_head
            head[H_SLOT] = slot_at
            return offset
        offset = self.allot(HEAD_SIZE)
        head = <uint64_t*>(self.mem + offset)
        head[H_SLOT] = slot_at
        head[H_NEXT] = header[F_HISTOGRAMS]
        publish(&header[F_HISTOGRAMS], offset)
        return offset

    cdef int add_bins(self, uint64_t* slot, int mantissa, int decade, uint64_t count) except -1:
        # mantissa 0 is the bin of zeros, else 10..99 in `decade`.
        cdef uint64_t offset = slot[0] & VALUE_MASK
        cdef uint64_t* head
        cdef uint64_t* chunk
        if offset == 0:
            offset = self.allot_head(<char*>slot - self.mem)
            publish(slot, offset | STAT_USED)
        head = <uint64_t*>(self.mem + offset)
        head[H_COUNT] += count
        if mantissa == 0:
            head[H_ZEROS] += count
            return 0
        if head[H_CHUNKS + decade] == 0:
            publish(&head[H_CHUNKS + decade], self.allot(CHUNK_SIZE))
        chunk = <uint64_t*>(self.mem + head[H_CHUNKS + decade])
        chunk[mantissa - 10] += count
        return 0

    cdef int record_at(self, uint64_t* slot, int64_t value) except -1:
        cdef int decade = 0
        cdef int64_t scaled = value
        if value <= 0:
            return self.add_bins(slot, 0, 0, 1)
        if value < 10:
            return self.add_bins(slot, <int>value * 10, 0, 1)
        decade = 1
        while scaled >= 100:
            scaled = scaled // 10
            decade += 1
        return self.add_bins(slot, <int>scaled, decade, 1)

    cdef int drop_bins(self, uint64_t* slot) except -1:
        cdef uint64_t offset = slot[0] & VALUE_MASK
        cdef uint64_t* head
        cdef int decade
        slot[0] = 0
        if offset == 0:
            return 0
        head = <uint64_t*>(self.mem + offset)
        for decade in range(DECADES):
            if head[H_CHUNKS + decade]:
                self.free_chunks.setdefault(CHUNK_SIZE, []).append(head[H_CHUNKS + decade])
        head[H_SLOT] = 0
        head[H_COUNT] = 0
        self.free_heads.append(offset)
        return 0

    cdef dict bins_at(self, uint64_t* slot, dict into):
        cdef uint64_t offset = observe(slot) & VALUE_MASK
        cdef uint64_t* head
        cdef uint64_t* chunk
        cdef uint64_t chunk_at, count
        cdef int decade, i
        # Another process wrote these offsets: one outside the area would be a fault of that process, not of this one.
        if offset < BINS_AT or offset > LOG_AT - HEAD_SIZE:
            return into
        head = <uint64_t*>(self.mem + offset)
        if head[H_ZEROS]:
            into[0] = into.get(0, 0) + head[H_ZEROS]
        for decade in range(DECADES):
            chunk_at = observe(&head[H_CHUNKS + decade])
            if chunk_at < BINS_AT or chunk_at > LOG_AT - CHUNK_SIZE:
                continue
            chunk = <uint64_t*>(self.mem + chunk_at)
            for i in range(CHUNK_BINS):
                count = chunk[i]
                if count:
                    into[decade * 100 + i + 10] = into.get(decade * 100 + i + 10, 0) + count
        return into

    def dynamic_entries(self):
        """Live dynamic statistics: (full name, kind, used, value, offset); a histogram's value is its sample count."""
        cdef uint64_t end = observe(&(<uint64_t*>self.mem)[F_LOG_END])
        cdef uint64_t at = LOG_AT
        cdef LogEntry* entry
        cdef list found = []
        if end > SEGMENT_SIZE:
            end = SEGMENT_SIZE
        while at + sizeof(LogEntry) <= end:
            entry = <LogEntry*>(self.mem + at)
            if entry.size < sizeof(LogEntry) or at + entry.size > end:
                break
            if entry.state == E_LIVE and entry.name_length <= entry.size - sizeof(LogEntry):
                name = (self.mem + at + sizeof(LogEntry))[:entry.name_length].decode("utf-8", "backslashreplace")
                if entry.kind == 2:
                    value = self.sample_count(entry.slot)
                else:
                    value = stat_value(entry.slot)
                found.append((name, entry.kind, (entry.slot & STAT_USED) != 0, value, at))
            at += entry.size
        return found

    def dynamic_bins(self, uint64_t at):
        """Bins of the dynamic histogram whose entry is at this offset: {bin key: count}."""
        return self.bins_at(&(<LogEntry*>(self.mem + at)).slot, {})

    def block_histograms(self):
        """Histograms with samples in the block area: {slot number (base + slot): sample count}."""
        cdef uint64_t at = observe(&(<uint64_t*>self.mem)[F_HISTOGRAMS])
        cdef uint64_t slot_at
        cdef uint64_t* head
        cdef uint64_t steps = 0
        cdef dict found = {}
        # A broken list (a fault of the process that wrote it) must not hang the reader.
        while BINS_AT <= at <= LOG_AT - HEAD_SIZE and steps < (LOG_AT - BINS_AT) // HEAD_SIZE:
            head = <uint64_t*>(self.mem + at)
            slot_at = head[H_SLOT]
            if BLOCKS_AT <= slot_at < BINS_AT and head[H_COUNT]:
                found[(slot_at - BLOCKS_AT) // 8] = head[H_COUNT]
            at = observe(&head[H_NEXT])
            steps += 1
        return found

    def sample_count(self, uint64_t raw):
        cdef uint64_t offset = raw & VALUE_MASK
        if offset < BINS_AT or offset > LOG_AT - HEAD_SIZE:
            return 0
        return (<uint64_t*>(self.mem + offset))[H_COUNT]


@cython.final
cdef class Block:
    """A schema's slots in one segment; slots are the schema's constants, values fit 63 bits."""

    cpdef inc(self, Py_ssize_t slot):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.p[slot] = (self.p[slot] + 1) | STAT_USED

    cpdef inc2(self, Py_ssize_t a, Py_ssize_t b):
        if <size_t>a >= self.size or <size_t>b >= self.size:
            raise IndexError((a, b))
        self.p[a] = (self.p[a] + 1) | STAT_USED
        self.p[b] = (self.p[b] + 1) | STAT_USED

    cpdef inc3(self, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c):
        if <size_t>a >= self.size or <size_t>b >= self.size or <size_t>c >= self.size:
            raise IndexError((a, b, c))
        self.p[a] = (self.p[a] + 1) | STAT_USED
        self.p[b] = (self.p[b] + 1) | STAT_USED
        self.p[c] = (self.p[c] + 1) | STAT_USED

    cpdef dec(self, Py_ssize_t slot):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.p[slot] = (self.p[slot] - 1) | STAT_USED

    cpdef dec2(self, Py_ssize_t a, Py_ssize_t b):
        if <size_t>a >= self.size or <size_t>b >= self.size:
            raise IndexError((a, b))
        self.p[a] = (self.p[a] - 1) | STAT_USED
        self.p[b] = (self.p[b] - 1) | STAT_USED

    cpdef add(self, Py_ssize_t slot, int64_t n):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.p[slot] = (self.p[slot] + <uint64_t>n) | STAT_USED

    def sub(self, Py_ssize_t slot, int64_t n):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.p[slot] = (self.p[slot] - <uint64_t>n) | STAT_USED

    def set(self, Py_ssize_t slot, int64_t n):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.p[slot] = <uint64_t>n | STAT_USED

    cpdef get(self, Py_ssize_t slot):
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        return stat_value(self.p[slot])

    def used(self, Py_ssize_t slot):
        """Whether the slot was ever written."""
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        return (self.p[slot] & STAT_USED) != 0

    cpdef record(self, Py_ssize_t slot, int64_t value):
        """Adds a sample to the histogram of this slot; negative values count as 0."""
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        self.segment.record_at(self.p + slot, value)

    def bins(self, Py_ssize_t slot):
        """The histogram's bins: {decade * 100 + mantissa: count}, zeros under key 0."""
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        return self.segment.bins_at(self.p + slot, {})

    def count(self, Py_ssize_t slot):
        """How many samples the histogram of this slot holds."""
        if <size_t>slot >= self.size:
            raise IndexError(slot)
        return self.segment.sample_count(self.p[slot])

    def clear(self, Py_ssize_t histograms_from):
        """Zeroes all slots; bins of the histograms (slots from histograms_from on) become free. Writer only."""
        cdef Py_ssize_t slot
        for slot in range(self.size):
            if slot >= histograms_from:
                self.segment.drop_bins(self.p + slot)
            else:
                self.p[slot] = 0

    def wipe(self):
        """Zeroes all slots of a segment whose writer is gone or let go of the block."""
        memset(self.p, 0, <size_t>self.size * 8)

    def absorb(self, Block dead, Py_ssize_t gauges_from, Py_ssize_t histograms_from):
        """Takes over the counters and samples of a dead writer's block; its gauges (and the slots) go to zero."""
        cdef Py_ssize_t slot
        cdef uint64_t used
        if dead.size != self.size:
            raise ValueError("blocks of different sizes")
        for slot in range(self.size):
            if slot >= histograms_from:
                for key, count in dead.segment.bins_at(dead.p + slot, {}).items():
                    self.segment.add_bins(self.p + slot, key % 100, key // 100, count)
            elif slot < gauges_from:
                used = (self.p[slot] | dead.p[slot]) & STAT_USED
                self.p[slot] = (self.p[slot] + (dead.p[slot] & VALUE_MASK)) | used
            else:
                self.p[slot] |= dead.p[slot] & STAT_USED
        memset(dead.p, 0, <size_t>dead.size * 8)


def sum_slots(list blocks, Py_ssize_t slots):
    """Sums of the first `slots` slots over the same block in several segments: (values, used flags)."""
    cdef Py_ssize_t slot
    cdef Py_ssize_t n = len(blocks)
    cdef Py_ssize_t i
    cdef uint64_t raw
    cdef uint64_t total
    cdef uint64_t used
    cdef list values = [0] * slots
    cdef bytearray flags = bytearray(slots)
    for slot in range(slots):
        total = 0
        used = 0
        for i in range(n):
            raw = (<Block>blocks[i]).p[slot]
            total += raw
            used |= raw
        if used & STAT_USED:
            flags[slot] = 1
            values[slot] = stat_value(total)
    return values, flags


def sum_bins(list blocks, Py_ssize_t slot):
    """The histogram of a slot summed over several segments, as Block.bins."""
    cdef dict into = {}
    cdef Block block
    for block in blocks:
        block.segment.bins_at(block.p + slot, into)
    return into


@cython.final
cdef class DynamicLog:
    """The writer's side of a segment's log of names met at run time (response codes, user statistics)."""

    def __init__(self, Segment segment, uint32_t max_names=65536):
        self.segment = segment
        self.max_names = max_names
        self.entries = {}
        self.free_entries = {}
        for name, kind, _, _, at in segment.dynamic_entries():
            self.entries[kind, name] = at

    cdef uint64_t* slot_of(self, int kind, str name) except NULL:
        cdef uint64_t* header = <uint64_t*>self.segment.mem
        cdef LogEntry* entry
        cdef bytes text
        cdef uint64_t at, size
        found = self.entries.get((kind, name))
        if found is not None:
            return &(<LogEntry*>(self.segment.mem + <uint64_t>found)).slot
        text = name.encode("utf-8", "backslashreplace")[:65535]
        size = (sizeof(LogEntry) + <uint64_t>len(text) + 7) & ~<uint64_t>7
        free = self.free_entries.get(size)
        if free:
            at = free.pop()
        else:
            at = header[F_LOG_END]
            if len(self.entries) >= self.max_names or at + size > SEGMENT_SIZE:
                header[F_DROPPED] += 1
                self.dropped += 1
                # Counted nowhere; never read. A histogram must not take it for an offset.
                header[F_SINK] = 0
                return &header[F_SINK]
        entry = <LogEntry*>(self.segment.mem + at)
        entry.state = E_DEAD
        entry.slot = 0
        entry.size = <uint32_t>size
        entry.name_length = <uint16_t>len(text)
        entry.kind = kind
        memcpy(self.segment.mem + at + sizeof(LogEntry), <char*>text, len(text))
        entry.state = E_LIVE
        if at == header[F_LOG_END]:
            publish(&header[F_LOG_END], at + size)
        self.entries[kind, name] = at
        return &entry.slot

    def add(self, int kind, str name, int64_t n):
        """Adds to (counter) or sets (gauge) the statistic of this full name."""
        cdef uint64_t* slot = self.slot_of(kind, name)
        if kind == 0:
            slot[0] = (slot[0] + <uint64_t>n) | STAT_USED
        else:
            slot[0] = <uint64_t>n | STAT_USED

    def get(self, int kind, str name):
        found = self.entries.get((kind, name))
        return 0 if found is None else stat_value((<LogEntry*>(self.segment.mem + <uint64_t>found)).slot)

    def drop(self, str prefix):
        """Frees all entries whose name starts with this prefix; DynamicStats of it must not be used afterwards."""
        cdef LogEntry* entry
        for key in [key for key in self.entries if key[1].startswith(prefix)]:
            at = self.entries.pop(key)
            entry = <LogEntry*>(self.segment.mem + <uint64_t>at)
            if entry.kind == 2:
                self.segment.drop_bins(&entry.slot)
            entry.slot = 0
            entry.state = E_DEAD
            self.free_entries.setdefault(entry.size, []).append(at)

    def absorb(self, Segment dead):
        """Takes over the dynamic counters and samples of a dead writer's segment."""
        cdef uint64_t* slot
        for name, kind, used, value, at in dead.dynamic_entries():
            if kind == 1 or not used:
                continue
            slot = self.slot_of(kind, name)
            if kind == 0:
                slot[0] = (slot[0] + <uint64_t><int64_t>value) | STAT_USED
            elif slot != &(<uint64_t*>self.segment.mem)[F_SINK]:
                for key, count in dead.dynamic_bins(at).items():
                    self.segment.add_bins(slot, key % 100, key // 100, count)


@cython.final
cdef class DynamicStats:
    """Statistics under one prefix whose names are only known at run time."""

    def __init__(self, DynamicLog log, str prefix):
        self.log = log
        self.prefix = prefix
        self.counters = {}
        self.histograms = {}

    cdef uint64_t* counter(self, str name) except NULL:
        found = self.counters.get(name)
        if found is not None:
            return <uint64_t*><size_t>found
        cdef uint64_t* slot = self.log.slot_of(0, self.prefix + name)
        if slot != &(<uint64_t*>self.log.segment.mem)[F_SINK]:
            self.counters[name] = <size_t>slot
        return slot

    def inc(self, str name):
        cdef uint64_t* slot = self.counter(name)
        slot[0] = (slot[0] + 1) | STAT_USED

    def add(self, str name, int64_t n):
        cdef uint64_t* slot = self.counter(name)
        slot[0] = (slot[0] + <uint64_t>n) | STAT_USED

    def set_gauge(self, str name, int64_t n):
        cdef uint64_t* slot = self.log.slot_of(1, self.prefix + name)
        slot[0] = <uint64_t>n | STAT_USED

    def add_gauge(self, str name, int64_t n):
        cdef uint64_t* slot = self.log.slot_of(1, self.prefix + name)
        slot[0] = (slot[0] + <uint64_t>n) | STAT_USED

    cdef uint64_t* histogram(self, str name) except NULL:
        found = self.histograms.get(name)
        if found is not None:
            return <uint64_t*><size_t>found
        cdef uint64_t* slot = self.log.slot_of(2, self.prefix + name)
        if slot != &(<uint64_t*>self.log.segment.mem)[F_SINK]:
            self.histograms[name] = <size_t>slot
        return slot

    cpdef record(self, str name, int64_t value):
        cdef uint64_t* slot = self.histogram(name)
        if slot != &(<uint64_t*>self.log.segment.mem)[F_SINK]:
            self.log.segment.record_at(slot, value)

    def get(self, str name):
        return self.log.get(0, self.prefix + name)

    def inc_code(self, int code, str stem="upstream_rq_"):
        """Counts stem + code, e.g. upstream_rq_200."""
        self.inc(stem + str(code))

    def codes(self, str stem="upstream_rq_"):
        """Counters of response codes with the look-ups done once: see CodeStats."""
        return CodeStats(self, stem)


@cython.final
cdef class CodeStats:
    """Envoy's response-code counters: charge(200) counts <stem>completed, <stem>2xx and <stem>200."""

    def __init__(self, DynamicStats dynamic, str stem="upstream_rq_"):
        self.dynamic = dynamic
        self.stem = stem
        self.completed = NULL
        memset(self.groups, 0, sizeof(self.groups))
        memset(self.codes, 0, sizeof(self.codes))

    def count_completed_in(self, Block block, uint32_t slot):
        """Count <stem>completed in a block's slot: for objects whose schema has that name from the start."""
        if slot >= block.size:
            raise ValueError("no such slot")
        self.completed_block = block
        self.completed = block.p + slot

    cpdef charge(self, int code):
        """Codes outside 100..599 have no group and are counted as <stem>unknown, as in Envoy."""
        cdef uint64_t* slot
        cdef int group = code // 100
        if self.completed == NULL:
            self.completed = self.dynamic.counter(self.stem + "completed")
        self.completed[0] = (self.completed[0] + 1) | STAT_USED
        if 100 <= code < 600:
            slot = self.groups[group]
            if slot == NULL:
                slot = self.groups[group] = self.dynamic.counter(f"{self.stem}{group}xx")
            slot[0] = (slot[0] + 1) | STAT_USED
            slot = self.codes[code]
            if slot == NULL:
                slot = self.codes[code] = self.dynamic.counter(f"{self.stem}{code}")
        else:
            slot = self.dynamic.counter(self.stem + "unknown")
        slot[0] = (slot[0] + 1) | STAT_USED
