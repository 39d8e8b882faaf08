"""A configuration printed as YAML is the same one when it is loaded again."""

from __future__ import annotations

from pathlib import Path

import pytest
from envoy.config.core.v3.base_pb2 import TransportSocket
from tests.integration.configs import http

from proxeny.config.builder import Builder
from proxeny.config.loader import load_bootstrap
from proxeny.config.yaml_loader import load_yaml
from proxeny.server.options import options_from
from proxeny.server.print_config import print_config, to_yaml

STRINGS = [
    "yes", "No", "n", "~", "null", "", "5", "+5", "010", "0x1F", "1:30", "1.5", ".inf", "2020-01-01", "a: b", "- a",
    "# a", " a ", "a\nb\n", "a\tb", "'", '"', "\\", "\x85", "é", "<<", "!a", "&a", "*a", "%a", "@a", "-", "=", "Off",
    "99999999999", "0o17", "on\n", "\x07",
]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS)
def test_any_string_stays_a_string(text: str, tmp_path: Path) -> None:
    bootstrap = load_bootstrap(None, "{node: {id: x}}").bootstrap
    bootstrap.node.id = text
    bootstrap.node.metadata.fields[text].string_value = text
    (tmp_path / "c.yaml").write_text(to_yaml(bootstrap))
    assert load_bootstrap(str(tmp_path / "c.yaml")).bootstrap == bootstrap


def test_a_whole_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(http(8080))
    (tmp_path / "p.yaml").write_text(
        "configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 7.5s}}}]"
    )
    flags = ["-c", str(tmp_path / "c.yaml"), "--patch", str(tmp_path / "p.yaml")]
    print_config(options_from(flags))
    printed = capsys.readouterr().out
    assert "connect_timeout: 7.500s" in printed
    (tmp_path / "again.yaml").write_text(printed)
    print_config(options_from(["-c", str(tmp_path / "again.yaml")]))
    assert capsys.readouterr().out == printed


def test_secrets_are_shown_since_the_file_is_to_be_used() -> None:
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    text = f"{{'@type': {tls}, common_tls_context: {{tls_certificates: [{{private_key: {{inline_string: key}}}}]}}}}"
    socket = TransportSocket()
    Builder().build(socket, load_yaml(f"{{name: tls, typed_config: {text}}}"))
    assert "inline_string: key" in to_yaml(socket)
