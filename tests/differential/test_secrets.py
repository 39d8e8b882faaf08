"""Secrets through Envoy and Proxeny: discovered from files, rotated, refused; their stats and admin pages."""

import itertools
import re
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from tests.differential.proxies import ENVOY, PROXENY
from tests.differential.sds import (
    CLIENT,
    ONE,
    OTHER,
    ROOT,
    RSA,
    STRANGER,
    THREE,
    TWO,
    Json,
    Side,
    client_context,
    cluster,
    in_files,
    inline,
    listener,
    move,
    put,
    secret,
    trusting,
)
from tests.differential.secrets_config import bootstrap, named, ticket_keys


@dataclass(frozen=True)
class Sequence:
    """A case: `contains` must be found in both transcripts."""

    run: Callable[[Side], None]
    contains: tuple[str, ...]


CASES: list[Sequence] = []


def case(*contains: str) -> Callable[[Callable[[Side], None]], None]:
    """Make a case of a function."""
    return lambda run: CASES.append(Sequence(run, contains))


# -- certificates ----------------------------------------------------------------------------------------------


@case("static_secrets serves one, 200", "static_secrets.*update_by_sds: 0")
def static_secrets(side: Side) -> None:
    side.serves("static_secrets", "one, 200")
    side.stats(r"^listener\.static_secrets\.(server_ssl|ssl\.certificate)")
    side.dump("static")


@case("inline serves two, 200", "one answers 200", "update_by_sds: 2", 'version_text: "v2"')
def a_discovered_certificate_is_replaced(side: Side) -> None:
    side.serves("inline", "one, 200")
    before = side.connect("inline")
    side.dump("inline")
    side.deliver("inline", secret("inline", tls_certificate=inline(TWO)))
    side.serves("inline", "two, 200")
    side.get(before)
    side.secret_stats("inline")
    side.stats(r"^listener\.inline\.(server_ssl|ssl\.certificate)")
    side.dump("inline")


@case("update_rejected: 1", "bad_pair serves one, 200", "bad_pair serves three, 200", "update_by_sds: 2")
def a_key_of_another_certificate_is_refused(side: Side) -> None:
    both = {**inline(TWO), "private_key": {"inline_string": ONE.key_pem}}
    side.deliver("bad_pair", secret("bad_pair", tls_certificate=both))
    side.logged(
        "Filesystem config update rejected: Failed to load private key from <inline>, Cause: error:0b000074:X.509 "
        "certificate routines:OPENSSL_internal:KEY_VALUES_MISMATCH"
    )
    side.serves("bad_pair", "one, 200")
    side.secret_stats("bad_pair")
    side.dump("bad_pair")
    side.deliver("bad_pair", secret("bad_pair", tls_certificate=inline(THREE)), version="v3")
    side.serves("bad_pair", "three, 200")
    side.secret_stats("bad_pair")
    side.stats(r"^listener\.bad_pair\.(server_ssl|ssl\.certificate)")


@case("dynamic_warming_secrets", "no_file serves one, 200", "no_file serves two, 200")
def files_that_are_missing_are_refused(side: Side) -> None:
    folder = side.make_folder("no_file", TWO)
    side.deliver("no_file", secret("no_file", tls_certificate=in_files(folder, "none")))
    side.logged("Filesystem config update rejected: Invalid path: ")
    side.secret_stats("no_file")
    side.dump("no_file")
    side.serves("no_file", "one, 200")
    side.deliver("no_file", secret("no_file", tls_certificate=in_files(folder)))
    side.serves("no_file", "two, 200")
    side.secret_stats("no_file")


@case("update_failure: 1", "no_text serves one, 200")
def a_text_that_cannot_be_read_is_a_failure(side: Side) -> None:
    side.deliver("no_text", text="{")
    side.serves("no_text", "one, 200")
    side.secret_stats("no_text")
    side.dump("no_text")


