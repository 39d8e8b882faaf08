"""Types of formatter.line_program."""

cimport cython

from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.line cimport Line
from proxeny.network.stream_info cimport StreamInfo


cdef class Step:
    cdef public int kind
    cdef public bytes alternative, text
    cdef public Py_ssize_t limit
    cdef public object function


cdef class LineProgram:
    cdef public bytes _absent
    cdef public Line _line
    cdef public list _steps
    cdef public object _clock

    @cython.locals(headers=HeaderMap, kind=cython.int, line=Line, step=Step)
    cpdef bytes format(self, HeaderMap rq, HeaderMap rs, HeaderMap tr, StreamInfo si, body=*, log_type=*)
    @cython.locals(end_ns=cython.longlong, kind=cython.int, line=Line)
    cdef _put_info(self, Step step, StreamInfo si)
