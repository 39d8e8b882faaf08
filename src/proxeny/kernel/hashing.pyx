"""Hashes that Envoy's configuration speaks of, and the tables of its consistent-hashing load balancers.

XXH64 (`HashUtil::xxHash64`) and MurmurHash64A with the seed of libstdc++ (`MurmurHash::murmurHash2`); the ketama ring
(`RingHashLoadBalancer::Ring`) and the Maglev table (`MaglevTable`), both over indices of hosts.
"""
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef uint64_t P1 = 0x9E3779B185EBCA87ULL
cdef uint64_t P2 = 0xC2B2AE3D27D4EB4FULL
cdef uint64_t P3 = 0x165667B19E3779F9ULL
cdef uint64_t P4 = 0x85EBCA77C2B2AE63ULL
cdef uint64_t P5 = 0x27D4EB2F165667C5ULL
cdef uint64_t MURMUR = 0xC6A4A7935BD1E995ULL
cdef uint64_t MURMUR_SEED = 0xC70F6907ULL   # std::_Hash_bytes

cdef int LONGEST_NUMBER = 21


cdef inline uint64_t rotate(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline uint64_t read64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef inline uint64_t lane_round(uint64_t lane, uint64_t word) noexcept nogil:
    return rotate(lane + word * P2, 31) * P1


cdef inline uint64_t merge_round(uint64_t value, uint64_t lane) noexcept nogil:
    return (value ^ lane_round(0, lane)) * P1 + P4


cdef uint64_t xxh64(const uint8_t* at, size_t size, uint64_t seed) noexcept nogil:
    cdef const uint8_t* end = at + size
    cdef uint64_t value, a, b, c, d
    cdef uint32_t half
    if size >= 32:
        a, b, c, d = seed + P1 + P2, seed + P2, seed, seed - P1
        while at + 32 <= end:
            a = lane_round(a, read64(at))
            b = lane_round(b, read64(at + 8))
            c = lane_round(c, read64(at + 16))
            d = lane_round(d, read64(at + 24))
            at += 32
        value = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)
        value = merge_round(merge_round(merge_round(merge_round(value, a), b), c), d)
    else:
        value = seed + P5
    value += size
    while at + 8 <= end:
        value = rotate(value ^ lane_round(0, read64(at)), 27) * P1 + P4
        at += 8
    if at + 4 <= end:
        memcpy(&half, at, 4)
        value = rotate(value ^ (half * P1), 23) * P2 + P3
        at += 4
    while at < end:
        value = rotate(value ^ (at[0] * P5), 11) * P1
        at += 1
    value = (value ^ (value >> 33)) * P2
    value = (value ^ (value >> 29)) * P3
    return value ^ (value >> 32)


cdef uint64_t murmur2(const uint8_t* at, size_t size, uint64_t seed) noexcept nogil:
    cdef uint64_t value = seed ^ (size * MURMUR), word
    cdef size_t left
    while size >= 8:
        word = read64(at) * MURMUR
        value = (value ^ ((word ^ (word >> 47)) * MURMUR)) * MURMUR
        at += 8
        size -= 8
    if size:
        word = 0
        for left in range(size):
            word |= <uint64_t> at[left] << (8 * left)
        value = (value ^ word) * MURMUR
    value = (value ^ (value >> 47)) * MURMUR
    return value ^ (value >> 47)


cpdef object xxhash64(bytes data, uint64_t seed=0):
    """The XXH64 of `data`."""
    return xxh64(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), seed)


cpdef object murmurhash2(bytes data):
    """The MurmurHash64A of `data`, as libstdc++ seeds it."""
    return murmur2(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MURMUR_SEED)


cdef struct Point:
    uint64_t hash
    uint32_t host


cdef int sort_by_hash(Point* points, uint64_t count) noexcept nogil:
    """Radix sort, eight bits at a time, the lowest first; -1 without memory for it."""
    cdef uint64_t places[8][256]
    cdef uint64_t index, place, size
    cdef int digit, value
    cdef Point* source = points
    cdef Point* target = <Point*> malloc(count * sizeof(Point))
    cdef Point* scratch = target
    if target == NULL:
        return -1
    memset(places, 0, sizeof(places))
    for index in range(count):
        for digit in range(8):
            places[digit][(points[index].hash >> (8 * digit)) & 0xFF] += 1
    for digit in range(8):
        place = 0
        for value in range(256):
            size = places[digit][value]
            places[digit][value] = place
            place += size
        for index in range(count):
            value = (source[index].hash >> (8 * digit)) & 0xFF
            target[places[digit][value]] = source[index]
            places[digit][value] += 1
        source, target = target, source
    # Eight passes: the last one has written where the first one read.
    free(scratch)
    return 0


