"""Discovery responses in files: read, decoded, counted."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from envoy.config.core.v3 import config_source_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import text_format
from google.protobuf.json_format import MessageToJson

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.config_source import check_node
from proxeny.xds.manager import XdsManager
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

ECHO = '{"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}'


class Owner:
    """Hears of updates; refuses those of version "bad"."""

    def __init__(self) -> None:
        self.updates: list[tuple[list[str], str]] = []
        self.errors: list[str] = []
        self.resources: Sequence[DecodedResource] = ()

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        self.resources = resources
        self.updates.append(([one.name for one in resources], version))
        if version == "bad":
            raise ConfigError("refused")

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        raise AssertionError("files have whole states")

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        assert reason is FailureReason.UPDATE_REJECTED
        self.errors.append(str(error))


class Source:
    """A subscription to a file in a folder."""

    def __init__(self, folder: Path, name: str = "lds.yaml", watched: str = "", **options: bool) -> None:
        extensions.install()
        self.path = folder / name
        self.owner = Owner()
        self.store = MainStore()
        self.unknown = self.deprecated = 0
        validation = DynamicValidation(LoadOptions(**options), self._unknown, self._deprecated)
        decoder = ResourceDecoder(listener_pb2.Listener, "name", validation)
        source = config_source_pb2.ConfigSource()
        source.path_config_source.path = str(self.path)
        if watched:
            source.path_config_source.watched_directory.path = watched
        stats = SubscriptionStats(self.store, "lds.")
        loop = asyncio.get_running_loop()
        self.subscription = XdsManager(loop, None, None, self.store, lambda: validation).subscribe(
            source, self.owner, decoder, stats
        )

    def _unknown(self, count: int) -> None:
        self.unknown += count

    def _deprecated(self, count: int) -> None:
        self.deprecated += count

    def put(self, text: str | bytes) -> None:
        fresh = self.path.with_name("new")
        if isinstance(text, str):
            fresh.write_text(text)
        else:
            fresh.write_bytes(text)
        fresh.rename(self.path)

    def stat(self, name: str) -> int | None:
        return StatsView(self.store).value(f"lds.{name}")

    async def heard(self, attempts: int) -> None:
        async with asyncio.timeout(10):
            while self.stat("update_attempt") != attempts:  # noqa: ASYNC110 - stats set no event
                await asyncio.sleep(0)


def resource(name: str, more: str = "", config: str = ECHO) -> str:
    return f"""
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: {name}
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  filter_chains: [{{filters: [{{name: echo, typed_config: {config}}}]}}]
  {more}
