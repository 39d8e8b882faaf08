"""Buffer: bytes on their way through the proxy.

A buffer is a chain of slices; a slice points into a slab, a reference-counted block of C memory (or a Python bytes
object that is kept alive). Committed bytes never change, so slabs are shared freely: moving bytes between buffers moves
slices. A slab's `used` mark is the end of what was ever written to it; only the slice that ends there may grow, so two
slices of one slab can never write over each other. Drained slabs go back to a small free list per size, so an empty
buffer holds no memory and the next read gets a slab that is still warm in the cache.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from posix.uio cimport iovec

cdef enum:
    CLASSES = 3             # 4, 16 and 64 KB
    EXTERNAL = 8            # bytes of a Python object
    ODD_SIZE = 9            # made by linearize() for more than 64 KB
    COPY_BELOW = 512        # smaller moves are copied: cheaper than a slice
    PINNED_SHARE = 8        # so are slices that would pin a slab more than 8 times their size
    REFERENCE_FROM = 4096   # bytes objects of this size are referenced

# Free lists are the allocator's caches, owned by the process as malloc's are; nothing observable lives in them.
cdef Slab* free_slabs[CLASSES]
cdef int free_counts[CLASSES]
cdef size_t[3] CLASS_SIZE = [4096, 16384, 65536]
cdef int[3] CLASS_KEPT = [256, 128, 32]
cdef Slice* free_slices = NULL
cdef int free_slice_count = 0


cdef Slab* slab_new(size_t wanted) except NULL:
    cdef int size_class = 0
    cdef Slab* slab
    while size_class < CLASSES and CLASS_SIZE[size_class] < wanted:
        size_class += 1
    if size_class < CLASSES and free_slabs[size_class] != NULL:
        slab = free_slabs[size_class]
        free_slabs[size_class] = slab.next
        free_counts[size_class] -= 1
    else:
        if size_class < CLASSES:
            wanted = CLASS_SIZE[size_class]
        else:
            size_class = ODD_SIZE
        slab = <Slab*> malloc(sizeof(Slab) + wanted)
        if slab == NULL:
            raise MemoryError()
        slab.size_class = size_class
        slab.capacity = wanted
        slab.owner = NULL
        slab.data = <char*> slab + sizeof(Slab)
    slab.refs = 1
    slab.used = 0
    slab.next = NULL
    return slab


cdef Slab* slab_external(bytes owner) except NULL:
    cdef Slab* slab = <Slab*> malloc(sizeof(Slab))
    if slab == NULL:
        raise MemoryError()
    Py_INCREF(owner)
    slab.refs = 1
    slab.size_class = EXTERNAL
    slab.capacity = slab.used = <size_t> PyBytes_GET_SIZE(owner)
    slab.owner = <PyObject*> owner
    slab.data = PyBytes_AS_STRING(owner)
    slab.next = NULL
    return slab


cdef void slab_release(Slab* slab) noexcept:
    cdef int size_class = slab.size_class
    slab.refs -= 1
    if slab.refs > 0:
        return
    if size_class < CLASSES and free_counts[size_class] < CLASS_KEPT[size_class]:
        slab.next = free_slabs[size_class]
        free_slabs[size_class] = slab
        free_counts[size_class] += 1
        return
    if slab.owner != NULL:
        Py_DECREF(<object> slab.owner)
    free(slab)


cdef Slice* slice_new(Slab* slab, char* data, size_t n) except NULL:
    global free_slices, free_slice_count
    cdef Slice* item = free_slices
    if item != NULL:
        free_slices = item.next
        free_slice_count -= 1
    else:
        item = <Slice*> malloc(sizeof(Slice))
        if item == NULL:
            raise MemoryError()
    item.slab = slab
    item.data = data
    item.length = n
    item.next = NULL
    return item


cdef void slice_release(Slice* item) noexcept:
    global free_slices, free_slice_count
    slab_release(item.slab)
    if free_slice_count < 1024:
        item.next = free_slices
        free_slices = item
        free_slice_count += 1
    else:
        free(item)


cdef inline size_t room(Slice* item) noexcept:
    """Bytes that may still be written behind this slice in its slab."""
    cdef Slab* slab
    if item == NULL:
        return 0
    slab = item.slab
    if item.data + item.length != slab.data + slab.used:
        return 0
    return slab.capacity - slab.used


cdef class Buffer:
    """Bytes in order, added at the end and drained at the front, with high and low watermarks (bytes)."""

    def __cinit__(self, data=None):
        self.length = 0
        self.head = self.tail = NULL
        self.spare = NULL
        self.high = self.low = 0

    def __init__(self, data=None):
        if data is not None:
            self.append(data)

    def __dealloc__(self):
        cdef Slice* item = self.head
        cdef Slice* following
        while item != NULL:
            following = item.next
            slice_release(item)
            item = following
        self.head = self.tail = NULL
        if self.spare != NULL:
            slab_release(self.spare)

    def __len__(self):
        return self.length

    def __bool__(self):
        return self.length != 0

    def __repr__(self):
        return f"<Buffer {self.length} bytes>"

    # Watermarks

    def set_watermarks(self, Py_ssize_t high, Py_ssize_t low, on_above=None, on_below=None):
        """Call `on_above` when the length rises over `high`, then `on_below` when it is `low` or less. 0: no limit."""
        self.high = high
        self.low = low
        self.on_above = on_above
        self.on_below = on_below
        self.grew()
        if self.high_watermark_triggered and (high == 0 or self.length <= low):
            self.high_watermark_triggered = False
            if on_below is not None:
                on_below()

    cdef int grew(self) except -1:
        if self.high != 0 and self.length > self.high and not self.high_watermark_triggered:
            self.high_watermark_triggered = True
            if self.on_above is not None:
                self.on_above()
        return 0

    cdef int shrank(self) except -1:
        if self.high_watermark_triggered and self.length <= self.low:
            self.high_watermark_triggered = False
            if self.on_below is not None:
                self.on_below()
        return 0

    # Bytes in

    cdef Slice* push(self, Slab* slab, char* data, size_t n) except NULL:
        """Append a slice that takes over one reference of `slab`; watermarks are the caller's."""
        cdef Slice* item = slice_new(slab, data, n)
        if self.tail == NULL:
            self.head = item
        else:
            self.tail.next = item
        self.tail = item
        self.length += <Py_ssize_t> n
        return item

    cdef char* reserve(self, size_t wanted, size_t* available) except NULL:
        """Room for writing: what is left behind the last slice when that is 2 KB or `wanted`, else a new slab."""
        cdef size_t left = room(self.tail)
        if left >= wanted or left >= 2048:
            available[0] = left
            return self.tail.data + self.tail.length
        if self.spare != NULL and self.spare.capacity < wanted:
            self.release()
        if self.spare == NULL:
            self.spare = slab_new(wanted)
        available[0] = self.spare.capacity
        return self.spare.data

    cdef int commit(self, size_t n) except -1:
        """Make the first `n` bytes of the last reserve() part of the buffer."""
        cdef Slab* slab = self.spare
        if n == 0:
            self.release()
            return 0
        if slab != NULL:
            self.push(slab, slab.data, n)
            self.spare = NULL
            slab.used = n
        else:
            self.tail.length += n
            self.tail.slab.used += n
            self.length += <Py_ssize_t> n
        return self.grew()

    cdef void release(self) noexcept:
        """Give an unused reserve back."""
        if self.spare != NULL:
            slab_release(self.spare)
            self.spare = NULL

    cdef int put(self, const char* data, size_t n) except -1:
        """Append a copy of `n` bytes; watermarks are the caller's."""
        cdef size_t left, part
        cdef Slab* slab
        if n == 0:
            return 0
        left = room(self.tail)
        if left > 0:
            part = left if left < n else n
            memcpy(self.tail.data + self.tail.length, data, part)
            self.tail.length += part
            self.tail.slab.used += part
            self.length += <Py_ssize_t> part
            data += part
            n -= part
        while n > 0:
            slab = slab_new(n if n < 65536 else 65536)
            part = slab.capacity if slab.capacity < n else n
            memcpy(slab.data, data, part)
            slab.used = part
            self.push(slab, slab.data, part)
            data += part
            n -= part
        return 0

    cdef int c_append(self, const char* data, size_t n) except -1:
        self.put(data, n)
        return self.grew()

    cdef int c_append_object(self, bytes data) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
        cdef Slab* slab
        if n < REFERENCE_FROM:
            return self.c_append(PyBytes_AS_STRING(data), <size_t> n)
        slab = slab_external(data)
        self.push(slab, slab.data, <size_t> n)
        return self.grew()

    def append(self, data):
        """Append bytes; a bytes object of 4 KB or more is kept by reference, everything else is copied."""
        cdef const unsigned char[::1] view
        if PyBytes_CheckExact(data):
            self.c_append_object(<bytes> data)
            return
        view = data
        if view.shape[0]:
            self.c_append(<const char*> &view[0], <size_t> view.shape[0])

    def prepend(self, bytes data not None):
        """Put bytes in front of all others."""
        cdef size_t n = <size_t> PyBytes_GET_SIZE(data)
        cdef Slab* slab
        cdef Slice* item
        if n == 0:
            return
        slab = slab_external(data)
        item = slice_new(slab, slab.data, n)
        item.next = self.head
        self.head = item
        if self.tail == NULL:
            self.tail = item
        self.length += <Py_ssize_t> n
        self.grew()

    # Bytes over

    cdef void take_slices(self, Buffer source) noexcept:
        if source.head == NULL:
            return
        if self.tail == NULL:
            self.head = source.head
        else:
            self.tail.next = source.head
        self.tail = source.tail
        self.length += source.length
        source.head = source.tail = NULL
        source.length = 0

    cdef int c_move(self, Buffer source, size_t n) except -1:
        """Move the first `n` bytes of `source` (at most all of them) to the end of this buffer."""
        cdef Slice* item
        cdef size_t part, left
        if source is self:
            raise ValueError("a buffer cannot be moved onto itself")
        if n > <size_t> source.length:
            n = <size_t> source.length
        left = n
        while left > 0:
            item = source.head
            part = item.length if item.length < left else left
            left -= part
            if part < COPY_BELOW or part * PINNED_SHARE < item.slab.capacity:
                self.put(item.data, part)
                source.drop(part)
            elif part < item.length:
                item.slab.refs += 1
                self.push(item.slab, item.data, part)
                source.drop(part)
            else:
                source.head = item.next
                if item.next == NULL:
                    source.tail = NULL
                source.length -= <Py_ssize_t> part
                item.next = NULL
                if self.tail == NULL:
                    self.head = item
                else:
                    self.tail.next = item
                self.tail = item
                self.length += <Py_ssize_t> part
        if n:
            source.shrank()
            self.grew()
        return 0

    cpdef move_all(self, Buffer source):
        """Move everything of `source` to the end of this buffer."""
        if source is None:
            raise TypeError("source must not be None")
        self.c_move(source, <size_t> source.length)

    def move(self, Buffer source not None, Py_ssize_t n):
        """Move the first `n` bytes of `source`, or all when it has fewer."""
        if n > 0:
            self.c_move(source, <size_t> n)

    def copy_from(self, Buffer other not None):
        """Append the bytes of `other` without draining it; large slices are shared, not copied."""
        cdef Slice* item = other.head
        cdef size_t left = <size_t> other.length
        cdef size_t part
        while left > 0:
            # The length is fixed before the loop: `other` may be this very buffer, and appending may lengthen a slice.
            part = item.length if item.length < left else left
            if part < REFERENCE_FROM:
                self.put(item.data, part)
            else:
                item.slab.refs += 1
                self.push(item.slab, item.data, part)
            left -= part
            item = item.next
        self.grew()

    # Bytes out

    cdef char* front(self, size_t* n) noexcept:
        """The first contiguous bytes; NULL and 0 when empty."""
        if self.head == NULL:
            n[0] = 0
            return NULL
        n[0] = self.head.length
        return self.head.data

    cdef char* linearize(self, size_t n) except NULL:
        """Make the first `n` bytes contiguous (all there are, if fewer) and point at them; the buffer is not empty."""
        cdef Slab* slab
        cdef Slice* item
        cdef size_t total
        if self.head == NULL:
            raise ValueError("an empty buffer has no front")
        if n > <size_t> self.length:
            n = <size_t> self.length
        if self.head.length >= n:
            return self.head.data
        # Twice the need, so that a head arriving in many pieces is copied a logarithmic number of times.
        slab = slab_new(2 * n)
        total = <size_t> self.length
        self.copy_out(slab.data, n)
        slab.used = n
        try:
            item = slice_new(slab, slab.data, n)
        except MemoryError:
            slab_release(slab)
            raise
        self.drop(n)
        item.next = self.head
        self.head = item
        if self.tail == NULL:
            self.tail = item
        self.length = <Py_ssize_t> total
        return item.data

    cdef int copy_out(self, char* target, size_t n) noexcept:
        cdef Slice* item = self.head
        cdef size_t part
        while n > 0 and item != NULL:
            part = item.length if item.length < n else n
            memcpy(target, item.data, part)
            target += part
            n -= part
            item = item.next
        return 0

    cdef int fill_iovec(self, iovec* vector, int most) noexcept:
        """Describe the first slices in `vector` and return how many."""
        cdef Slice* item = self.head
        cdef int count = 0
        while item != NULL and count < most:
            vector[count].iov_base = item.data
            vector[count].iov_len = item.length
            count += 1
            item = item.next
        return count

    cdef void drop(self, size_t n) noexcept:
        """Forget the first `n` bytes (no more than there are) without looking at the watermarks."""
        cdef Slice* item
        self.length -= <Py_ssize_t> n
        while n > 0:
            item = self.head
            if n < item.length:
                item.data += n
                item.length -= n
                return
            n -= item.length
            self.head = item.next
            if item.next == NULL:
                self.tail = NULL
            slice_release(item)

    cdef int c_drain(self, size_t n) except -1:
        if n > <size_t> self.length:
            n = <size_t> self.length
        if n == 0:
            return 0
        self.drop(n)
        return self.shrank()

    def drain(self, Py_ssize_t n):
        """Forget the first `n` bytes, or all when there are fewer."""
        if n > 0:
            self.c_drain(<size_t> n)

    cpdef clear(self):
        """Forget everything."""
        self.c_drain(<size_t> self.length)

    def peek(self, Py_ssize_t n=-1):
        """Copy of the first `n` bytes (-1: all)."""
        cdef bytes out
        if n < 0 or n > self.length:
            n = self.length
        out = PyBytes_FromStringAndSize(NULL, n)
        self.copy_out(PyBytes_AS_STRING(out), <size_t> n)
        return out

    def take(self, Py_ssize_t n=-1):
        """Copy of the first `n` bytes (-1: all), which leave the buffer."""
        cdef bytes out
        cdef Slab* slab
        if n < 0 or n > self.length:
            n = self.length
        if self.head != NULL and self.head.length == <size_t> n:
            slab = self.head.slab
            if slab.size_class == EXTERNAL and slab.data == self.head.data and slab.capacity == <size_t> n:
                out = <bytes> <object> slab.owner
                self.c_drain(<size_t> n)
                return out
        out = PyBytes_FromStringAndSize(NULL, n)
        self.copy_out(PyBytes_AS_STRING(out), <size_t> n)
        self.c_drain(<size_t> n)
        return out

    cdef Py_ssize_t c_find(self, const char* needle, size_t size, size_t start) noexcept:
        cdef Slice* item = self.head
        cdef Slice* other
        cdef size_t base = 0
        cdef size_t offset, matched, here, left
        cdef char* hit
        if size == 0:
            return <Py_ssize_t> start if start <= <size_t> self.length else -1
        while item != NULL:
            offset = start - base if start > base else 0
            while offset < item.length:
                hit = <char*> memchr(item.data + offset, needle[0], item.length - offset)
                if hit == NULL:
                    break
                offset = <size_t> (hit - item.data)
                other = item
                matched = 0
                here = offset
                while other != NULL and matched < size:
                    left = other.length - here
                    if left > size - matched:
                        left = size - matched
                    if memcmp(other.data + here, needle + matched, left) != 0:
                        break
                    matched += left
                    here = 0
                    other = other.next
                if matched == size:
                    return <Py_ssize_t> (base + offset)
                offset += 1
            base += item.length
            item = item.next
        return -1

    def find(self, bytes needle not None, Py_ssize_t start=0):
        """Offset of the first `needle` at or after `start`, or -1."""
        return self.c_find(PyBytes_AS_STRING(needle), <size_t> PyBytes_GET_SIZE(needle), <size_t> max(start, 0))
