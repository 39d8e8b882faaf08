"""Route configurations: virtual hosts, routes, matchers, actions, header mutations."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_ROUTE: Final = "envoy.config.route.v3"
_PATH: Final = "envoy.extensions.path"
_CORE: Final = "envoy.config.core.v3"
_RETRY: Final = "envoy.extensions.retry"
_HEADERS: Final = "request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove"

TABLE: Final[Table] = {
    f"{_ROUTE}.RouteConfiguration": fields(
        done=f"""name virtual_hosts internal_only_headers {_HEADERS} most_specific_header_mutations_wins
            validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching
            ignore_path_parameters_in_path_matching typed_per_filter_config metadata request_mirror_policies
            vhost_header cluster_specifier_plugins vhds"""
    ),
    f"{_ROUTE}.Vhds": fields(done="config_source"),
    f"{_ROUTE}.VirtualHost": fields(
        done=f"""name domains routes matcher require_tls {_HEADERS} typed_per_filter_config
            include_request_attempt_count include_attempt_count_in_response include_is_timeout_retry_header retry_policy
            metadata
            per_request_buffer_limit_bytes request_body_buffer_limit virtual_clusters
            hedge_policy request_mirror_policies rate_limits cors""",
        accepted="retry_policy_typed_config",
    ),
    f"{_ROUTE}.RouteList": extension(done="routes"),
    f"{_ROUTE}.Route": extension(
        done=f"""name match route redirect direct_response filter_action non_forwarding_action metadata decorator
            typed_per_filter_config per_request_buffer_limit_bytes request_body_buffer_limit tracing stat_prefix
            {_HEADERS}""",
    ),
    f"{_ROUTE}.FilterAction": fields(done="action"),
    f"{_ROUTE}.RouteMatch": fields(
        done="""prefix path safe_regex path_separated_prefix path_match_policy case_sensitive runtime_fraction headers
            query_parameters cookies grpc connect_matcher tls_context dynamic_metadata filter_state"""
    ),
    f"{_ROUTE}.RouteMatch.TlsContextMatchOptions": fields(done="presented validated"),
    f"{_ROUTE}.CookieMatcher": fields(done="name string_match invert_match"),
    f"{_PATH}.match.uri_template.v3.UriTemplateMatchConfig": extension(done="path_template"),
    f"{_PATH}.rewrite.uri_template.v3.UriTemplateRewriteConfig": extension(done="path_template_rewrite"),
    f"{_ROUTE}.RouteAction": fields(
        done="""cluster cluster_header weighted_clusters cluster_not_found_response_code metadata_match prefix_rewrite
            regex_rewrite path_rewrite_policy host_rewrite_literal auto_host_rewrite host_rewrite_header
            host_rewrite_path_regex
            append_x_forwarded_host timeout idle_timeout flush_timeout
            retry_policy priority upgrade_configs max_stream_duration
            max_grpc_timeout grpc_timeout_offset hedge_policy request_mirror_policies hash_policy
            internal_redirect_policy internal_redirect_action max_internal_redirects rate_limits include_vh_rate_limits
            cors inline_cluster_specifier_plugin cluster_specifier_plugin path_rewrite host_rewrite""",
        accepted="early_data_policy retry_policy_typed_config",
    ),
    f"{_ROUTE}.RouteAction.UpgradeConfig": fields(done="upgrade_type enabled connect_config"),
    f"{_ROUTE}.RouteAction.UpgradeConfig.ConnectConfig": fields(done="proxy_protocol_config allow_post"),
    f"{_CORE}.ProxyProtocolConfig": fields(done="version pass_through_tlvs added_tlvs"),
    f"{_ROUTE}.RouteAction.RequestMirrorPolicy": fields(
        done="""cluster cluster_header runtime_fraction disable_shadow_host_suffix_append request_headers_mutations
            host_rewrite_literal""",
        accepted="trace_sampled",
    ),
    f"{_ROUTE}.HedgePolicy": fields(
        done="hedge_on_per_try_timeout", accepted="initial_requests additional_request_chance"
    ),
    "envoy.config.common.mutation_rules.v3.HeaderMutation": fields(done="append remove remove_on_match"),
    f"{_ROUTE}.WeightedCluster": fields(done="clusters total_weight runtime_key_prefix header_name use_hash_policy"),
    f"{_ROUTE}.WeightedCluster.ClusterWeight": fields(
        done=f"name cluster_header weight metadata_match {_HEADERS} typed_per_filter_config host_rewrite_literal"
    ),
    f"{_ROUTE}.RetryPolicy": fields(
        done="""retry_on num_retries per_try_timeout per_try_idle_timeout retriable_status_codes retry_back_off
            retriable_headers retriable_request_headers retry_host_predicate host_selection_retry_max_attempts
            retry_priority retry_options_predicates rate_limited_retry_back_off"""
    ),
    f"{_ROUTE}.RetryPolicy.RetryHostPredicate": fields(done="name typed_config"),
    f"{_ROUTE}.RetryPolicy.RetryPriority": fields(done="name typed_config"),
    f"{_ROUTE}.RetryPolicy.RateLimitedRetryBackOff": fields(done="reset_headers max_interval"),
    f"{_ROUTE}.RetryPolicy.ResetHeader": fields(done="name format"),
    f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate": extension(),
    f"{_RETRY}.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate": extension(),
    f"{_RETRY}.host.omit_host_metadata.v3.OmitHostMetadataConfig": extension(done="metadata_match"),
    f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig": extension(done="update_frequency"),
    f"{_ROUTE}.RedirectAction": fields(
        done="""https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite
            response_code strip_query"""
    ),
    f"{_ROUTE}.DirectResponseAction": fields(done="status body body_format"),
    f"{_ROUTE}.HeaderMatcher": fields(
        done="""name exact_match safe_regex_match range_match present_match prefix_match suffix_match contains_match
            string_match invert_match treat_missing_header_as_empty"""
    ),
    f"{_ROUTE}.QueryParameterMatcher": fields(done="name string_match present_match"),
    f"{_ROUTE}.Decorator": fields(done="operation propagate"),
    f"{_ROUTE}.Tracing": fields(
        done="client_sampling random_sampling overall_sampling",
        accepted="custom_tags operation upstream_operation",
    ),
    f"{_ROUTE}.FilterConfig": extension(done="config is_optional disabled"),
    f"{_CORE}.HeaderValueOption": fields(done="header append append_action keep_empty_value"),
    f"{_CORE}.HeaderValue": fields(done="key value", accepted="raw_value"),
    f"{_CORE}.DataSource": fields(done="filename inline_bytes inline_string environment_variable watched_directory"),
    "envoy.type.matcher.v3.StringMatcher": fields(done="exact prefix suffix safe_regex contains ignore_case"),
}