"""


def response(version: str, *resources: str) -> str:
    return f'version_info: "{version}"\nresources:{"".join(resources) or " []"}\n'


def read(tmp_path: Path, text: str | bytes, name: str = "lds.yaml", **options: bool) -> Source:
    """A source that was started on this text."""

    async def scenario() -> Source:
        (tmp_path / name).write_text("")
        source = Source(tmp_path, name, **options)
        source.put(text)
        source.subscription.start()
        source.subscription.close()
        return source

    return asyncio.run(scenario())


def test_what_is_there_already_is_read(tmp_path: Path) -> None:
    source = read(tmp_path, response("1", resource("one"), resource("two")))
    assert source.owner.updates == [(["one", "two"], "1")]
    assert source.owner.resources[0].version == "1"
    assert (source.stat("update_attempt"), source.stat("update_success")) == (1, 1)
    assert source.stat("version") == 13237225503670494420
    assert source.store.text_readouts["lds.version_text"] == "1"
    assert source.stat("update_time")


def test_moved_files_are_read_again_once_it_was_started(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "lds.yaml").write_text(response("1"))
        source = Source(tmp_path)
        source.put(response("2"))
        await asyncio.sleep(0.01)
        assert source.owner.updates == []
        source.subscription.start()
        source.put(response("3"))
        await source.heard(2)
        source.path.write_text(response("4"))
        source.put(response("5"))
        await source.heard(3)
        assert [version for _, version in source.owner.updates] == ["2", "3", "5"]
        source.subscription.close()

    asyncio.run(scenario())


def test_a_watched_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        for version in ("1", "2"):
            (tmp_path / version).mkdir()
            (tmp_path / version / "lds.yaml").write_text(response(version))
        (tmp_path / "data").symlink_to("1")
        source = Source(tmp_path / "data", watched=str(tmp_path))
        source.subscription.start()
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "data")
        await source.heard(2)
        assert [version for _, version in source.owner.updates] == ["1", "2"]
        source.subscription.close()

    asyncio.run(scenario())


def _message() -> discovery_pb2.DiscoveryResponse:
    made = discovery_pb2.DiscoveryResponse(version_info="1")
    one = listener_pb2.Listener(name="one")
    one.address.socket_address.address = "127.0.0.1"
    one.address.socket_address.port_value = 1
    made.resources.add().Pack(one)
    return made


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("lds.pb", lambda message: message.SerializeToString()),
        ("lds.pb_text", lambda message: text_format.MessageToString(message).encode()),
        ("lds.json", lambda message: MessageToJson(message).encode()),
    ],
)
def test_every_form_of_file(
    tmp_path: Path, name: str, write: Callable[[discovery_pb2.DiscoveryResponse], bytes]
) -> None:
    assert read(tmp_path, write(_message()), name).owner.updates == [(["one"], "1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo: [", "yaml"),
        (response("1", resource("one", config="{'@type': type.googleapis.com/no.Such}")), "could not find @type"),
        (response("1", resource("one", "stat_prefix: {}")), "stat_prefix"),
    ],
)
def test_what_cannot_be_read_is_a_failure(tmp_path: Path, text: str, words: str) -> None:
    source = read(tmp_path, text)
    assert (source.stat("update_failure"), source.stat("update_rejected")) == (1, 0)
    assert source.owner.updates == []
    assert words in source.owner.errors[0]


def test_a_file_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "lds.yaml").write_text(response("1"))
        source = Source(tmp_path)
        source.path.unlink()
        source.subscription.start()
        assert source.stat("update_failure") == 1
        assert "Invalid path" in source.owner.errors[0]
        source.subscription.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (response("1", resource("one"), resource("two").replace("port_value: 0", "port_value: 99999")), "PortValue"),
        (
            response("1", '\n- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: c'),
            "Unable to unpack as envoy.config.listener.v3.Listener: ",
        ),
    ],
)
def test_a_resource_that_cannot_be_decoded_rejects_all(tmp_path: Path, text: str, words: str) -> None:
    source = read(tmp_path, text)
    assert (source.stat("update_failure"), source.stat("update_rejected")) == (0, 1)
    assert source.owner.updates == []
    assert words in source.owner.errors[0]


def test_what_the_owner_refuses_is_rejected(tmp_path: Path) -> None:
    source = read(tmp_path, response("bad", resource("one")))
    assert (source.stat("update_rejected"), source.stat("update_success")) == (1, 0)
    assert source.store.text_readouts["lds.version_text"] == ""
    assert source.owner.errors == ["refused"]


@pytest.mark.parametrize(
    ("more", "config", "words"),
    [
        ("hidden_envoy_field: 1", ECHO, ""),
        ("api_listener: {}", ECHO, "the field 'api_listener' is not supported by this build"),
        (
            "",
            '{"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: c}',
            "TcpProxyValidationError.StatPrefix",
        ),
        (
            "",
            '{"@type": type.googleapis.com/envoy.extensions.filters.network.dubbo_proxy.v3.DubboProxy}',
            "Didn't find a registered implementation for 'echo'",
        ),
    ],
)
def test_what_only_a_build_would_find_is_one_resource_s(tmp_path: Path, more: str, config: str, words: str) -> None:
    source = read(tmp_path, response("1", resource("good"), resource("odd", more, config)))
    assert source.owner.updates == [(["good", "odd"], "1")]
    good, odd = source.owner.resources
    assert good.error is None
    assert words in str(odd.error or "")
    assert bool(words) == (odd.error is not None)


UNKNOWN = response("1", resource("one", "no_such_field: 1"))


def test_unknown_fields_are_warned_of_and_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = read(tmp_path, UNKNOWN)
    assert source.unknown == 1
    assert "no such field: 'no_such_field'" in caplog.text
    source.subscription.start()
    assert (source.unknown, source.stat("update_success")) == (1, 2)


def test_unknown_fields_can_be_refused(tmp_path: Path) -> None:
    source = read(tmp_path, UNKNOWN, reject_unknown_dynamic_fields=True)
    assert (source.stat("update_rejected"), source.stat("update_failure"), source.unknown) == (1, 0, 0)
    assert source.owner.errors[0].endswith("has unknown fields")


def test_unknown_fields_can_be_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    source = read(tmp_path, UNKNOWN, ignore_unknown_dynamic_fields=True)
    assert (source.stat("update_success"), source.unknown, caplog.text) == (1, 0, "")


def test_deprecated_fields_are_counted(tmp_path: Path) -> None:
    assert read(tmp_path, response("1", resource("one", "reuse_port: true"))).deprecated == 1


def test_a_wrapped_resource(tmp_path: Path) -> None:
    made = discovery_pb2.DiscoveryResponse(version_info="1")
    wrapped = discovery_pb2.Resource(name="other", version="r")
    wrapped.resource.CopyFrom(_message().resources[0])
    made.resources.add().Pack(wrapped)
    source = read(tmp_path, made.SerializeToString(), "lds.pb")
    [found] = source.owner.resources
    assert (found.name, found.message.name, found.version) == ("other", "one", "1")


def _subscribe(folder: Path, **fields: object) -> None:
    source = config_source_pb2.ConfigSource()
    for field, value in fields.items():
        if field == "path":
            source.path = str(value)
        elif field == "directory":
            source.path_config_source.path = str(folder / "lds.yaml")
            source.path_config_source.watched_directory.path = str(value)
        else:
            getattr(source, field).SetInParent()
    store = MainStore()
    validation = DynamicValidation(LoadOptions())
    decoder = ResourceDecoder(listener_pb2.Listener, "name", validation)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        manager = XdsManager(loop, None, None, store, lambda: validation)
        manager.subscribe(source, Owner(), decoder, SubscriptionStats(store, "x."))

    asyncio.run(scenario())


def test_sources_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lds.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"^Missing config source specifier"):
        _subscribe(tmp_path, self=True)
    with pytest.raises(ConfigError, match=r"^ADS must be configured to support an ADS config source$"):
        _subscribe(tmp_path, ads=True)
    with pytest.raises(ConfigError, match=r"^paths must refer to an existing path in the system: '/no/file' does not"):
        _subscribe(tmp_path, path="/no/file")
    with pytest.raises(ConfigError, match=r"^unable to add filesystem watch for file /no/dir/: No such file"):
        _subscribe(tmp_path, directory="/no/dir")


def test_a_node_must_have_an_id_and_a_cluster() -> None:
    from envoy.config.core.v3 import base_pb2

    check_node(base_pb2.Node(id="a", cluster="b"), "t")
    with pytest.raises(ConfigError, match="t: node 'id' and 'cluster' are required"):
        check_node(base_pb2.Node(id="a"), "t")
