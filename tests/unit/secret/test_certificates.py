"""Certificates in use: what is told of them, and their gauges."""

import datetime
import gc

from proxeny.secret.certificates import ContextCertificates, LiveCertificates, ShownCertificate
from proxeny.stats.store import MainStore
from proxeny.testing.certificates import Authority, Certificate, expired

ROOT = Authority("root")
DAY = 86400


def lasting(days: int) -> Certificate:
    return ROOT.issue(f"days{days}", not_after=datetime.timedelta(days=days))


def shown(certificate: Certificate, name: str = "name", staple: bytes = b"") -> ShownCertificate:
    return ShownCertificate(name, "/path", certificate.x509, staple)


def test_a_context_is_shown_as_long_as_it_is_in_use() -> None:
    live = LiveCertificates(MainStore())
    one, two = ContextCertificates("cluster.a."), ContextCertificates("cluster.b.")
    live.add(one)
    live.add(two)
    assert live.contexts() == [one, two]
    del one
    gc.collect()
    assert live.contexts() == [two]


def test_gauges_follow_the_contexts() -> None:
    store = MainStore()
    live = LiveCertificates(store)
    first, later, own = lasting(5), lasting(10), lasting(7)
    authorities = [shown(later, "ca"), shown(first, "ca2")]
    context = ContextCertificates("cluster.a.", authorities, [shown(own, "x"), shown(own, "own")])
    live.add(context)
    live.refresh()
    assert store.wide_gauges == {
        "cluster.a.ssl.certificate.ca.expiration_unix_time_seconds": shown(first).expires_at,
        "cluster.a.ssl.certificate.x.expiration_unix_time_seconds": shown(own).expires_at,
        "cluster.a.ssl.certificate.own.expiration_unix_time_seconds": shown(own).expires_at,
    }
    del context
    gc.collect()
    live.refresh()
    assert store.wide_gauges == {}


def test_the_first_to_expire_counts() -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    live = LiveCertificates(MainStore(), lambda: now)
    assert live.days_until_first_expires() is None
    assert live.seconds_until_first_staple_expires() is None
    leaf = lasting(9)
    context = ContextCertificates("", [shown(lasting(12))], [shown(leaf, staple=ROOT.ocsp_response(leaf))])
    live.add(context)
    assert live.days_until_first_expires() in (8, 9)
    left = live.seconds_until_first_staple_expires()
    assert left is not None
    assert 0 < left < 8 * DAY


def test_what_has_expired_has_no_days_left() -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    assert shown(ROOT.issue("old", **expired())).days_left(now) == 0


def test_serial_numbers_have_whole_bytes() -> None:
    assert shown(ROOT.issue("one", serial_number=0xABC)).serial_number == "0abc"


def test_a_staple_that_is_none_has_no_validity() -> None:
    assert shown(ROOT).staple_validity() is None
    assert shown(ROOT, staple=b"garbage").staple_validity() is None
