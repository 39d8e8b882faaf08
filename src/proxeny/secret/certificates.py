"""The certificates that are in use, for /certs and the gauges of their expiration (Envoy: ``ContextManagerImpl``).

``cryptography`` is imported by who needs it: it takes 16 MB, and a server without TLS never does.
"""

from __future__ import annotations

import datetime
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509

    from proxeny.stats.store import MainStore

DAY_S = 86400


class ShownCertificate(NamedTuple):
    """A certificate of a TLS context."""

    name: str
    """What statistics call it."""
    path: str
    certificate: x509.Certificate
    staple: bytes = b""
    """The OCSP response that goes along."""

    @property
    def expires_at(self) -> int:
        """Seconds since the epoch."""
        return int(self.certificate.not_valid_after_utc.timestamp())

    @property
    def valid_from(self) -> int:
        """Likewise."""
        return int(self.certificate.not_valid_before_utc.timestamp())

    def days_left(self, now: float) -> int:
        """Whole days until it expires; 0 once it has."""
        return max(0, int(self.expires_at - now) // DAY_S)

    @property
    def serial_number(self) -> str:
        """Hexadecimal."""
        digits = f"{self.certificate.serial_number:x}"
        return digits.zfill(len(digits) + len(digits) % 2)

    def alternative_names(self) -> list[tuple[str, str]]:
        """Kind and value, as /certs shows them: DNS names, then URIs, then addresses."""
        from cryptography import x509

        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.DuplicateExtension, x509.ExtensionNotFound, ValueError):
            return []
        names = [("dns", one) for one in found.get_values_for_type(x509.DNSName)]
        names += [("uri", one) for one in found.get_values_for_type(x509.UniformResourceIdentifier)]
        return names + [("ip_address", str(one)) for one in found.get_values_for_type(x509.IPAddress)]

    def staple_validity(self) -> tuple[int, int | None] | None:
        """From when until when the OCSP response holds, seconds since the epoch; None: there is none."""
        if not self.staple:
            return None
        from cryptography.x509 import ocsp

        try:
            response = next(iter(ocsp.load_der_ocsp_response(self.staple).responses))
        except (StopIteration, ValueError):
            return None
        until = response.next_update_utc
        return _seconds(response.this_update_utc), None if until is None else _seconds(until)


def _seconds(when: datetime.datetime) -> int:
    return int(when.timestamp())


@dataclass(slots=True, weakref_slot=True, eq=False)
class ContextCertificates:
    """The certificates of one TLS context; its owner keeps it as long as the context is in use."""

    scope: str
    """Stat prefix of what the context belongs to, for example ``cluster.a.``."""
    authorities: Sequence[ShownCertificate] = ()
    """The trusted ones."""
    own: Sequence[ShownCertificate] = ()
    """Of ours the first of each chain."""

    def all(self) -> Iterator[ShownCertificate]:
        """Trusted ones and ours."""
        yield from self.authorities
        yield from self.own


class LiveCertificates:
    """What all contexts in use are made of; their gauges, which follow when somebody looks."""

    def __init__(self, store: MainStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._contexts: dict[int, weakref.ref[ContextCertificates]] = {}
        """In the order they came."""
        self._gauges: dict[str, int] = {}
        store.before_reading.append(self.refresh)

    def add(self, context: ContextCertificates) -> None:
        """A context is in use from now on, until its certificates are let go of."""
        key = id(context)
        self._contexts[key] = weakref.ref(context, lambda _: self._contexts.pop(key, None))

    def contexts(self) -> list[ContextCertificates]:
        """Those in use."""
        return [one for one in [reference() for reference in self._contexts.values()] if one is not None]

    def refresh(self) -> None:
        """Set the gauges of expiration, and remove those of certificates that are gone."""
        fresh: dict[str, int] = {}
        for context in self.contexts():
            trusted = [one.expires_at for one in context.authorities]
            if trusted:
                fresh[_gauge(context.scope, context.authorities[0].name)] = min(trusted)
            for own in context.own:
                fresh[_gauge(context.scope, own.name)] = own.expires_at
        if fresh == self._gauges:
            return
        for name in self._gauges.keys() - fresh.keys():
            self._store.wide_gauges.pop(name, None)
        for name, seconds in fresh.items():
            self._store.wide_gauge(name, seconds)
        self._gauges = fresh

    def days_until_first_expires(self) -> int | None:
        """Whole days; None without certificates."""
        now = self._now()
        return min([one.days_left(now) for context in self.contexts() for one in context.all()], default=None)

    def seconds_until_first_staple_expires(self) -> int | None:
        """Of the OCSP responses; None without any."""
        now = self._now()
        ends = [one.staple_validity() for context in self.contexts() for one in context.own]
        return min([max(0, int(end[1] - now)) for end in ends if end is not None and end[1] is not None], default=None)


def _gauge(scope: str, name: str) -> str:
    return f"{scope}ssl.certificate.{name}.expiration_unix_time_seconds"
