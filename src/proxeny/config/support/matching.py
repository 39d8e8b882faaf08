"""The unified matcher: inputs, matchers and actions (each the configuration of an extension)."""

from typing import Final

from proxeny.config.support.table import Table, extension

_MATCHING: Final = "envoy.extensions.matching"
_NETWORK: Final = f"{_MATCHING}.common_inputs.network.v3"
_TYPE: Final = "envoy.type.matcher.v3"

TABLE: Final[Table] = {
    f"{_NETWORK}.DestinationIPInput": extension(),
    f"{_NETWORK}.DestinationPortInput": extension(),
    f"{_NETWORK}.SourceIPInput": extension(),
    f"{_NETWORK}.SourcePortInput": extension(),
    f"{_NETWORK}.DirectSourceIPInput": extension(),
    f"{_NETWORK}.SourceTypeInput": extension(),
    f"{_NETWORK}.ServerNameInput": extension(),
    f"{_NETWORK}.TransportProtocolInput": extension(),
    f"{_NETWORK}.ApplicationProtocolInput": extension(),
    f"{_NETWORK}.NetworkNamespaceInput": extension(),
    f"{_NETWORK}.FilterStateInput": extension(done="key"),
    f"{_NETWORK}.DynamicMetadataInput": extension(done="filter path"),
    f"{_TYPE}.HttpRequestHeaderMatchInput": extension(done="header_name"),
    f"{_TYPE}.HttpRequestTrailerMatchInput": extension(done="header_name"),
    f"{_TYPE}.HttpResponseHeaderMatchInput": extension(done="header_name"),
    f"{_TYPE}.HttpResponseTrailerMatchInput": extension(done="header_name"),
    f"{_TYPE}.HttpRequestQueryParamMatchInput": extension(done="query_param"),
    f"{_TYPE}.HttpResponseStatusCodeMatchInput": extension(),
    f"{_TYPE}.HttpResponseStatusCodeClassMatchInput": extension(),
    f"{_MATCHING}.common_inputs.ssl.v3.UriSanInput": extension(),
    f"{_MATCHING}.common_inputs.ssl.v3.DnsSanInput": extension(),
    f"{_MATCHING}.common_inputs.ssl.v3.SubjectInput": extension(),
    f"{_MATCHING}.common_inputs.environment_variable.v3.Config": extension(done="name"),
    f"{_MATCHING}.input_matchers.ip.v3.Ip": extension(done="cidr_ranges stat_prefix"),
    f"{_MATCHING}.input_matchers.consistent_hashing.v3.ConsistentHashing": extension(done="threshold modulo seed"),
    f"{_MATCHING}.input_matchers.runtime_fraction.v3.RuntimeFraction": extension(done="runtime_fraction seed"),
    f"{_MATCHING}.input_matchers.metadata.v3.Metadata": extension(done="value invert"),
    "xds.type.matcher.v3.IPMatcher": extension(done="range_matchers"),
    "xds.type.matcher.v3.ServerNameMatcher": extension(done="domain_matchers"),
    "google.protobuf.StringValue": extension(done="value"),
}
