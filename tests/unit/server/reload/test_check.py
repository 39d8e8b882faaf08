"""The process that checks a configuration."""

import asyncio

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2

from proxeny.config.errors import ConfigError
from proxeny.server.options import options_from
from proxeny.server.reload.check import arguments_of, check


def test_it_has_the_flags_that_matter() -> None:
    flags = ["-c", "x.yaml", "--concurrency", "3", "--service-node", "n", "--accept-unsupported-fields"]
    options = options_from([*flags, "--stats-tag", "a:b", "--base-id", "7"])
    again = options_from(arguments_of(options, "/new.pb"))
    assert (again.config_path, again.is_validate, again.concurrency) == ("/new.pb", True, 3)
    assert (again.service_node, again.accept_unsupported_fields, again.stats_tags) == ("n", True, {"a": "b"})
    assert again.base_id == 0


def test_a_refusal_is_told_without_the_temporary_file() -> None:
    good, bad = bootstrap_pb2.Bootstrap(), bootstrap_pb2.Bootstrap()
    bad.static_resources.listeners.add(name="x").address.socket_address.address = "127.0.0.1"
    options = options_from(["-c", "x.yaml"])
    asyncio.run(check(good, options, 60))
    with pytest.raises(ConfigError) as refused:
        asyncio.run(check(bad, options, 60))
    assert str(refused.value).startswith("static_resources.listeners[0].address.socket_address")
    with pytest.raises(ConfigError, match=r"was not checked within 0\.001 s"):
        asyncio.run(check(good, options, 0.001))
