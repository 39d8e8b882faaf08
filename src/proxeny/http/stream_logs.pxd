"""Types of http.stream_logs."""

cimport cython

from proxeny.http.downstream_filter_manager cimport DownstreamFilterManager
from proxeny.network.stream_info cimport StreamInfo


@cython.locals(info=StreamInfo)
cpdef log_stream(DownstreamFilterManager stream, log_type)
