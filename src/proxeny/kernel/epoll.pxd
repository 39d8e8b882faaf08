"""Map of the poller: watchers of descriptors, one epoll batch per turn."""
from proxeny.kernel.stats cimport Block
from proxeny.kernel.timer cimport TimerWheel


cdef class Watcher:
    cdef readonly int fd
    cdef readonly Poller poller         # None while it is not registered
    cdef unsigned long long added_in    # number of the batch it was added in
    cdef bint is_ready, is_dirty, is_late   # queued on the ready list, on the dirty list, on the late list

    cdef int handle(self, int mask) except -1
    cdef int handle_ready(self) except -1
    cdef int flush_dirty(self) except -1
    cdef int flush_late(self) except -1


cdef class Poller:
    cdef readonly int fd
    cdef readonly TimerWheel wheel
    cdef readonly bint in_batch
    cdef public object error_hook
    cdef unsigned long long batch
    cdef list ready, dirty, late, removed
    cdef int* closing
    cdef int closing_count, closing_room
    cdef void* events
    cdef readonly unsigned long long turns, events_total
    cdef Block times                    # where its times are recorded, None: nowhere
    cdef Py_ssize_t duration_slot, delay_slot
    cdef long long woke_us              # when the last wait ended; 0: there was none
    cdef long long waits_us             # when the current one began

    cdef int begin_wait(self) except -1
    cdef int end_wait(self, int timeout_ms) except -1
    cdef int c_add(self, Watcher watcher, int fd, unsigned int mask) except -1
    cdef int c_modify(self, Watcher watcher, unsigned int mask) except -1
    cdef int c_remove(self, Watcher watcher) except -1
    cdef int c_close_fd(self, int fd) except -1
    cdef int c_mark_ready(self, Watcher watcher) except -1
    cdef int c_mark_dirty(self, Watcher watcher) except -1
    cdef int c_mark_late(self, Watcher watcher) except -1
    cdef int flush_all(self) except -1
    cdef int flush_lists(self) except -1
    cdef int deliver(self, Watcher watcher, int mask) except -1
    cdef int failed(self, Watcher watcher, object error) except -1
    cdef int c_wait(self, int timeout_ms) except -1
    cdef int run_ready(self) except -1
    cdef void end_batch(self) noexcept

    cpdef mark_dirty(self, Watcher watcher)
