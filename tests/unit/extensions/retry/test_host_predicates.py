"""Hosts that retries keep away from."""

from types import SimpleNamespace
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.retry.host.omit_host_metadata.v3 import omit_host_metadata_config_pb2
from google.protobuf import text_format

from proxeny.extensions.retry.host_predicates import OMIT_CANARY_HOSTS, OMIT_HOST_METADATA, PREVIOUS_HOSTS


class Host(SimpleNamespace):
    __hash__ = object.__hash__


def host(metadata: str = "", canary: bool = False) -> Any:
    return Host(metadata=text_format.Parse(metadata, base_pb2.Metadata()), canary=canary)


def label(name: str, value: str) -> str:
    inner = f'fields {{ key: "{name}" value {{ {value} }} }}'
    return f'filter_metadata {{ key: "envoy.lb" value {{ {inner} }} }}'


def test_previous_hosts_are_those_of_one_request() -> None:
    plugin = PREVIOUS_HOSTS.create_plugin(None)
    one, other = plugin.create(), plugin.create()
    tried = host()
    one.on_host_attempted(tried)
    assert one.should_select_another_host(tried)
    assert not one.should_select_another_host(host())
    assert not other.should_select_another_host(tried)


def test_canaries() -> None:
    predicate = OMIT_CANARY_HOSTS.create_plugin(None).create()
    assert predicate.should_select_another_host(host(canary=True))
    assert not predicate.should_select_another_host(host())


def omit(metadata: str) -> Any:
    config = omit_host_metadata_config_pb2.OmitHostMetadataConfig()
    text_format.Parse(metadata, config.metadata_match)
    return OMIT_HOST_METADATA.create_plugin(config).create()


def test_hosts_with_a_label() -> None:
    predicate = omit(label("stage", 'string_value: "old"'))
    assert predicate.should_select_another_host(host(label("stage", 'string_value: "old"')))
    assert not predicate.should_select_another_host(host(label("stage", 'string_value: "new"')))
    assert not predicate.should_select_another_host(host(label("other", 'string_value: "old"')))
    assert not predicate.should_select_another_host(host())


def test_of_a_list_any_element_counts() -> None:
    predicate = omit(label("stage", 'string_value: "old"'))
    values = 'list_value { values { string_value: "new" } values { string_value: "old" } }'
    assert predicate.should_select_another_host(host(label("stage", values)))


def test_no_labels_omit_nobody() -> None:
    assert not omit("").should_select_another_host(host(label("stage", 'string_value: "old"')))
