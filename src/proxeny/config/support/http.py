"""The HTTP connection manager, its protocol options and HTTP filters."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3"
_HTTP: Final = "envoy.extensions.filters.http"
_CORE: Final = "envoy.config.core.v3"

TABLE: Final[Table] = {
    f"{_HCM}.HttpConnectionManager": extension(
        done="""codec_type stat_prefix rds route_config scoped_routes http_filters add_user_agent
            common_http_protocol_options
            http_protocol_options server_name server_header_transformation scheme_header_transformation
            max_request_headers_kb stream_idle_timeout request_timeout request_headers_timeout drain_timeout
            delayed_close_timeout access_log access_log_options access_log_flush_interval
            flush_access_log_on_new_request use_remote_address xff_num_trusted_hops internal_address_config
            skip_xff_append via generate_request_id preserve_external_request_id always_set_request_id_in_response
            proxy_100_continue upgrade_configs normalize_path merge_slashes path_with_escaped_slashes_action
            strip_matching_host_port strip_any_host_port stream_error_on_invalid_http_message
            strip_trailing_host_dot local_reply_config proxy_status_config original_ip_detection_extensions
            early_header_mutation_extensions request_id_extension tracing append_x_forwarded_port
            forward_client_cert_details set_current_client_cert_details append_local_overload
            http2_protocol_options stream_flush_timeout
            forward_client_cert_matcher http1_safe_max_connection_duration typed_header_validation_config""",
        accepted="""represent_ipv4_remote_address_as_ipv4_mapped_ipv6
            add_proxy_protocol_connection_state path_normalization_options""",
    ),
    f"{_HCM}.Rds": fields(done="config_source route_config_name"),
    f"{_HCM}.LocalReplyConfig": fields(done="mappers body_format"),
    f"{_HCM}.ResponseMapper": fields(done="filter status_code body body_format_override headers_to_add"),
    f"{_HCM}.HttpConnectionManager.ProxyStatusConfig": fields(
        done="remove_details remove_response_flags set_recommended_response_code use_node_id literal_proxy_name",
        # A request has no connection termination details, in Envoy neither.
        accepted="remove_connection_termination_details",
    ),
    f"{_HCM}.ScopedRoutes": fields(
        done="name scope_key_builder scoped_route_configurations_list scoped_rds rds_config_source"
    ),
    f"{_HCM}.ScopedRds": fields(done="scoped_rds_config_source"),
    f"{_HCM}.ScopedRoutes.ScopeKeyBuilder": fields(done="fragments"),
    f"{_HCM}.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder": fields(done="header_value_extractor"),
    f"{_HCM}.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor": fields(
        done="name element_separator index element"
    ),
    f"{_HCM}.ScopedRouteConfigurationsList": fields(done="scoped_route_configurations"),
    "envoy.config.route.v3.ScopedRouteConfiguration": fields(
        done="name route_configuration route_configuration_name key on_demand"
    ),
    f"{_HCM}.HttpConnectionManager.UpgradeConfig": fields(done="upgrade_type enabled filters"),
    f"{_HCM}.HttpConnectionManager.Tracing": fields(
        done="client_sampling random_sampling overall_sampling",
        accepted="""verbose max_path_tag_length custom_tags spawn_upstream_span operation upstream_operation""",
    ),
    f"{_HCM}.HttpConnectionManager.ForwardClientCertConfig": extension(
        done="forward_client_cert_details set_current_client_cert_details"
    ),
    # Envoy's own binary has none of these: they are refused in its words.
    "envoy.extensions.http.header_validators.envoy_default.v3.HeaderValidatorConfig": extension(),
    f"{_HCM}.HttpConnectionManager.InternalAddressConfig": fields(done="unix_sockets cidr_ranges"),
    f"{_HCM}.RequestIDExtension": fields(done="typed_config"),
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig": extension(
        done="pack_trace_reason use_request_id_for_trace_sampling"
    ),
    "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig": extension(
        done="xff_num_trusted_hops xff_trusted_cidrs skip_xff_append"
    ),
    "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig": extension(
        done="header_name allow_extension_to_set_address_as_trusted reject_with_status"
    ),
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation": extension(done="mutations"),
    f"{_HCM}.HttpConnectionManager.HcmAccessLogOptions": fields(
        done="""access_log_flush_interval flush_access_log_on_new_request
            flush_log_on_tunnel_successfully_established"""
    ),
    f"{_HCM}.HttpFilter": fields(done="name typed_config config_discovery is_optional disabled"),
    f"{_CORE}.HttpProtocolOptions": fields(
        done="""idle_timeout max_connection_duration max_headers_count max_stream_duration
            headers_with_underscores_action max_requests_per_connection
            max_response_headers_kb"""
    ),
    f"{_CORE}.Http1ProtocolOptions": fields(
        done="""accept_http_10 default_host_for_http_10 ignore_http_11_upgrade enable_trailers allow_absolute_url
            header_key_format
            allow_chunked_length send_fully_qualified_url allow_custom_methods
            override_stream_error_on_invalid_http_message""",
        accepted="use_balsa_parser",
    ),
    f"{_CORE}.Http2ProtocolOptions": fields(
        done="""hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size
            allow_connect max_outbound_frames max_outbound_control_frames
            max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream
            max_inbound_window_update_frames_per_data_frame_sent stream_error_on_invalid_http_messaging
            override_stream_error_on_invalid_http_message custom_settings_parameters connection_keepalive
            use_oghttp2_codec""",
        # Without METADATA frames (``allow_metadata`` is refused) there are none whose size could be limited.
        accepted="max_metadata_size",
    ),
    f"{_CORE}.Http2ProtocolOptions.SettingsParameter": fields(done="identifier value"),
    f"{_CORE}.KeepaliveSettings": fields(done="interval timeout interval_jitter connection_idle_interval"),
    f"{_CORE}.SchemeHeaderTransformation": fields(done="scheme_to_overwrite match_upstream"),
    "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig": extension(
        done="forward_reason_phrase formatter_type_on_envoy_headers"
    ),
    # Clusters on demand (``odcds``) are not served.
    f"{_HTTP}.on_demand.v3.OnDemand": extension(),
    f"{_HTTP}.on_demand.v3.PerRouteConfig": extension(),
    f"{_HTTP}.set_filter_state.v3.Config": extension(done="on_request_headers clear_route_cache"),
    f"{_HTTP}.original_src.v3.OriginalSrc": extension(done="mark"),
    f"{_HTTP}.stateful_session.v3.StatefulSession": extension(done="session_state strict stat_prefix"),
    f"{_HTTP}.stateful_session.v3.StatefulSessionPerRoute": extension(done="disabled stateful_session"),
    "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState": extension(done="cookie"),
    "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState": extension(done="name"),
    "envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState": extension(done="header"),
    "envoy.type.http.v3.Cookie": fields(done="name ttl path attributes"),
    "envoy.type.http.v3.CookieAttribute": fields(done="name value"),
    f"{_HTTP}.dynamic_forward_proxy.v3.FilterConfig": extension(
        done="dns_cache_config sub_cluster_config save_upstream_address allow_dynamic_host_from_filter_state"
    ),
    f"{_HTTP}.dynamic_forward_proxy.v3.SubClusterConfig": fields(done="cluster_init_timeout"),
    f"{_HTTP}.dynamic_forward_proxy.v3.PerRouteConfig": extension(done="host_rewrite_literal host_rewrite_header"),
    f"{_HTTP}.grpc_stats.v3.FilterConfig": extension(
        done="""emit_filter_state individual_method_stats_allowlist stats_for_all_methods enable_upstream_stats
            replace_dots_in_grpc_service_name"""
    ),
    f"{_CORE}.GrpcMethodList": fields(done="services"),
    f"{_CORE}.GrpcMethodList.Service": fields(done="name method_names"),
    f"{_HTTP}.grpc_web.v3.GrpcWeb": extension(),
    f"{_HTTP}.grpc_http1_bridge.v3.Config": extension(done="upgrade_protobuf_to_grpc ignore_query_parameters"),
    f"{_HTTP}.grpc_http1_reverse_bridge.v3.FilterConfig": extension(
        done="content_type withhold_grpc_frames response_size_header"
    ),
    f"{_HTTP}.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute": extension(done="disabled"),
    f"{_HTTP}.upstream_codec.v3.UpstreamCodec": extension(),
    f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder": extension(
        done="""proto_descriptor proto_descriptor_bin services print_options match_incoming_request_route
            ignored_query_parameters auto_mapping ignore_unknown_query_parameters convert_grpc_status url_unescape_spec
            query_param_unescape_plus match_unregistered_custom_verb request_validation_options
            case_insensitive_enum_parsing max_request_body_size max_response_body_size
            capture_unknown_query_parameters"""
    ),
    f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder.PrintOptions": fields(
        done="""add_whitespace always_print_primitive_fields always_print_enums_as_ints preserve_proto_field_names
            stream_newline_delimited stream_sse_style_delimited"""
    ),
    f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder.RequestValidationOptions": fields(
        done="reject_unknown_method reject_unknown_query_parameters reject_binding_body_field_collisions"
    ),
    f"{_HTTP}.header_mutation.v3.HeaderMutation": extension(done="mutations most_specific_header_mutations_wins"),
    f"{_HTTP}.header_mutation.v3.HeaderMutationPerRoute": extension(done="mutations"),
    f"{_HTTP}.header_mutation.v3.Mutations": fields(
        done="""request_mutations query_parameter_mutations response_mutations response_trailers_mutations
            request_trailers_mutations"""
    ),
    f"{_CORE}.KeyValueMutation": fields(done="append remove"),
    f"{_CORE}.KeyValueAppend": fields(done="record action"),
    f"{_HTTP}.router.v3.Router": extension(
        done="""dynamic_stats suppress_envoy_headers respect_expected_rq_timeout strict_check_headers
            suppress_grpc_request_failure_code_stats upstream_log upstream_log_options upstream_http_filters""",
        accepted="start_child_span",
    ),
    f"{_HTTP}.router.v3.Router.UpstreamAccessLogOptions": fields(
        done="flush_upstream_log_on_upstream_stream upstream_log_flush_interval"
    ),
}