@case("update_rejected: 4", "wrong serves one, 200")
def other_secrets_are_refused(side: Side) -> None:
    certificate = inline(TWO)
    side.deliver("wrong")
    side.deliver("wrong", secret("wrong", tls_certificate=certificate), secret("more", tls_certificate=certificate))
    side.deliver("wrong", secret("more", tls_certificate=certificate))
    unknown = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "wrong"}
    side.deliver("wrong", unknown)
    side.logged(
        "sds: secret 'wrong' config rejected: Missing SDS resources for wrong in onConfigUpdate()",
        "sds: secret 'wrong' config rejected: Unexpected SDS secrets length for wrong, number of added resources 2, "
        "number of removed resources 0. Expected sum is 1",
        "sds: secret 'wrong' config rejected: Unexpected SDS secret (expecting wrong): more",
    )
    side.serves("wrong", "one, 200")
    side.secret_stats("wrong")
    side.dump("wrong")


@case("update_rejected: 1", "kind serves one, 200")
def a_secret_of_another_kind_is_refused(side: Side) -> None:
    side.deliver("kind", secret("kind", generic_secret={"secret": {"inline_string": "x"}}))
    side.logged("Filesystem config update rejected: Failed to load incomplete private key from path: ")
    side.serves("kind", "one, 200")
    side.secret_stats("kind")


@case("update_success: 2", "update_by_sds: 1", 'version_text: "v9"')
def the_same_secret_again_changes_nothing(side: Side) -> None:
    side.deliver("again", secret("again", tls_certificate=inline(ONE)), version="v9")
    side.serves("again", "one, 200")
    side.secret_stats("again")
    side.stats(r"^listener\.again\.(server_ssl|ssl\.certificate)")
    side.dump("again")


@case("nothing serves refused", "nothing serves one, 200", "secrets_not_ready: 1", "update_by_sds: 1")
def connections_are_refused_until_a_secret_comes(side: Side) -> None:
    side.note(f"nothing serves {side.served('nothing')}")
    side.wait_for("listener.nothing.server_ssl_socket_factory.downstream_context_secrets_not_ready", 1)
    side.wait_for("listener.nothing.downstream_cx_destroy", 1)
    side.stats(r"^listener\.nothing\.(server_ssl|ssl\.certificate|downstream_cx_(total|active|destroy|ssl))")
    side.dump("nothing")
    side.secret_stats("nothing")
    side.deliver("nothing", secret("nothing", tls_certificate=inline(ONE)))
    side.serves("nothing", "one, 200")
    side.stats(r"^listener\.nothing\.(server_ssl.*sds|ssl\.certificate)")
    side.dump("nothing")


@case("update_rejected: 1", "refused_first serves refused", "refused_first serves two, 200")
def a_first_secret_may_be_refused(side: Side) -> None:
    side.note(f"refused_first serves {side.served('refused_first')}")
    side.secret_stats("refused_first")
    side.dump("refused_first")
    side.deliver("refused_first", secret("refused_first", tls_certificate=inline(TWO)))
    side.serves("refused_first", "two, 200")


@case("shared_a serves two, 200", "shared_b serves two, 200", "update_attempt: 2")
def listeners_share_a_secret(side: Side) -> None:
    side.serves("shared_b", "one, 200")
    side.deliver("shared", secret("shared", tls_certificate=inline(TWO)))
    side.serves("shared_a", "two, 200")
    side.serves("shared_b", "two, 200")
    side.secret_stats("shared")
    side.stats(r"^listener\.shared_.\.(server_ssl|ssl\.certificate)")


@case("update_by_sds: 3", "pair serves two, 200")
def one_of_two_certificates_is_replaced(side: Side) -> None:
    side.serves("pair", "one, 200")
    side.deliver("pair_ec", secret("pair_ec", tls_certificate=inline(TWO)))
    side.serves("pair", "two, 200")
    side.serves_rsa("pair")
    side.stats(r"^listener\.pair\.(server_ssl|ssl\.certificate)")
    side.certificates("rsa")


