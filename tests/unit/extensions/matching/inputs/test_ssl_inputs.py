"""What the unified matcher reads of the client's certificate."""

from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2  # noqa: F401
from tests.unit.network.test_ssl_connection import PEER, ROOT, Session

from proxeny.extensions.matching.inputs import ssl
from proxeny.listener.filter_chain_matcher import ConnectionData
from proxeny.network.address import ip_address
from proxeny.network.ssl_connection import SslConnectionInfo
from proxeny.network.stream_info import ConnectionInfo


def data(session: Session | None) -> ConnectionData:
    info = ConnectionInfo(ip_address("10.0.0.1", 80), ip_address("::1", 4000), 1)
    info.ssl = None if session is None else SslConnectionInfo(session)
    return ConnectionData(info, None)


def test_facts_of_a_certificate() -> None:
    given = data(Session(PEER))
    assert ssl.URI_SAN.get(given) == b"spiffe://a/b"
    assert ssl.DNS_SAN.get(given) == b"a.test"
    assert ssl.SUBJECT.get(given) == b"CN=peer,O=Proxeny tests"


def test_several_names_are_joined() -> None:
    given = data(Session(ROOT.issue("two", "DNS:a.test", "DNS:b.test")))
    assert ssl.DNS_SAN.get(given) == b"a.test,b.test"
    assert ssl.URI_SAN.get(given) is None


def test_without_a_certificate() -> None:
    for session in (None, Session()):
        assert [made.get(data(session)) for made in (ssl.URI_SAN, ssl.DNS_SAN, ssl.SUBJECT)] == [None, None, None]
