"""Access loggers, their filters and formats."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_LOG: Final = "envoy.config.accesslog.v3"
_LOGGERS: Final = "envoy.extensions.access_loggers"

TABLE: Final[Table] = {
    f"{_LOG}.AccessLog": fields(done="name filter typed_config"),
    f"{_LOG}.AccessLogFilter": fields(
        done="""status_code_filter duration_filter not_health_check_filter runtime_filter and_filter or_filter
            header_filter response_flag_filter grpc_status_filter metadata_filter log_type_filter
            traceable_filter"""
    ),
    f"{_LOGGERS}.file.v3.FileAccessLog": extension(done="path format json_format typed_json_format log_format"),
    f"{_LOGGERS}.stream.v3.StdoutAccessLog": extension(done="log_format"),
    f"{_LOGGERS}.stream.v3.StderrAccessLog": extension(done="log_format"),
    "envoy.config.core.v3.SubstitutionFormatString": fields(
        done="text_format json_format text_format_source omit_empty_values content_type formatters",
        accepted="json_format_options",
    ),
    "envoy.extensions.formatter.metadata.v3.Metadata": extension(),
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery": extension(),
}