@case("update_by_sds: 1", "half serves one, 200", "update_by_sds: 2", "rsa answers 200")
def one_certificate_is_enough(side: Side) -> None:
    side.serves("half", "one, 200")
    side.stats(r"^listener\.half\.server_ssl.*sds")
    side.deliver("half_missing", secret("half_missing", tls_certificate=inline(RSA)))
    side.wait_for("listener.half.server_ssl_socket_factory.ssl_context_update_by_sds", 2)
    side.serves_rsa("half")
    side.stats(r"^listener\.half\.server_ssl.*sds")


@case("old_path serves two, 200")
def the_deprecated_path_works(side: Side) -> None:
    side.serves("old_path", "one, 200")
    side.deliver("old_path", secret("old_path", tls_certificate=inline(TWO)))
    side.serves("old_path", "two, 200")
    side.secret_stats("old_path")


# -- files -----------------------------------------------------------------------------------------------------


@case("moved serves two, 200", "key_rotation_failed: 2", "update_attempt: 1", "update_by_sds: 2")
def files_are_moved_one_by_one(side: Side) -> None:
    folder = side.folder / "moved1"
    side.serves("moved", "one, 200")
    move(folder / "chain", TWO.chain_pem)
    side.wait_for("sds.moved.key_rotation_failed", 2)  # one per file that is watched
    side.serves("moved", "one, 200")
    move(folder / "key", TWO.key_pem)
    side.serves("moved", "two, 200")
    side.secret_stats("moved")
    side.stats(r"^listener\.moved\.(server_ssl|ssl\.certificate)")
    side.dump("moved")


@case("watched serves two, 200", "watched serves three, 200", "key_rotation_failed: 0", "update_by_sds: 3")
def a_link_is_swapped(side: Side) -> None:
    side.make_folder("watched2", TWO)
    side.link("watchedlink/link", "../watched2")
    side.serves("watched", "two, 200")
    # What is written in place is seen when something is moved there.
    put(side.folder / "watched2", THREE)
    move(side.folder / "watchedlink" / "other", "x")
    side.serves("watched", "three, 200")
    side.secret_stats("watched")
    side.stats(r"^listener\.watched\.(server_ssl|ssl\.certificate)")


@case("kubernetes serves two, 200", "one answers 200", "kubernetes serves one, 200")
def a_link_is_swapped_back(side: Side) -> None:
    before = side.connect("kubernetes")
    side.make_folder("kubernetes2", TWO)
    side.link("kuberneteslink/link", "../kubernetes2")
    side.serves("kubernetes", "two, 200")
    side.get(before)
    side.link("kuberneteslink/link", "../kubernetes1")
    side.serves("kubernetes", "one, 200")
    side.secret_stats("kubernetes")


@case("key_rotation_failed: 4", "failing serves one, 200", "failing serves two, 200", "update_by_sds: 2")
def a_rotation_that_fails_keeps_the_old(side: Side) -> None:
    folder = side.folder / "failing1"
    move(folder / "chain", "garbage")
    side.wait_for("sds.failing.key_rotation_failed", 2)
    (folder / "chain").unlink()
    move(folder / "other", "x")
    side.wait_for("sds.failing.key_rotation_failed", 4)
    side.logged("Failed to reload certificates: Failed to load certificate chain from <inline>")
    side.logged("Failed to reload certificates: Invalid path: ")
    side.serves("failing", "one, 200")
    side.secret_stats("failing")
    put(folder, TWO)
    move(folder / "other", "y")
    side.serves("failing", "two, 200")
    side.stats(r"^listener\.failing\.(server_ssl|ssl\.certificate)")


# -- validation contexts ---------------------------------------------------------------------------------------


