"""Services that the proxy itself calls over gRPC."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_CORE: Final = "envoy.config.core.v3"
_GOOGLE: Final = f"{_CORE}.GrpcService.GoogleGrpc"

TABLE: Final[Table] = {
    f"{_CORE}.GrpcService": fields(done="envoy_grpc google_grpc timeout initial_metadata retry_policy"),
    f"{_CORE}.GrpcService.EnvoyGrpc": fields(
        done="cluster_name authority retry_policy max_receive_message_length skip_envoy_headers"
    ),
    f"{_CORE}.RetryPolicy": fields(done="retry_back_off num_retries retry_on"),
    f"{_CORE}.BackoffStrategy": fields(done="base_interval max_interval"),
    _GOOGLE: fields(
        done="target_uri channel_credentials call_credentials stat_prefix credentials_factory_name channel_args",
        # Envoy's own credentials read nothing of `config`; what waits to be sent is not limited here.
        accepted="config per_stream_buffer_limit_bytes",
    ),
    f"{_GOOGLE}.SslCredentials": fields(done="root_certs private_key cert_chain"),
    f"{_GOOGLE}.GoogleLocalCredentials": fields(),
    f"{_GOOGLE}.ChannelCredentials": fields(done="ssl_credentials local_credentials"),
    f"{_GOOGLE}.CallCredentials": fields(done="access_token from_plugin"),
    f"{_GOOGLE}.CallCredentials.MetadataCredentialsFromPlugin": fields(done="name typed_config"),
    f"{_GOOGLE}.ChannelArgs": fields(done="args"),
    f"{_GOOGLE}.ChannelArgs.Value": fields(done="string_value int_value"),
    "envoy.config.grpc_credential.v3.FileBasedMetadataConfig": extension(done="secret_data header_key header_prefix"),
}