cdef size_t put_number(char* at, uint64_t number) noexcept nogil:
    """The decimal digits of `number`; how many they are."""
    cdef size_t size = 1, index
    cdef uint64_t left = number
    while left >= 10:
        left //= 10
        size += 1
    for index in range(size):
        at[size - 1 - index] = <char> (48 + number % 10)
        number //= 10
    return size


cdef class HashRing:
    """Points on a ring, `<key>_<number>` hashed, as many for each host as its weight asks for.

    `weights` are normalized: their sum is 1. `min_hashes` and `max_hashes`: the fewest and the most points of a host.
    """

    cdef Point* points
    cdef uint64_t count
    cdef readonly uint64_t size, min_hashes, max_hashes

    def __cinit__(self, list keys, list weights, uint64_t min_size, uint64_t max_size, bint murmur):
        cdef double least = min(weights) if weights else 1.0
        cdef double scale, current = 0.0, target = 0.0
        cdef uint32_t host
        cdef uint64_t number, room
        if not keys:
            return
        scale = min(ceil(least * min_size) / least, <double> max_size)
        self.size = self.min_hashes = <uint64_t> ceil(scale)
        room = self.size + len(keys)   # rounding may ask for a point more than the scale per host
        self.points = <Point*> malloc(room * sizeof(Point))
        if self.points == NULL:
            raise MemoryError
        for host in range(<uint32_t> len(keys)):
            target += scale * <double> weights[host]
            number = self.add_host(keys[host], host, &current, target, murmur, room)
            self.min_hashes = min(number, self.min_hashes)
            self.max_hashes = max(number, self.max_hashes)
        if sort_by_hash(self.points, self.count) < 0:
            raise MemoryError

    def __dealloc__(self):
        free(self.points)

    cdef uint64_t add_host(
        self, bytes key, uint32_t host, double* current, double target, bint murmur, uint64_t room
    ) except? 0:
        cdef size_t size = PyBytes_GET_SIZE(key), length
        cdef uint64_t number = 0
        cdef char* text = <char*> malloc(size + 1 + LONGEST_NUMBER)
        cdef Point* point
        if text == NULL:
            raise MemoryError
        memcpy(text, PyBytes_AS_STRING(key), size)
        text[size] = b"_"
        while current[0] < target and self.count < room:
            length = size + 1 + put_number(text + size + 1, number)
            point = self.points + self.count
            if murmur:
                point.hash = murmur2(<const uint8_t*> text, length, MURMUR_SEED)
            else:
                point.hash = xxh64(<const uint8_t*> text, length, 0)
            point.host = host
            self.count += 1
            number += 1
            current[0] += 1
        free(text)
        return number

    cpdef Py_ssize_t choose(self, uint64_t value, uint32_t attempt=0):
        """The host of a hash, -1 without hosts; a further `attempt` takes a further point."""
        cdef int64_t low = 0, high = self.count, middle = 0
        cdef uint64_t here, before
        if not self.count:
            return -1
        # The first point at or above the value, behind the last one the first: ketama's search as Envoy does it.
        while True:
            middle = (low + high) // 2
            if middle == <int64_t> self.count:
                middle = 0
                break
            here = self.points[middle].hash
            before = 0 if middle == 0 else self.points[middle - 1].hash
            if value <= here and value > before:
                break
            if here < value:
                low = middle + 1
            else:
                high = middle - 1
            if low > high:
                middle = 0
                break
        return self.points[(<uint64_t> middle + attempt) % self.count].host


cdef inline uint64_t step(uint64_t at, uint64_t skip, uint64_t size) noexcept nogil:
    """The next place of a permutation: `skip` is below `size`, so no division is needed."""
    at += skip
    return at - size if at >= size else at


