"""HeaderMap: the header fields of one message, in the order they came, without a Python object per field.

Names and values lie behind one another in one arena; an entry is five offsets into it. A look-up is a scan over the
entries that compares length, last byte and then memory; a 64-bit summary of the names ever added answers most
look-ups of absent names without a scan, and those are the majority (a proxy asks for many headers few clients send).
A replaced value leaves dead bytes behind; when they are more than half at the moment the arena would grow, it is
compacted instead, so that any sequence of changes costs amortised time and space linear in what is in the map.
Caps on number and size of headers are the codecs' business.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove

cdef extern from *:
    """
    /* Lower-case of a name's byte; 0: not a token character (RFC 9110 5.6.2). ':' is added for pseudo headers. */
    static unsigned char proxeny_name_lower[256];
    static int proxeny_name_lower_fill(void) {
        const char *marks = "!#$%&'*+-.^_`|~:";
        int c;
        for (c = '0'; c <= '9'; c++) proxeny_name_lower[c] = (unsigned char)c;
        for (c = 'a'; c <= 'z'; c++) proxeny_name_lower[c] = (unsigned char)c;
        for (c = 'A'; c <= 'Z'; c++) proxeny_name_lower[c] = (unsigned char)(c + 32);
        for (; *marks; marks++) proxeny_name_lower[(unsigned char)*marks] = (unsigned char)*marks;
        return 0;
    }
    """
    const unsigned char* NAME_LOWER "proxeny_name_lower"
    int fill_name_lower "proxeny_name_lower_fill"()

fill_name_lower()

cdef enum:
    FIRST_ARENA = 1000          # with malloc's own head this is still in its fastest size class
    FIRST_ENTRIES = 24
    MAX_ARENA = 0x7FFFFFFF


cdef inline uint64_t key_bit(const char* name, size_t n) noexcept nogil:
    """The bit of a name in `present`; spread by length, middle and last byte."""
    if n == 0:
        return 1
    return <uint64_t> 1 << ((n * 7 + <unsigned char>name[n - 1] * 3 + <unsigned char>name[n >> 1]) & 63)


@cython.final
cdef class OriginalNames:
    """How a message spelled its names (Envoy: PreserveCaseHeaderFormatter); of several spellings the first counts.

    `proper`: names that it had not are written in proper case. `reason`: its reason phrase, empty for the code's own.
    """

    def __cinit__(self, bint proper=False):
        self.spellings = {}
        self.reason = b""
        self.proper = proper

    cdef int note(self, const char* name, size_t n) except -1:
        cdef bytes spelling = PyBytes_FromStringAndSize(name, n)
        self.spellings.setdefault(spelling.lower(), spelling)
        return 0

    cdef const char* find(self, const char* name, size_t n) noexcept:
        """The spelling of a lower-case name, or NULL; it lives as long as this object."""
        found = self.spellings.get(PyBytes_FromStringAndSize(name, n))
        return NULL if found is None else PyBytes_AS_STRING(found)


@cython.final
@cython.no_gc       # what it refers to never refers back
@cython.freelist(64)
cdef class HeaderMap:
    """Ordered multimap of header fields; pseudo headers are ordinary entries. Names are lower-case bytes."""

    def __cinit__(self, *args, **kwargs):
        self.arena = NULL
        self.entries = NULL
        self.used = self.capacity = self.dead = self.bytes_total = 0
        self.count = self.entries_capacity = 0
        self.present = 0

    def __init__(self, pairs=None):
        """`pairs`: an iterable of (name, value)."""
        if pairs is not None:
            for name, value in pairs:
                self.add(name, value)

    def __dealloc__(self):
        free(self.arena)
        free(self.entries)

    # -- the C side ------------------------------------------------------------------------------------------------

    cdef int c_room(self, size_t n) except -1:
        """Makes room for n more bytes at the arena's end; pointers into the arena end their life here."""
        cdef size_t wanted, size
        cdef char* grown
        if self.used + n <= self.capacity:
            return 0
        wanted = self.used - self.dead + n
        if wanted > MAX_ARENA:
            raise MemoryError("header map over 2 GiB")
        size = self.capacity if self.capacity else FIRST_ARENA
        while size < wanted + (wanted >> 2):
            size *= 2
        if self.dead == 0:
            grown = <char*>realloc(self.arena, size)
            if grown == NULL:
                raise MemoryError()
            self.arena = grown
            self.capacity = size
            if self.used == 0:
                self.used = 1    # offset 0 is never a name's
                return self.c_room(n)
            return 0
        grown = <char*>malloc(size)
        if grown == NULL:
            raise MemoryError()
        self.c_compact_into(grown)
        free(self.arena)
        self.arena = grown
        self.capacity = size
        return 0

    cdef void c_compact_into(self, char* target) noexcept:
        """Copies what the entries refer to into `target` and points them there."""
        cdef size_t at = 1
        cdef Py_ssize_t i
        cdef HeaderEntry* e
        for i in range(self.count):
            e = &self.entries[i]
            memcpy(target + at, self.arena + e.name, e.name_len)
            e.name = <uint32_t>at
            at += e.name_len
            memcpy(target + at, self.arena + e.value, e.value_len)
            e.value = <uint32_t>at
            at += e.value_len
        self.used = at
        self.dead = 0

    cdef int c_grow_entries(self) except -1:
        cdef Py_ssize_t size = self.entries_capacity * 2 if self.entries_capacity else FIRST_ENTRIES
        cdef HeaderEntry* grown = <HeaderEntry*>realloc(self.entries, size * sizeof(HeaderEntry))
        if grown == NULL:
            raise MemoryError()
        self.entries = grown
        self.entries_capacity = size
        return 0

    cdef int c_add(self, const char* name, size_t name_len, const char* value, size_t value_len) except -1:
        """Appends an entry; the name is lower-cased on the way. Neither pointer may point into this map's arena."""
        cdef HeaderEntry* e
        cdef unsigned char* to
        cdef size_t i
        cdef unsigned char c
        self.c_room(name_len + value_len)
        if self.count == self.entries_capacity:
            self.c_grow_entries()
        e = &self.entries[self.count]
        to = <unsigned char*>self.arena + self.used
        for i in range(name_len):
            c = <unsigned char>name[i]
            if 65 <= c <= 90:
                c |= 32
            to[i] = c
        e.name = <uint32_t>self.used
        e.name_len = <uint32_t>name_len
        self.present |= key_bit(<char*>to, name_len)
        self.used += name_len
        memcpy(self.arena + self.used, value, value_len)
        e.value = <uint32_t>self.used
        e.value_len = <uint32_t>value_len
        self.used += value_len
        self.count += 1
        self.bytes_total += name_len + value_len
        return 0

    cdef int c_replace(self, Py_ssize_t at, const char* value, size_t value_len) except -1:
        """Gives entry `at` another value; `value` must not point into this map's arena."""
        cdef HeaderEntry* e = &self.entries[at]
        self.bytes_total += value_len - e.value_len
        if value_len <= e.value_len:
            memcpy(self.arena + e.value, value, value_len)
            self.dead += e.value_len - value_len
            e.value_len = <uint32_t>value_len
            return 0
        self.dead += e.value_len
        e.value_len = 0
        self.c_room(value_len)
        memcpy(self.arena + self.used, value, value_len)
        e.value = <uint32_t>self.used
        e.value_len = <uint32_t>value_len
        self.used += value_len
        return 0

    cdef int c_set(self, const char* name, size_t name_len, const char* value, size_t value_len) except -1:
        """Replaces all entries of that name by one, in place of the first; adds one where there was none."""
        cdef Py_ssize_t at = self.c_find(name, name_len, 0)
        cdef Py_ssize_t further
        if at < 0:
            return self.c_add(name, name_len, value, value_len)
        self.c_replace(at, value, value_len)
        further = self.c_find(name, name_len, at + 1)
        while further >= 0:
            self.c_remove_at(further)
            further = self.c_find(name, name_len, further)
        return 0

    cdef int c_append(self, Py_ssize_t at, const char* value, size_t value_len,
                      const char* delimiter, size_t delimiter_len) except -1:
        """Joins `value` onto entry `at`; linear over many calls while that value is the arena's last."""
        cdef HeaderEntry* e = &self.entries[at]
        cdef size_t extra = value_len + delimiter_len
        if e.value + e.value_len != self.used:
            self.c_room(extra + e.value_len)
            memcpy(self.arena + self.used, self.arena + e.value, e.value_len)
            self.dead += e.value_len
            e.value = <uint32_t>self.used
            self.used += e.value_len
        else:
            # Compaction would move the value away from the end: growing by realloc keeps it there.
            if self.used + extra > self.capacity:
                self.c_room(extra)
                if e.value + e.value_len != self.used:
                    return self.c_append(at, value, value_len, delimiter, delimiter_len)
        memcpy(self.arena + self.used, delimiter, delimiter_len)
        memcpy(self.arena + self.used + delimiter_len, value, value_len)
        self.used += extra
        e.value_len += <uint32_t>extra
        self.bytes_total += extra
        return 0

    cdef Py_ssize_t c_find(self, const char* name, size_t name_len, Py_ssize_t start) noexcept:
        """The index of the first entry of that (lower-case) name from `start` on, or -1."""
        cdef HeaderEntry* e
        cdef Py_ssize_t i
        cdef const char* arena = self.arena
        if not (self.present & key_bit(name, name_len)):
            return -1
        for i in range(start, self.count):
            e = &self.entries[i]
            if e.name_len == name_len and memcmp(arena + e.name, name, name_len) == 0:
                return i
        return -1

    cdef void c_remove_at(self, Py_ssize_t at) noexcept:
        cdef HeaderEntry* e = &self.entries[at]
        self.forget(e)
        self.count -= 1
        if at < self.count:
            memmove(e, e + 1, (self.count - at) * sizeof(HeaderEntry))

    cdef void c_remove_last(self) noexcept:
        """Removes the entry that was added last, and gives its room back if nothing was put behind it."""
        cdef HeaderEntry* e = &self.entries[self.count - 1]
        cdef size_t end = <size_t> e.value + e.value_len
        if end != self.used or <size_t> e.name + e.name_len != e.value:
            self.c_remove_at(self.count - 1)
            return
        self.used = e.name
        self.bytes_total -= e.name_len + e.value_len
        self.count -= 1

    cdef Py_ssize_t c_remove(self, const char* name, size_t name_len) noexcept:
        cdef Py_ssize_t at = self.c_find(name, name_len, 0)
        cdef Py_ssize_t kept = at
        cdef Py_ssize_t removed
        cdef HeaderEntry* e
        if at < 0:
            return 0
        # In one pass: thousands of entries of one name must not cost their square.
        for at in range(at, self.count):
            e = &self.entries[at]
            if e.name_len == name_len and memcmp(self.arena + e.name, name, name_len) == 0:
                self.forget(e)
            else:
                self.entries[kept] = e[0]
                kept += 1
        removed = self.count - kept
        self.count = kept
        return removed

    cdef void forget(self, HeaderEntry* e) noexcept:
        """An entry goes; its bytes are given back at once where they are the arena's last."""
        self.bytes_total -= e.name_len + e.value_len
        self.give_back(e.value, e.value_len)
        self.give_back(e.name, e.name_len)

    cdef void give_back(self, size_t at, size_t n) noexcept:
        if at + n == self.used:
            self.used = at
        else:
            self.dead += n

    cdef void c_clear(self) noexcept:
        self.count = 0
        self.dead = self.bytes_total = 0
        self.used = 1 if self.capacity else 0
        self.present = 0

    # -- the Python side -------------------------------------------------------------------------------------------

    cpdef get(self, bytes name):
        """The first value of that name, or None."""
        if name is None:
            raise TypeError("name must not be None")
        cdef Py_ssize_t at = self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if at < 0:
            return None
        return PyBytes_FromStringAndSize(self.arena + self.entries[at].value, self.entries[at].value_len)

    def get_all(self, bytes name not None):
        """All values of that name in their order."""
        cdef list found = []
        cdef Py_ssize_t at = self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        while at >= 0:
            found.append(PyBytes_FromStringAndSize(self.arena + self.entries[at].value, self.entries[at].value_len))
            at = self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), at + 1)
        return found

    cpdef get_joined(self, bytes name):
        """All values of that name joined by a comma (RFC 9110 5.2), or None."""
        if name is None:
            raise TypeError("name must not be None")
        cdef Py_ssize_t at = self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if at < 0:
            return None
        if self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), at + 1) < 0:
            return PyBytes_FromStringAndSize(self.arena + self.entries[at].value, self.entries[at].value_len)
        return b",".join(self.get_all(name))

    def __contains__(self, bytes name not None):
        return self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0) >= 0

    cpdef set(self, bytes name, bytes value):
        """Replaces all entries of that name by one, in place of the first."""
        if name is None or value is None:
            raise TypeError("name and value must not be None")
        value = checked_value(name, value)
        self.c_set(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    cpdef add(self, bytes name, bytes value):
        """Appends an entry."""
        if name is None or value is None:
            raise TypeError("name and value must not be None")
        value = checked_value(name, value)
        self.c_add(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    cpdef set_if_absent(self, bytes name, bytes value):
        """Appends an entry unless one of that name is there; says whether it did."""
        if name is None or value is None:
            raise TypeError("name and value must not be None")
        if self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0) >= 0:
            return False
        self.add(name, value)
        return True

    def append_value(self, bytes name not None, bytes value not None, bytes delimiter not None=b","):
        """Joins onto the first entry of that name (onto an empty value without the delimiter), or adds one."""
        cdef Py_ssize_t at
        cdef Py_ssize_t delimiter_len = PyBytes_GET_SIZE(delimiter)
        value = checked_value(name, value)
        at = self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if at < 0:
            self.c_add(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name),
                       PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            return
        if self.entries[at].value_len == 0:
            delimiter_len = 0
        self.c_append(at, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), PyBytes_AS_STRING(delimiter),
                      delimiter_len)

    cpdef remove(self, bytes name):
        """Removes all entries of that name; returns how many there were."""
        if name is None:
            raise TypeError("name must not be None")
        return self.c_remove(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))

    cpdef bint has_any(self, tuple names) except -1:
        """Whether there is an entry of any of those names."""
        if names is None:
            raise TypeError("names must not be None")
        cdef bytes name
        for name in names:
            if self.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0) >= 0:
                return True
        return False

    cpdef remove_many(self, tuple names):
        """Removes all entries of all those names; returns how many there were."""
        if names is None:
            raise TypeError("names must not be None")
        cdef Py_ssize_t removed = 0
        cdef bytes name
        for name in names:
            if self.present & key_bit(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
                removed += self.c_remove(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        return removed

    def remove_prefix(self, bytes prefix not None):
        """Removes all entries whose name begins with `prefix`; returns how many there were."""
        cdef size_t n = PyBytes_GET_SIZE(prefix)
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t removed = 0
        while i < self.count:
            if (self.entries[i].name_len >= n
                    and memcmp(self.arena + self.entries[i].name, PyBytes_AS_STRING(prefix), n) == 0):
                self.c_remove_at(i)
                removed += 1
            else:
                i += 1
        return removed

    def items(self):
        """All entries as (name, value), in their order."""
        cdef list found = []
        cdef Py_ssize_t i
        cdef HeaderEntry* e
        for i in range(self.count):
            e = &self.entries[i]
            found.append((PyBytes_FromStringAndSize(self.arena + e.name, e.name_len),
                          PyBytes_FromStringAndSize(self.arena + e.value, e.value_len)))
        return found

    def original_name(self, Py_ssize_t index):
        """The name of entry `index` as it was received, if the map knows; else the lower-case name."""
        cdef HeaderEntry* e
        if index < 0 or index >= self.count:
            raise IndexError(index)
        e = &self.entries[index]
        name = PyBytes_FromStringAndSize(self.arena + e.name, e.name_len)
        return name if self.names is None else self.names.spellings.get(name, name)

    cpdef byte_size(self):
        """The sum of the lengths of all names and values."""
        return self.bytes_total

    def copy(self):
        """A map of its own with the same entries."""
        cdef HeaderMap other = HeaderMap.__new__(HeaderMap)
        other.names = self.names
        if self.count == 0:
            return other
        other.arena = <char*>malloc(self.capacity)
        other.entries = <HeaderEntry*>malloc(self.entries_capacity * sizeof(HeaderEntry))
        if other.arena == NULL or other.entries == NULL:
            raise MemoryError()
        memcpy(other.arena, self.arena, self.used)
        memcpy(other.entries, self.entries, self.count * sizeof(HeaderEntry))
        other.capacity = self.capacity
        other.entries_capacity = self.entries_capacity
        other.used = self.used
        other.dead = self.dead
        other.count = self.count
        other.bytes_total = self.bytes_total
        other.present = self.present
        return other

    def clear(self):
        """Removes all entries."""
        self.c_clear()

    def __len__(self):
        return self.count

    def __bool__(self):
        return self.count > 0

    def __iter__(self):
        return iter(self.items())

    def __eq__(self, other):
        if not isinstance(other, HeaderMap):
            return NotImplemented
        return self.items() == (<HeaderMap>other).items()

    __hash__ = None

    def __repr__(self):
        return f"HeaderMap({self.items()!r})"


cdef bytes checked_value(bytes name, bytes value):
    """The value with CR, LF and NUL as blanks (RFC 9110 5.5: nothing set here may start another header line).

    Raises ValueError for a name that is no token: those come from code, never from a peer.
    """
    cdef const unsigned char* n = <const unsigned char*>PyBytes_AS_STRING(name)
    cdef const char* v = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t i
    if PyBytes_GET_SIZE(name) == 0:
        raise ValueError("empty header name")
    for i in range(PyBytes_GET_SIZE(name)):
        if NAME_LOWER[n[i]] == 0:
            raise ValueError(f"invalid header name {name!r}")
    if memchr(v, 10, size) == NULL and memchr(v, 13, size) == NULL and memchr(v, 0, size) == NULL:
        return value
    return value.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\x00", b" ")