@case("validation serves one, 200", "validation serves refused")
def trusted_certificates_are_replaced(side: Side) -> None:
    side.serves("validation", "one, 200", "client")
    side.serves("validation", "refused", "stranger")
    side.deliver("validation", secret("validation", validation_context=trusting(OTHER)))
    side.serves("validation", "one, 200", "stranger")
    side.serves("validation", "refused", "client")
    side.deliver("validation", secret("validation", validation_context=trusting(OTHER, ROOT)), version="v3")
    side.serves("validation", "one, 200", "client")
    side.serves("validation", "one, 200", "stranger")
    side.secret_stats("validation")
    side.stats(r"^listener\.validation\.(server_ssl|ssl\.certificate)")
    side.dump("validation")


@case("update_rejected: 1", "validation serves one, 200")
def trusted_certificates_that_are_none_are_refused(side: Side) -> None:
    bad = {"trusted_ca": {"inline_string": "garbage"}}
    side.deliver("combined", secret("combined", validation_context=bad))
    side.logged("Filesystem config update rejected: Failed to load trusted CA certificates from <inline>")
    side.serves("combined", "one, 200", "client")
    side.deliver("combined", secret("combined", validation_context=trusting(ROOT, verify_subject=1)))
    side.serves("validation", "one, 200", "client")
    side.secret_stats("combined")


@case("revoked: refused", "revoked: one, 200")
def revocation_lists_come_along(side: Side) -> None:
    revoking = {"crl": {"inline_string": OTHER.crl([STRANGER])}}
    side.deliver("no_validation", secret("no_validation", validation_context=trusting(OTHER)))
    side.serves("no_validation", "one, 200", "stranger")
    side.note("revoked: one, 200")
    side.deliver("no_validation", secret("no_validation", validation_context=trusting(OTHER, **revoking)))
    side.serves("no_validation", "refused", "stranger")
    side.note("revoked: refused")
    side.secret_stats("no_validation")


@case("combined serves refused", "combined serves one, 200")
def a_combined_context_is_merged(side: Side) -> None:
    # The default one names who may come, the discovered one whom to trust.
    side.deliver("combined", secret("combined", validation_context=trusting(ROOT, OTHER)), version="v8")
    side.serves("combined", "one, 200", "client")
    side.serves("combined", "refused", "three")
    side.serves("combined", "refused", "stranger")
    more = [{"san_type": "DNS", "matcher": {"exact": "three.test"}}]
    context = trusting(ROOT, match_typed_subject_alt_names=more)
    side.deliver("combined", secret("combined", validation_context=context), version="v9")
    side.serves("combined", "one, 200", "three")
    side.serves("combined", "one, 200", "client")


@case("static_validation serves one, 200", "static_validation serves refused")
def a_static_validation_context(side: Side) -> None:
    side.serves("static_validation", "one, 200", "client")
    side.serves("static_validation", "refused", "stranger")
    side.serves("static_validation", "refused")


# -- session tickets -------------------------------------------------------------------------------------------


def _session(side: Side, name: str, context: ssl.SSLContext) -> Any:
    with side.connect(name, context=context) as connection:
        side.get(connection)
        return connection.session


def _resumed(side: Side, name: str, context: ssl.SSLContext, session: Any) -> bool:
    with side.connect(name, context=context, session=session) as connection:
        return bool(connection.session_reused)


def _tls12(side: Side) -> ssl.SSLContext:
    context = client_context(side.folder)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@case("the new key first: True", "without the old key: False", "update_by_sds: 3")
def ticket_keys_are_rotated(side: Side) -> None:
    context = _tls12(side)
    session = _session(side, "tickets", context)
    side.note(f"resumed: {_resumed(side, 'tickets', context, session)}")
    side.deliver("tickets", secret("tickets", session_ticket_keys=ticket_keys(1, 0)))
    side.wait_for("listener.tickets.server_ssl_socket_factory.ssl_context_update_by_sds", 2)
    side.note(f"the new key first: {_resumed(side, 'tickets', context, session)}")
    side.deliver("tickets", secret("tickets", session_ticket_keys=ticket_keys(2)), version="v3")
    side.wait_until(lambda: not _resumed(side, "tickets", context, session))
    side.note("without the old key: False")
    side.secret_stats("tickets")
    side.stats(r"^listener\.tickets\.server_ssl")
    side.dump("tickets")