cdef class MaglevTable:
    """A table of host indices; `keys` in the order in which hosts take their turns (Envoy: sorted).

    `weights` are normalized. `min_entries` and `max_entries` are the fewest and the most entries of a host.
    """

    cdef uint32_t* table
    cdef readonly uint64_t size, min_entries, max_entries

    def __cinit__(self, list keys, list weights, uint64_t size):
        cdef uint64_t hosts = len(keys)
        if not hosts:
            return
        self.size = size
        self.table = <uint32_t*> calloc(size, sizeof(uint32_t))   # 0 = free, else the host's index + 1
        cdef uint64_t* numbers = <uint64_t*> calloc(hosts * 3, sizeof(uint64_t))
        cdef double* shares = <double*> calloc(hosts * 2, sizeof(double))
        try:
            if self.table == NULL or numbers == NULL or shares == NULL:
                raise MemoryError
            self.fill(keys, weights, numbers, shares)
        finally:
            free(numbers)
            free(shares)

    def __dealloc__(self):
        free(self.table)

    cdef int fill(self, list keys, list weights, uint64_t* numbers, double* shares) except -1:
        """`numbers` holds next place, skip and count of each host, `shares` its weight and target."""
        cdef uint64_t hosts = len(keys), host, filled = 0, iteration = 0, at
        cdef uint64_t* own
        cdef bytes key
        cdef double greatest = max(weights)
        for host in range(hosts):
            key = keys[host]
            shares[host * 2] = weights[host]
            if self.size == 1:
                continue
            numbers[host * 3] = xxh64(<const uint8_t*> PyBytes_AS_STRING(key), len(key), 0) % self.size
            numbers[host * 3 + 1] = xxh64(<const uint8_t*> PyBytes_AS_STRING(key), len(key), 1) % (self.size - 1) + 1
        with nogil:
            while filled < self.size:
                iteration += 1
                for host in range(hosts):
                    if filled >= self.size:
                        break
                    if iteration * shares[host * 2] < shares[host * 2 + 1]:
                        continue
                    shares[host * 2 + 1] += greatest
                    own = numbers + host * 3
                    at = own[0]
                    while self.table[at]:
                        at = step(at, own[1], self.size)
                    self.table[at] = <uint32_t> host + 1
                    own[0] = step(at, own[1], self.size)
                    own[2] += 1
                    filled += 1
        self.min_entries = self.size
        for host in range(hosts):
            self.min_entries = min(numbers[host * 3 + 2], self.min_entries)
            self.max_entries = max(numbers[host * 3 + 2], self.max_entries)
        return 0

    cpdef Py_ssize_t choose(self, uint64_t value, uint32_t attempt=0):
        """The host of a hash, -1 without hosts; a further `attempt` changes the hash."""
        if not self.size:
            return -1
        if attempt:
            value ^= ~<uint64_t> 0 - attempt + 1
        return <Py_ssize_t> self.table[value % self.size] - 1


cdef class Shuffle:
    """The numbers below `count`, one by one, in the order that `std::mt19937(seed)` gives by Envoy's way of drawing
    (`BoundedLoadHashingLoadBalancer`)."""

    cdef uint32_t state[624]
    cdef int drawn
    cdef uint32_t* order
    cdef readonly uint64_t count, position

    def __cinit__(self, uint64_t seed, uint32_t count):
        cdef uint32_t index
        self.order = <uint32_t*> malloc((count + 1) * sizeof(uint32_t))
        if self.order == NULL:
            raise MemoryError
        for index in range(count):
            self.order[index] = index
        self.count = count
        self.state[0] = <uint32_t> seed
        for index in range(1, 624):
            self.state[index] = 1812433253u * (self.state[index - 1] ^ (self.state[index - 1] >> 30)) + index
        self.drawn = 624

    def __dealloc__(self):
        free(self.order)

    cdef void twist(self) noexcept nogil:
        cdef uint32_t index, mixed
        for index in range(624):
            mixed = (self.state[index] & 0x80000000u) | (self.state[(index + 1) % 624] & 0x7FFFFFFFu)
            self.state[index] = self.state[(index + 397) % 624] ^ (mixed >> 1)
            if mixed & 1:
                self.state[index] ^= 0x9908B0DFu
        self.drawn = 0

    cdef uint32_t draw(self) noexcept nogil:
        cdef uint32_t value
        if self.drawn == 624:
            self.twist()
        value = self.state[self.drawn]
        self.drawn += 1
        value ^= value >> 11
        value ^= (value << 7) & 0x9D2C5680u
        value ^= (value << 15) & 0xEFC60000u
        return value ^ (value >> 18)

    cpdef int64_t next(self):
        """The next number, -1 behind the last."""
        cdef uint64_t left = self.count - self.position, other = left
        if not left:
            return -1
        while other >= left:
            other = self.draw() // ((<uint64_t> 1 << 32) // left)
        other += self.position
        self.order[self.position], self.order[other] = self.order[other], self.order[self.position]
        self.position += 1
        return self.order[self.position - 1]
