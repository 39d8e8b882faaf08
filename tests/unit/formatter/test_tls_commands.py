"""Every command about TLS, of both sides, with and without a session."""

from urllib.parse import unquote

import pytest
from tests.unit.network.test_ssl_connection import BELOW, LOCAL, PEER, Session

from proxeny.config.errors import ConfigError
from proxeny.formatter import compile, compile_json
from proxeny.formatter.tls_commands import tls_commands
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.ssl_connection import SslConnectionInfo
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

ADDRESS = ip_address("127.0.0.1", 80)
MS = 1_000_000
WITH_ARGUMENT = {f"{side}_PEER_CERT_V_{end}" for side in ("DOWNSTREAM", "UPSTREAM") for end in ("START", "END")}


class Upstream:
    """An upstream connection."""

    def __init__(self, session: Session | None) -> None:
        self.connection_info = ConnectionInfo(ADDRESS, ADDRESS, 2)
        self.connection_info.ssl = None if session is None else SslConnectionInfo(session)


def stream(downstream: Session | None = None, upstream: Session | None = None) -> StreamInfo:
    connection = ConnectionInfo(ADDRESS, ADDRESS, 1)
    connection.ssl = None if downstream is None else SslConnectionInfo(downstream)
    info = StreamInfo(connection, 0.0, 100 * MS)
    info.upstream_connection = Upstream(upstream)
    return info


def line(pattern: str, info: StreamInfo) -> str:
    return compile(pattern).format(HeaderMap(), None, None, info).decode()


@pytest.mark.parametrize("name", sorted(tls_commands()))
def test_plain_text_connections_have_nothing(name: str) -> None:
    assert line(f"%{name}%", stream()) == "-"
    assert compile_json({"x": f"%{name}%"}).format(HeaderMap(), None, None, stream()) == b'{"x":null}\n'


@pytest.mark.parametrize("name", sorted(tls_commands().keys() - WITH_ARGUMENT))
def test_commands_take_no_argument(name: str) -> None:
    with pytest.raises(ConfigError):
        compile(f"%{name}(x)%")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("TLS_CIPHER", "TLS_AES_128_GCM_SHA256"),
        ("TLS_VERSION", "TLSv1.2"),
        ("TLS_SESSION_ID", "01ab"),
        ("TLS_GROUP", "X25519"),
        ("PEER_SUBJECT", "CN=peer,O=Proxeny tests"),
        ("PEER_ISSUER", "CN=below,O=Proxeny tests"),
        ("PEER_URI_SAN", "spiffe://a/b"),
        ("PEER_DNS_SAN", "a.test"),
        ("PEER_IP_SAN", "10.0.0.1"),
        ("LOCAL_URI_SAN", "spiffe://us"),
        ("LOCAL_DNS_SAN", "us.test"),
        ("LOCAL_IP_SAN", "::1"),
    ],
)
def test_both_sides(command: str, expected: str) -> None:
    session = Session(PEER, BELOW)
    session.version = "TLSv1.2"
    assert line(f"%DOWNSTREAM_{command}%|%UPSTREAM_{command}%", stream(session)) == f"{expected}|-"
    assert line(f"%DOWNSTREAM_{command}%|%UPSTREAM_{command}%", stream(None, session)) == f"-|{expected}"


DOWNSTREAM_ONLY = {
    "PEER_EMAIL_SAN": "a@b",
    "PEER_OTHERNAME_SAN": "me",
    "LOCAL_EMAIL_SAN": "us@b",
    "LOCAL_OTHERNAME_SAN": "us",
    "LOCAL_SUBJECT": "CN=local,O=Proxeny tests",
    "PEER_FINGERPRINT_256": PEER.fingerprint,
    "PEER_CHAIN_FINGERPRINTS_256": f"{PEER.fingerprint},{BELOW.fingerprint}",
    "PEER_ISSUER_FINGERPRINT_256": BELOW.fingerprint,
}


@pytest.mark.parametrize("command", DOWNSTREAM_ONLY)
def test_downstream_only(command: str) -> None:
    written = line(f"%DOWNSTREAM_{command}%", stream(Session(PEER, BELOW, issuer=BELOW)))
    assert written == DOWNSTREAM_ONLY[command]
    with pytest.raises(ConfigError):
        compile(f"%UPSTREAM_{command}%")


def test_certificates_are_url_encoded() -> None:
    written = line("%DOWNSTREAM_PEER_CERT%", stream(Session(PEER)))
    assert "\n" not in written
    assert unquote(written) == PEER.pem


def test_times() -> None:
    info = stream(Session(PEER), Session(PEER))
    before = PEER.x509.not_valid_before_utc
    assert line("%DOWNSTREAM_PEER_CERT_V_START%", info) == before.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert line("%UPSTREAM_PEER_CERT_V_START(%s)%", info) == str(int(before.timestamp()))
    assert line("%UPSTREAM_PEER_CERT_V_END(%Y)%", info) == str(PEER.x509.not_valid_after_utc.year)
    with pytest.raises(ConfigError):
        compile("%UPSTREAM_PEER_CERT_V_END(%n)%")


def test_server_name_and_handshake() -> None:
    session = Session(PEER)
    session.handshake_done_ns = 105 * MS
    info = stream(session, session)
    assert line("%UPSTREAM_SERVER_NAME%|%DOWNSTREAM_HANDSHAKE_DURATION%", info) == "a.test|-"
    info.protocol = "HTTP/1.1"
    assert line("%DOWNSTREAM_HANDSHAKE_DURATION%", info) == "5"
    assert line("%COMMON_DURATION(DS_RX_BEG:US_HS_END:ms)%", info) == "5"
    info.start_ns = 110 * MS + 1
    assert line("%DOWNSTREAM_HANDSHAKE_DURATION%", info) == "-5"


def test_a_session_without_certificates() -> None:
    info = stream(Session(local=None))
    facts = "%DOWNSTREAM_PEER_CERT%|%DOWNSTREAM_PEER_CERT_V_END%|%DOWNSTREAM_LOCAL_SUBJECT%|%DOWNSTREAM_PEER_DNS_SAN%"
    assert line(facts, info) == "-|-|-|-"
    assert LOCAL.name == "local"
