"""Contexts that are built from secrets: none, replaced, kept; what is counted and shown."""

from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.secret.builders import Main, closing, deliver, move, run, until

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.transport_sockets.tls.factory import FACTORY
from proxeny.network.factory_context import FactoryContext
from proxeny.testing.certificates import Authority, Certificate

ROOT = Authority("root")
ONE, TWO = ROOT.issue("one", "DNS:one.test"), ROOT.issue("two", "DNS:two.test")


def inline(certificate: Certificate) -> dict[str, Any]:
    return {
        "certificate_chain": {"inline_string": certificate.chain_pem},
        "private_key": {"inline_string": certificate.key_pem},
    }


def secret(certificate: Certificate) -> dict[str, Any]:
    return {"name": "cert", "tls_certificate": inline(certificate)}


def named(path: Path) -> dict[str, Any]:
    return {"name": "cert", "sds_config": {"path_config_source": {"path": str(path)}}}


def holder(main: Main, common: dict[str, Any], role: str = "worker") -> Any:
    """The holder of a downstream context."""
    message = ParseDict({"common_tls_context": common}, tls_pb2.DownstreamTlsContext())
    context = FactoryContext(role, main.store, secrets=main.manager, listener_scope="listener.l.")
    made: Any = FACTORY.create_downstream(message, context)
    return made.holder


def expirations(main: Main) -> list[str]:
    main.manager.certificates.refresh()
    return [name for name in main.store.wide_gauges if "expiration" in name]


def test_a_context_waits_for_its_secret(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "sds.yaml"
        deliver(path)
        with closing(Main(dispatcher)) as main:
            held = holder(main, {"tls_certificate_sds_secret_configs": [named(path)]})
            assert held.context is None
            assert expirations(main) == []
            deliver(path, secret(ONE), version="2")
            await until(lambda: held.context is not None)
            assert expirations(main) == ["listener.l.ssl.certificate.cert.expiration_unix_time_seconds"]
            name = "listener.l.server_ssl_socket_factory.ssl_context_update_by_sds"
            assert main.counters()[name] == 1
            first = held.context
            deliver(path, secret(TWO), version="3")
            await until(lambda: main.counters()[name] == 2)
            assert held.context is not first
            [shown] = main.manager.certificates.contexts()
            assert shown.own[0].certificate == TWO.x509

    run(scenario)


def test_a_bad_file_leaves_the_context(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        files = ONE.write(tmp_path)
        common = {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": files.certificate_chain},
                    "private_key": {"filename": files.private_key},
                }
            ]
        }
        with closing(Main(dispatcher)) as main:
            held = holder(main, common)
            first = held.context
            move(Path(files.private_key), TWO.key_pem)
            await until(lambda: main.counters() == {"secret_files.update_rejected": 1})
            assert held.context is first
            move(Path(files.certificate_chain), TWO.chain_pem)
            await until(lambda: held.context is not first)

    run(scenario)


def test_statistics_are_allotted_once(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        path = tmp_path / "sds.yaml"
        deliver(path)
        with closing(Main(dispatcher)) as main:
            with main.store.recording() as table:
                held = holder(main, {"tls_certificate_sds_secret_configs": [named(path)]})
            assert ("ssl", "listener.l.ssl.") in table
            deliver(path, secret(ONE), version="2")
            await until(lambda: held.context is not None)
            assert main.store.entries["ssl", "listener.l.ssl."].owners == 1

    run(scenario)


def test_main_keeps_no_contexts_of_servers(tmp_path: Path) -> None:
    main = Main(None)
    held = holder(main, {"tls_certificates": [inline(ONE)]}, "main")
    assert held.context is None
    assert len(main.manager.certificates.contexts()) == 1
    with pytest.raises(ConfigError, match="KEY_VALUES_MISMATCH"):
        holder(main, {"tls_certificates": [{**inline(ONE), "private_key": {"inline_string": TWO.key_pem}}]}, "main")


def test_chains_of_a_listener_that_are_alike_share_a_context() -> None:
    main = Main(None)
    message = ParseDict({"common_tls_context": {"tls_certificates": [inline(ONE)]}}, tls_pb2.DownstreamTlsContext())
    other = ParseDict({"common_tls_context": {"tls_certificates": [inline(TWO)]}}, tls_pb2.DownstreamTlsContext())
    context = FactoryContext("worker", main.store, secrets=main.manager)
    one, two = (context.for_listener(name, f"listener.{name}.", 0) for name in ("a", "b"))
    made: list[Any] = []
    tables = []
    for chain, listener in ((message, one), (message, one), (other, one), (message, two)):
        with main.store.recording() as table:
            made.append(FACTORY.create_downstream(chain, listener))
        tables.append(table)
    assert made[0].holder is made[1].holder
    assert len({id(factory.holder) for factory in made}) == 3
    assert all(any(schema == "ssl" for schema, _ in table) for table in tables)
    assert len(main.manager.certificates.contexts()) == 3
    del made[:2]
    assert len(main.manager.certificates.contexts()) == 2
