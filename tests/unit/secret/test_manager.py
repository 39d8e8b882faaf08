"""Secrets of the bootstrap, discovered ones and files in main: who is built anew, who keeps what, what is told."""

import asyncio
import logging
from pathlib import Path

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import cert_pb2, tls_pb2
from tests.unit.secret.builders import Main, User, by_sds, certificate, closing, deliver, move, run, secret, until

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.secret import kinds
from proxeny.secret.file_set import decode
from proxeny.secret.sources import secret_key

CONTEXT = tls_pb2.DownstreamTlsContext()


def static_certificate(name: str, chain: str) -> object:
    source = base_pb2.DataSource(inline_string=chain)
    return secret(name=name, tls_certificate=cert_pb2.TlsCertificate(certificate_chain=source))


def named(name: str) -> object:
    return tls_pb2.CommonTlsContext().tls_certificate_sds_secret_configs.add(name=name)


def test_static_secrets_are_found_by_kind_and_name() -> None:
    main = Main(None)
    main.manager.add_static([static_certificate("a", "chain"), secret(name="a", generic_secret={})])
    assert User(main.manager, CONTEXT, sds=named("a")).begin().context == "chain"
    assert [key for key, _ in main.manager.snapshot()] == ["tls_certificate::a", "generic_secret::a"]


def test_who_has_a_static_secret_that_is_removed_keeps_it(tmp_path: Path) -> None:
    move(tmp_path / "file", "1")

    async def scenario(dispatcher: Dispatcher) -> None:
        with closing(Main(dispatcher)) as main:
            main.manager.add_static([secret(**certificate("a", "x"))])
            users = [User(main.manager, CONTEXT, tmp_path / "file", sds=named("a")).begin()]
            main.manager.remove_static("tls_certificate", "a")
            assert [key for key, _ in main.manager.snapshot()][:1] == ["tls_certificate::a"]
            move(tmp_path / "file", "2")
            await until(lambda: users[0].context == "2 x")
            with pytest.raises(ConfigError, match="Unknown static secret: a"):
                User(main.manager, CONTEXT, sds=named("a")).begin()
            before = list(main.told)
            users.clear()
            assert main.told[len(before) :] == [("tls_certificate::a", None)]

    run(scenario)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_two_static_secrets_of_a_kind_and_name_are_refused(kind: str) -> None:
    one = secret(name="a")
    getattr(one, kind).SetInParent()
    with pytest.raises(ConfigError, match=f"Duplicate static {kinds.LABELS[kind]} secret name a"):
        Main(None).manager.add_static([one, one])


def test_an_unknown_static_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="Unknown static secret: nobody"):
        User(Main(None).manager, CONTEXT, sds=named("nobody")).begin()


def test_a_secret_without_a_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="Secret type not implemented"):
        Main(None).manager.add_static([secret(name="a")])


def test_a_discovered_secret_needs_to_know_who_asks(tmp_path: Path) -> None:
    main = Main(None, base_pb2.Node(id="only"))
    with pytest.raises(ConfigError, match="TlsCertificateSdsApi: node 'id' and 'cluster' are required"):
        User(main.manager, CONTEXT, sds=by_sds("a", tmp_path)).begin()


def test_validation_subscribes_to_nothing(tmp_path: Path) -> None:
    deliver(tmp_path / "a.yaml", certificate("a", "chain"))
    main = Main(None)
    assert User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin().context == "-"
    with pytest.raises(ConfigError, match="paths must refer to an existing path in the system"):
        User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "b.yaml")).begin()
    assert main.counters() == {}


def test_ads_needs_a_configuration() -> None:
    config = named("a")
    config.sds_config.ads.SetInParent()  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="ADS must be configured to support an ADS config source"):
        User(Main(None).manager, CONTEXT, sds=config).begin()


