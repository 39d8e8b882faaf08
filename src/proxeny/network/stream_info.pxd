"""Types of network.stream_info."""


cdef class ConnectionInfo:
    cdef public object local_address, remote_address, direct_local_address, direct_remote_address
    cdef public object filter_chain, detected_close_type, listener, local_close_reason, protocol
    cdef public object requested_server_name, requested_application_protocols
    cdef public object ja3_hash, ja4_hash, ssl
    cdef public object termination_details, transport_failure_reason, transport_protocol
    cdef public bint local_address_restored
    cdef public int fd
    cdef public long long connection_id


cdef class StreamInfo:
    cdef public object connection, downstream_remote_address, protocol, response_code_details, route, route_name
    cdef public object upstream_host, upstream_cluster, upstream_connection, upstream_addresses
    cdef public object upstream_protocol, upstream_transport_failure_reason, stream_id
    cdef public object dynamic_metadata_map, filter_state_map, tracing
    cdef public object attempted_hosts, custom_flags, downstream_stream, earlier_attempts, time_points
    cdef public object override_host, upstream_stream, virtual_cluster
    cdef public double start_time
    cdef public long long start_ns, end_ns
    cdef public long long last_downstream_rx_ns, first_downstream_tx_ns, last_downstream_tx_ns
    cdef public long long first_upstream_tx_ns, last_upstream_tx_ns, first_upstream_rx_ns, last_upstream_rx_ns
    cdef public long long first_upstream_body_ns, upstream_asked_ns, upstream_failed_ns, route_resolution_ns
    cdef public long long flags
    cdef public long long response_code, attempt_count, route_resolutions
    cdef public long long bytes_received, bytes_sent
    cdef public long long wire_bytes_received, wire_bytes_sent, upstream_wire_bytes_received, upstream_wire_bytes_sent
    cdef public bint health_check, match_upstream_scheme, unroutable
