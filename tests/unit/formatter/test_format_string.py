"""SubstitutionFormatString messages and data sources."""

import pytest
from envoy.config.core.v3 import substitution_format_string_pb2

from proxeny.config.errors import ConfigError
from proxeny.formatter import compile_format_string


def message(**fields):
    made = substitution_format_string_pb2.SubstitutionFormatString()
    for name, value in fields.items():
        if name == "json":
            made.json_format.update(value)
        elif name == "inline":
            made.text_format_source.inline_string = value
        elif name == "filename":
            made.text_format_source.filename = value
        else:
            setattr(made, name, value)
    return made


def test_text_and_json_have_their_content_types():
    text = compile_format_string(message(inline="x"))
    assert (text.formatter.constant, text.content_type) == (b"x", b"text/plain")
    json = compile_format_string(message(json={"a": "b"}))
    assert (json.formatter.format(None, None, None, None), json.content_type) == (b'{"a":"b"}\n', b"application/json")
    assert compile_format_string(message(inline="x", content_type="text/html")).content_type == b"text/html"


def test_a_format_file_is_read_at_once(tmp_path):
    path = tmp_path / "format"
    path.write_text("from file")
    assert compile_format_string(message(filename=str(path))).formatter.constant == b"from file"
    with pytest.raises(ConfigError, match="unable to read file"):
        compile_format_string(message(filename=str(tmp_path / "nope")))


def test_extension_commands_work_when_configured():
    config = message(inline="%REQ_WITHOUT_QUERY(:path)%")
    with pytest.raises(ConfigError, match="Not supported field"):
        compile_format_string(config)
    extension = config.formatters.add()
    extension.name = "envoy.formatter.req_without_query"
    extension.typed_config.type_url = (
        "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"
    )
    assert compile_format_string(config).formatter.format(None, None, None, None) == b"-"
    extension.typed_config.type_url = "type.googleapis.com/foo.Bar"
    with pytest.raises(ConfigError, match=r"Didn't find a registered implementation .* 'foo.Bar'"):
        compile_format_string(config)
