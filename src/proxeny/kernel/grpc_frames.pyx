"""gRPC's frames in a stream of bytes: one byte of flags, four of length (big endian), the message.

Inspector counts them where they are; Decoder takes whole ones out. Both are fed pieces of any size.
"""

from libc.stdint cimport uint32_t

from proxeny.kernel.buffer cimport Buffer, Slice

cdef enum:
    HEAD = 5

COMPRESSED = 0x01
CONNECT_END = 0x02
MOST_END_BYTES = 65536


cdef class FrameInspector:
    """Counts frames; `ends`: one flagged as the Connect protocol's end of stream is kept aside, and nothing after it
    is counted (Envoy: FrameInspector and ResponseFrameCounter)."""

    cdef readonly Py_ssize_t count
    cdef int seen
    cdef uint32_t left
    cdef bint ends, at_end
    cdef bytearray end_message

    def __init__(self, bint ends=False):
        self.ends = ends

    def inspect(self, Buffer data not None):
        """How many frames begin in these bytes, which stay where they are."""
        cdef Slice* item = data.head
        cdef Py_ssize_t before = self.count
        while item is not NULL:
            if not self.walk(<unsigned char*>item.data, item.length):
                break
            item = item.next
        return self.count - before

    cdef bint walk(self, unsigned char* at, size_t n) except -1:
        """Whether what follows is of interest."""
        cdef size_t part
        while n:
            if self.seen < HEAD:
                if self.seen == 0:
                    if self.at_end:
                        return False
                    self.at_end = self.ends and at[0] & 2
                    if self.at_end:
                        self.end_message = bytearray()
                    else:
                        self.count += 1
                    self.left = 0
                else:
                    self.left = (self.left << 8) | at[0]
                self.seen += 1
                at += 1
                n -= 1
            else:
                part = min(n, <size_t>self.left)
                if self.at_end and len(self.end_message) <= MOST_END_BYTES:
                    self.end_message += at[:part]
                self.left -= <uint32_t>part
                at += part
                n -= part
            if self.seen == HEAD and self.left == 0:
                self.seen = 0
        return True

    def end_frame(self):
        """The message of the frame that ends the stream; None while there is none, or if it is above MOST_END_BYTES."""
        if not self.at_end or self.seen or len(self.end_message) > MOST_END_BYTES:
            return None
        return bytes(self.end_message)


cdef class FrameDecoder:
    """Takes frames out; a frame with flags other than COMPRESSED, or one longer than `most` (`too_long`), ends the
    decoding."""

    cdef readonly bint failed, too_long
    cdef readonly Py_ssize_t most
    cdef Buffer held

    def __init__(self, Py_ssize_t most=0xFFFFFFFF):
        self.most = most
        self.held = Buffer()

    def decode(self, Buffer data not None):
        """The frames that these bytes complete, as (flags, message); the bytes are moved out of `data`."""
        cdef list found = []
        cdef unsigned char head[HEAD]
        cdef Py_ssize_t size
        self.held.move_all(data)
        while not self.failed and self.held.length >= HEAD:
            self.held.copy_out(<char*>head, HEAD)
            size = (<Py_ssize_t>head[1] << 24) | (head[2] << 16) | (head[3] << 8) | head[4]
            if head[0] & 0xFE or size > self.most:
                self.failed = True
                self.too_long = head[0] & 0xFE == 0
                self.held.clear()
            elif self.held.length < HEAD + size:
                break
            else:
                self.held.c_drain(HEAD)
                found.append((head[0], self.held.take(size) if size else b""))
        if self.failed:
            self.held.clear()
        return found

    @property
    def buffered(self):
        """Bytes of a frame that is not complete."""
        return self.held.length


def frame_head(Py_ssize_t size, int flags=0):
    """The five bytes in front of a message of `size` bytes."""
    if not 0 <= size <= 0xFFFFFFFF:
        raise ValueError("a gRPC message has at most 4294967295 bytes")
    return flags.to_bytes(1, "big") + size.to_bytes(4, "big")