@case("update_rejected: 1", "resumed: True")
def ticket_keys_of_another_length_are_refused(side: Side) -> None:
    context = _tls12(side)
    session = _session(side, "bad_tickets", context)
    short = {"keys": [{"inline_string": "short"}]}
    side.deliver("bad_tickets", secret("bad_tickets", session_ticket_keys=short))
    side.logged("update rejected: Incorrect TLS session ticket key length. Length 5, expected length 80.")
    side.note(f"resumed: {_resumed(side, 'bad_tickets', context, session)}")
    side.secret_stats("bad_tickets")


@case("resumed: True")
def static_ticket_keys(side: Side) -> None:
    context = _tls12(side)
    session = _session(side, "static_tickets", context)
    side.note(f"resumed: {_resumed(side, 'static_tickets', context, session)}")


# -- clusters --------------------------------------------------------------------------------------------------


@case("/waiting: 503.*remote connection failure", "/waiting: 200", "upstream_context_secrets_not_ready: [1-9]")
def clusters_do_not_wait_for_secrets(side: Side) -> None:
    side.note(f"/waiting: {side.fetch('plain', '/waiting')}")
    side.stats(r"^cluster\.waiting\.(client_ssl|ssl\.certificate|membership_total|upstream_cx_connect_fail)")
    side.dump("un")
    side.deliver("un", secret("un", tls_certificate=inline(CLIENT)))
    side.fetches("plain", "/waiting", "200")
    side.stats(r"^cluster\.waiting\.(client_ssl.*sds|ssl\.certificate)")


@case("/showing: 503", "/showing: 200", "update_by_sds: 2")
def a_cluster_shows_another_certificate(side: Side) -> None:
    side.wait_until(lambda: side.fetch("plain", "/showing").startswith("503"))
    side.note("/showing: 503")
    side.deliver("uc", secret("uc", tls_certificate=inline(CLIENT)))
    side.fetches("plain", "/showing", "200")
    side.secret_stats("uc")
    side.stats(r"^cluster\.showing\.(client_ssl|ssl\.certificate)")


@case("/validating: 200", "/validating: 503")
def a_cluster_trusts_others(side: Side) -> None:
    side.deliver("uv", secret("uv", validation_context=trusting(OTHER)))
    side.wait_until(lambda: side.fetch("plain", "/validating").startswith("503"))
    side.note("/validating: 503")
    side.deliver("uv", secret("uv", validation_context=trusting(ROOT)), version="v3")
    side.fetches("plain", "/validating", "200")
    side.secret_stats("uv")
    side.stats(r"^cluster\.validating\.(client_ssl|ssl\.certificate)")


@case("update_by_sds: 2", "/both: 200")
def a_cluster_of_two_secrets(side: Side) -> None:
    side.fetches("plain", "/both", "200")
    side.stats(r"^cluster\.both\.(client_ssl|ssl\.certificate)")


# -- listeners and clusters that come and go -------------------------------------------------------------------


def _typed(kind: str, resource: Json) -> Json:
    return {"@type": f"type.googleapis.com/envoy.config.{kind}", **resource}


@case("dynamic serves one, 200", "dynamic serves two, 200", "dynamic serves three, 200", "update_by_sds: 1")
def listeners_come_with_secrets(side: Side) -> None:
    first = side.first("dynamic", secret("dynamic", tls_certificate=inline(ONE)))
    side.replace("lds", _typed("listener.v3.Listener", listener("dynamic", named(first))))
    side.serves("dynamic", "one, 200")
    before = side.connect("dynamic")
    side.stats(r"^listener\.dynamic\.(server_ssl|ssl\.certificate)")
    side.deliver("dynamic", secret("dynamic", tls_certificate=inline(TWO)))
    side.serves("dynamic", "two, 200")
    # An update in place: another secret.
    other = side.first("dynamic_other", secret("dynamic_other", tls_certificate=inline(THREE)))
    side.replace("lds", _typed("listener.v3.Listener", listener("dynamic", named(other))))
    side.serves("dynamic", "three, 200")
    side.get(before)
    side.secret_stats("dynamic_other")
    side.dump("dynamic_other")


