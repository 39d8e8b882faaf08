"""Types of access_log.access_log."""

cimport cython

from proxeny.access_log.manager cimport AccessLogFile
from proxeny.formatter.line_program cimport LineProgram


cdef class FileAccessLog:
    cdef public object _filter, _format, commands
    cdef public AccessLogFile _file
    cdef public LineProgram _program

    @cython.locals(line=bytes, program=LineProgram)
    cpdef log(self, request_headers, response_headers, response_trailers, stream_info, log_type=*)


cdef class NullAccessLog:
    pass
