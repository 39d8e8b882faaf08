"""What routes do besides forwarding: hash policies, internal redirects, rate limits, CORS."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_ROUTE: Final = "envoy.config.route.v3"
_HASH: Final = f"{_ROUTE}.RouteAction.HashPolicy"
_LIMIT: Final = f"{_ROUTE}.RateLimit"
_CORS: Final = "envoy.extensions.filters.http.cors.v3"
_SPECIFIERS: Final = "envoy.extensions.router.cluster_specifiers"
_REDIRECT: Final = "envoy.extensions.internal_redirect"
_CORS_FIELDS: Final = """allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials
    filter_enabled shadow_enabled allow_private_network_access forward_not_matching_preflights"""

TABLE: Final[Table] = {
    _HASH: fields(done="header cookie connection_properties query_parameter filter_state terminal"),
    f"{_HASH}.Header": fields(done="header_name regex_rewrite"),
    f"{_HASH}.Cookie": fields(done="name ttl path attributes"),
    f"{_HASH}.CookieAttribute": fields(done="name value"),
    f"{_HASH}.ConnectionProperties": fields(done="source_ip"),
    f"{_HASH}.QueryParameter": fields(done="name"),
    f"{_HASH}.FilterState": fields(done="key"),
    f"{_ROUTE}.InternalRedirectPolicy": fields(
        done="""max_internal_redirects redirect_response_codes predicates allow_cross_scheme_redirect
            response_headers_to_copy"""
    ),
    f"{_REDIRECT}.allow_listed_routes.v3.AllowListedRoutesConfig": extension(done="allowed_route_names"),
    f"{_REDIRECT}.previous_routes.v3.PreviousRoutesConfig": extension(),
    f"{_REDIRECT}.safe_cross_scheme.v3.SafeCrossSchemeConfig": extension(),
    f"{_ROUTE}.ClusterSpecifierPlugin": fields(done="extension is_optional"),
    f"{_SPECIFIERS}.matcher.v3.MatcherClusterSpecifier": extension(done="cluster_matcher"),
    f"{_SPECIFIERS}.matcher.v3.ClusterAction": extension(done="cluster"),
    _LIMIT: fields(done="stage disable_key actions limit hits_addend apply_on_stream_done"),
    f"{_LIMIT}.Override": fields(done="dynamic_metadata"),
    f"{_LIMIT}.HitsAddend": fields(done="number format"),
    f"{_LIMIT}.Action": fields(
        done="""source_cluster destination_cluster request_headers query_parameters remote_address generic_key
            header_value_match dynamic_metadata metadata masked_remote_address query_parameter_value_match"""
    ),
    f"{_ROUTE}.CorsPolicy": fields(done=_CORS_FIELDS),
    f"{_CORS}.Cors": extension(),
    f"{_CORS}.CorsPolicy": extension(done=_CORS_FIELDS),
    "envoy.extensions.early_data.v3.DefaultEarlyDataPolicy": extension(),
}