@case("empty serves refused", "empty serves one, 200")
def listeners_do_not_wait_for_secrets(side: Side) -> None:
    reference = side.first("empty")
    side.replace("lds", _typed("listener.v3.Listener", listener("empty", named(reference))))
    side.serves("empty", "refused")
    side.dump("empty")
    side.deliver("empty", secret("empty", tls_certificate=inline(ONE)))
    side.serves("empty", "one, 200")


@case("/later: 200", "known: True", "known: False", "/later: 503")
def clusters_come_and_go_with_secrets(side: Side) -> None:
    reference = side.first("later", secret("later", tls_certificate=inline(CLIENT)))
    one = cluster("later", side.pipe("mutual"), named(reference))
    side.replace("cds", _typed("cluster.v3.Cluster", one))
    side.fetches("plain", "/later", "200")
    side.stats(r"^cluster\.later\.(client_ssl|ssl\.certificate)")
    side.dump("later")
    side.note(f"known: {side.is_known('later')}")
    side.replace("cds")
    side.fetches("plain", "/later", "503")
    side.wait_until(lambda: not side.is_known("later"))
    side.note("known: False")
    side.dump("later")


# -- admin -----------------------------------------------------------------------------------------------------


@case("<inline>", "<files>/one.crt")
def certificates_in_use(side: Side) -> None:
    side.certificates("one", "rsa")


@case("ocsp_details", "shown.p12", "bundle.ca", '"ip_address": "2001:db8::1"')
def details_of_certificates(side: Side) -> None:
    side.serves("shown_in_files", "shown, 200")
    side.certificates("shown")
    side.stats(r"^listener\.shown_.*\.ssl\.certificate")


@case("days_until_first_cert_expiring: 29 or 30", "seconds_until_first_ocsp_response_expiring: 7 days")
def expiration(side: Side) -> None:
    # Envoy looks when it flushes statistics: perhaps in the second in which the certificate was made.
    days = side.stat("server.days_until_first_cert_expiring")
    side.note(f"days_until_first_cert_expiring: {'29 or 30' if days in (29, 30) else days}")
    seconds = side.stat("server.seconds_until_first_ocsp_response_expiring")
    side.note(f"seconds_until_first_ocsp_response_expiring: {-(-seconds // 86400)} days")


@case("tls_certificate=.static")
def labels(side: Side) -> None:
    found = side.proxy.admin("/stats/prometheus").splitlines()
    for line in sorted(found):
        if re.search(
            r"expiration_unix_time_seconds\{.*(static|pair)|sds_key_rotation_failed\{.*(inline|watched)", line
        ):
            side.note(line)


# -- running ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("secrets")
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(Side, kind, folder / kind, bootstrap) for kind in (ENVOY, PROXENY)]
        started = [start.result() for start in starts]
    yield started
    for side in started:
        side.close()


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.run.__name__)
def test_secrets(sequence: Sequence, sides: list[Side]) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_transcript, side, sequence) for side in sides]
        envoy, proxeny = (run.result() for run in runs)
    problems = []
    for kind, lines in ((ENVOY, envoy), (PROXENY, proxeny)):
        text = "\n".join(lines)
        problems += [f"{kind} lacks {pattern!r}" for pattern in sequence.contains if not re.search(pattern, text)]
    pairs = itertools.zip_longest(envoy, proxeny, fillvalue="")
    problems += [f"envoy:   {left}\nproxeny: {right}" for left, right in pairs if left != right]
    if problems:
        pytest.fail("\n".join([*problems, "", *proxeny]), pytrace=False)


def _transcript(side: Side, sequence: Sequence) -> list[str]:
    side.begin()
    sequence.run(side)
    if not side.proxy.alive():
        side.note(f"{side.proxy.kind} died:\n{side.proxy.log_tail()}")
    return side.lines