def test_users_are_built_anew_and_workers_told(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "a.yaml"
        deliver(path, certificate("a", "one"))
        with closing(Main(dispatcher)) as main:
            config = by_sds("a", path)
            first, second = (User(main.manager, CONTEXT, sds=config).begin() for _ in range(2))
            assert (first.context, second.context) == ("one", "one")
            assert (first.updates, second.updates) == (1, 1)
            deliver(path, certificate("a", "two"), version="2")
            await until(lambda: second.context == "two" == first.context)
            assert (first.updates, second.updates) == (2, 2)
            key = secret_key(kinds.TLS_CERTIFICATE, config)
            told = [kinds.message_of(kinds.TLS_CERTIFICATE, data) for name, data in main.told if name == key]
            assert [message.certificate_chain.inline_string for message in told] == ["one", "two"]
            assert main.counters() == {"sds.a.update_attempt": 2, "sds.a.update_success": 2}

    run(scenario)


def test_what_one_user_refuses_nobody_has(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "a.yaml"
        deliver(path, certificate("a", "one"))
        with closing(Main(dispatcher)) as main:
            users = [User(main.manager, CONTEXT, sds=by_sds("a", path)).begin() for _ in range(3)]
            before = list(main.told)
            deliver(path, certificate("a", "bad"), version="2")
            await until(lambda: "sds.a.update_rejected" in main.counters())
            assert [user.context for user in users] == ["one"] * 3
            assert main.told == before
            [shown] = main.manager.dynamic()
            assert (shown.shown.certificate_chain.inline_string, shown.version) == ("bad", "2")
            deliver(path, certificate("a", "bad"), version="3")
            await until(lambda: main.counters()["sds.a.update_rejected"] == 2)
            deliver(path, certificate("a", "three"), version="4")
            await until(lambda: users[0].context == "three")

    run(scenario)


def test_a_first_secret_that_is_refused_leaves_the_user_waiting(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "a.yaml"
        deliver(path, certificate("a", "bad"))
        with closing(Main(dispatcher)) as main:
            user = User(main.manager, CONTEXT, sds=by_sds("a", path)).begin()
            assert (user.context, user.updates) == ("-", 0)
            assert main.told == []
            deliver(path, certificate("a", "good"))
            await until(lambda: user.context == "good")
            assert len(main.told) == 1

    run(scenario)


def test_files_go_to_the_workers_before_who_reads_them(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        chain, key = tmp_path / "chain", tmp_path / "key"
        move(chain, "chain")
        move(key, "key")
        with closing(Main(dispatcher)) as main:
            first = User(main.manager, CONTEXT, chain, key).begin()
            second = User(main.manager, CONTEXT, chain, key).begin()
            [(name, data)] = main.told
            assert name == first.sources.key == second.sources.key
            assert decode(data) == {str(chain): b"chain", str(key): b"key"}
            assert main.manager.snapshot() == main.told

    run(scenario)


def test_what_nobody_uses_is_forgotten(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path, file = tmp_path / "a.yaml", tmp_path / "file"
        move(file, "content")
        deliver(path, certificate("a", "one"))
        with closing(Main(dispatcher)) as main:
            user: User | None = User(main.manager, CONTEXT, file, sds=by_sds("a", path)).begin()
            assert "sds.a.version" in main.store.wide_gauges
            keys = {key for key, _ in main.told}
            main.told.clear()
            del user
            await until(lambda: len(main.told) == 2)
            assert dict(main.told) == dict.fromkeys(keys)
            assert main.manager.dynamic() == []
            assert not [key for key in main.store.entries if key[1].startswith("sds.")]
            assert "sds.a.version" not in main.store.wide_gauges

    run(scenario)


def test_a_user_that_cannot_be_built_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "a.yaml"
        deliver(path, certificate("a", "one"))
        with closing(Main(dispatcher)) as main:
            config = by_sds("a", path)
            with pytest.raises(OSError, match="nothing"):
                User(main.manager, CONTEXT, tmp_path / "nothing", sds=config).begin()
            await asyncio.sleep(0)
            await until(lambda: main.manager.dynamic() == [])
            assert User(main.manager, CONTEXT, sds=config).begin().context == "one"

    run(scenario)


def test_files_serve_unwatched_where_there_are_no_watchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(24, "Too many open files")

    async def scenario(dispatcher: Dispatcher) -> None:
        monkeypatch.setattr("proxeny.secret.manager.FileWatcher", refuse)
        move(tmp_path / "file", "content")
        deliver(tmp_path / "a.yaml", certificate("a", "one"))
        with closing(Main(dispatcher)) as main, caplog.at_level(logging.ERROR, "proxeny.secret"):
            users = [User(main.manager, CONTEXT, tmp_path / "file").begin() for _ in range(2)]
            assert [user.context for user in users] == ["content", "content"]
            assert caplog.text.count("changes of certificate files are not noticed: Too many open files") == 1
            with pytest.raises(ConfigError, match="unable to watch files of secrets: Too many open files"):
                User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin()

    run(scenario)
