"""Map of nghttp2's callbacks."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from proxeny.kernel.http2_lib cimport nghttp2_data_source, nghttp2_session, nghttp2_session_callbacks, ssize_t

cdef void set_callbacks(nghttp2_session_callbacks* callbacks) noexcept
cdef ssize_t read_data(nghttp2_session* session, int32_t stream_id, uint8_t* target, size_t most, uint32_t* flags,
                       nghttp2_data_source* source, void* user) noexcept
