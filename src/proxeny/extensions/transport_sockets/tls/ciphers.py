"""Cipher strings, which are BoringSSL's language, as lists of OpenSSL's names.

The language: rules separated by ``:``, each one a name or an alias (joined by ``+`` where all must hold), behind an
operator: ``-`` takes away, ``!`` for ever, ``+`` moves to the end, nothing adds. ``[A|B]`` are of equal preference: the
client chooses among them; only additions may follow. ``@STRENGTH`` sorts. Here the language runs over BoringSSL's own
table, so what its aliases mean does not depend on OpenSSL. TLS 1.3 has no part in it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from proxeny.config.errors import ConfigError

DEFAULT: Final = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384"
)
"""Envoy's, on both sides."""


class Cipher(NamedTuple):
    """One cipher suite up to TLS 1.2; ``old``: left out of all aliases but those that name its parts."""

    name: str
    standard_name: str
    key_exchange: str
    authentication: str
    encryption: str
    mac: str
    bits: int
    old: bool = False

    @property
    def needs_tls12(self) -> bool:
        """Whether versions before TLS 1.2 do not know it."""
        return self.mac == "AEAD" or self.mac == "SHA256"


def _cipher(row: str) -> Cipher:
    name, standard_name, key_exchange, authentication, encryption, mac, bits, *old = row.split()
    return Cipher(name, standard_name, key_exchange, authentication, encryption, mac, int(bits), bool(old))


_TABLE: Final = tuple(
    _cipher(row)
    for row in """
ECDHE-ECDSA-AES128-GCM-SHA256  ECDHE_ECDSA_WITH_AES_128_GCM_SHA256        ECDHE ECDSA AES128GCM AEAD   128
ECDHE-RSA-AES128-GCM-SHA256    ECDHE_RSA_WITH_AES_128_GCM_SHA256          ECDHE RSA   AES128GCM AEAD   128
ECDHE-ECDSA-AES256-GCM-SHA384  ECDHE_ECDSA_WITH_AES_256_GCM_SHA384        ECDHE ECDSA AES256GCM AEAD   256
ECDHE-RSA-AES256-GCM-SHA384    ECDHE_RSA_WITH_AES_256_GCM_SHA384          ECDHE RSA   AES256GCM AEAD   256
ECDHE-ECDSA-CHACHA20-POLY1305  ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256  ECDHE ECDSA CHACHA20  AEAD   256
ECDHE-RSA-CHACHA20-POLY1305    ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256    ECDHE RSA   CHACHA20  AEAD   256
ECDHE-PSK-CHACHA20-POLY1305    ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256    ECDHE PSK   CHACHA20  AEAD   256
ECDHE-ECDSA-AES128-SHA         ECDHE_ECDSA_WITH_AES_128_CBC_SHA           ECDHE ECDSA AES128    SHA1   128
ECDHE-RSA-AES128-SHA           ECDHE_RSA_WITH_AES_128_CBC_SHA             ECDHE RSA   AES128    SHA1   128
ECDHE-PSK-AES128-CBC-SHA       ECDHE_PSK_WITH_AES_128_CBC_SHA             ECDHE PSK   AES128    SHA1   128
ECDHE-ECDSA-AES256-SHA         ECDHE_ECDSA_WITH_AES_256_CBC_SHA           ECDHE ECDSA AES256    SHA1   256
ECDHE-RSA-AES256-SHA           ECDHE_RSA_WITH_AES_256_CBC_SHA             ECDHE RSA   AES256    SHA1   256
ECDHE-RSA-AES128-SHA256        ECDHE_RSA_WITH_AES_128_CBC_SHA256          ECDHE RSA   AES128    SHA256 128 old
ECDHE-PSK-AES256-CBC-SHA       ECDHE_PSK_WITH_AES_256_CBC_SHA             ECDHE PSK   AES256    SHA1   256
AES128-GCM-SHA256              RSA_WITH_AES_128_GCM_SHA256                RSA   RSA   AES128GCM AEAD   128
AES256-GCM-SHA384              RSA_WITH_AES_256_GCM_SHA384                RSA   RSA   AES256GCM AEAD   256
AES128-SHA                     RSA_WITH_AES_128_CBC_SHA                   RSA   RSA   AES128    SHA1   128
PSK-AES128-CBC-SHA             PSK_WITH_AES_128_CBC_SHA                   PSK   PSK   AES128    SHA1   128
AES256-SHA                     RSA_WITH_AES_256_CBC_SHA                   RSA   RSA   AES256    SHA1   256
PSK-AES256-CBC-SHA             PSK_WITH_AES_256_CBC_SHA                   PSK   PSK   AES256    SHA1   256
DES-CBC3-SHA                   RSA_WITH_3DES_EDE_CBC_SHA                  RSA   RSA   3DES      SHA1   112 old
""".strip().splitlines()
)
"""In the order in which they stand before the first rule."""

_EVERYTHING: Final = frozenset(range(len(_TABLE)))
_NAMES: Final = {
    name: frozenset((index,))
    for index, cipher in enumerate(_TABLE)
    for name in (cipher.name, "TLS_" + cipher.standard_name)
}
_MODERN: Final = frozenset(index for index, cipher in enumerate(_TABLE) if not cipher.old)


def _where(**facts: str) -> frozenset[int]:
    wanted = [(field, frozenset(values.split())) for field, values in facts.items()]
    return frozenset(
        index
        for index, cipher in enumerate(_TABLE)
        if all(getattr(cipher, field) in values for field, values in wanted)
    )


def _aliases() -> dict[str, frozenset[int]]:
    ecdhe = _where(key_exchange="ECDHE")
    tls12 = frozenset(index for index, cipher in enumerate(_TABLE) if cipher.needs_tls12)
    found = {
        **dict.fromkeys(("ALL", "HIGH", "FIPS", "SHA256", "SHA384"), _EVERYTHING),
        **dict.fromkeys(("kECDHE", "kEECDH", "ECDH", "ECDHE", "EECDH"), ecdhe),
        **dict.fromkeys(("aECDSA", "ECDSA"), _where(authentication="ECDSA")),
        **dict.fromkeys(("SHA1", "SHA"), _where(mac="SHA1")),
        **dict.fromkeys(("SSLv3", "TLSv1"), _EVERYTHING - tls12),
        "kRSA": _where(key_exchange="RSA"),
        "RSA": _where(key_exchange="RSA", authentication="RSA"),
        "kPSK": _where(key_exchange="PSK"),
        "PSK": _where(key_exchange="PSK", authentication="PSK"),
        "aRSA": _where(authentication="RSA"),
        "aPSK": _where(authentication="PSK"),
        "AES128": _where(encryption="AES128 AES128GCM"),
        "AES256": _where(encryption="AES256 AES256GCM"),
        "AES": _where(encryption="AES128 AES128GCM AES256 AES256GCM"),
        "AESGCM": _where(encryption="AES128GCM AES256GCM"),
        "CHACHA20": _where(encryption="CHACHA20"),
        "TLSv1.2": tls12,
    }
    modern = {name: members & _MODERN for name, members in found.items()}
    return {**modern, "3DES": _where(encryption="3DES")}


_ALIASES: Final = _aliases()


class _Refused(Exception):
    """The string is none."""


class CipherList:
    """What a string chooses, in its order."""

    __slots__ = ("_killed", "chosen", "groups")

    def __init__(self) -> None:
        self.chosen: list[int] = []
        """Indices in the table, the preferred first."""
        self.groups: list[frozenset[int]] = []
        """What is of equal preference."""
        self._killed: set[int] = set()

    @property
    def names(self) -> list[str]:
        """In OpenSSL's words, which are BoringSSL's."""
        return [_TABLE[index].name for index in self.chosen]

    @property
    def equal(self) -> tuple[tuple[str, ...], ...]:
        """What is of equal preference."""
        return tuple([tuple([_TABLE[index].name for index in sorted(group)]) for group in self.groups])

    def run(self, rules: str) -> None:
        """Carry out a string."""
        position = 0
        text = rules
        if text.startswith("DEFAULT"):
            self._add(_MODERN)
            text = text[len("DEFAULT") :]
            if text and not text.startswith(":"):
                raise _Refused
        while position < len(text):
            if text[position] == ":":
                position += 1
            elif text[position] == "[":
                end = text.find("]", position)
                if end < 0:
                    raise _Refused
                self._group(text[position + 1 : end].split("|"))
                position = end + 1
            else:
                end = text.find(":", position)
                end = len(text) if end < 0 else end
                self._rule(text[position:end])
                position = end
        if not self.chosen:
            raise _Refused

    def _group(self, names: list[str]) -> None:
        members: list[int] = []
        for name in names if names != [""] else ():
            found = _select(name)
            self._add(found)
            members.extend(found)
        self.groups.append(frozenset(members))

    def _rule(self, rule: str) -> None:
        operator = rule[0] if rule[0] in "-+!@" else ""
        if operator and self.groups:
            raise _Refused
        name = rule[len(operator) :]
        if operator == "@":
            if name != "STRENGTH":
                raise _Refused
            self.chosen.sort(key=lambda index: -_TABLE[index].bits)
            return
        found = _select(name)
        if not operator:
            self._add(found)
            return
        moved = [index for index in self.chosen if index in found]
        self.chosen = [index for index in self.chosen if index not in found]
        if operator == "+":
            self.chosen += moved
        elif operator == "!":
            self._killed |= found

    def _add(self, found: frozenset[int]) -> None:
        self.chosen += [index for index in sorted(found) if index not in self.chosen and index not in self._killed]


def _select(text: str) -> frozenset[int]:
    """What a selector names: a cipher, or aliases of which all have to hold."""
    found = _NAMES.get(text)
    if found is not None:
        return found
    parts = text.split("+")
    if any(part not in _ALIASES for part in parts):
        raise _Refused
    return frozenset.intersection(*(_ALIASES[part] for part in parts))


def compile_ciphers(names: list[str]) -> CipherList:
    """The ciphers of ``cipher_suites``; ConfigError in Envoy's words."""
    rules = ":".join(names) or DEFAULT
    made = CipherList()
    try:
        made.run(rules)
    except _Refused:
        bad = ", ".join(part for part in _individually(rules) if not _stands_alone(part))
        raise ConfigError(
            f"Failed to initialize cipher suites {rules}. "
            f"The following ciphers were rejected when tried individually: {bad}"
        ) from None
    if not any(name not in _NOT_IN_OPENSSL for name in made.names):
        raise ConfigError(f"None of the cipher suites {rules} is in this build of OpenSSL")
    return made


_NOT_IN_OPENSSL: Final = frozenset({"DES-CBC3-SHA"})
"""Debian and OpenSSL's own defaults leave 3DES out."""


def _individually(rules: str) -> list[str]:
    """The parts of a string, without what is around their names."""
    for mark in "+![|]":
        rules = rules.replace(mark, ":")
    return [part.removeprefix("-") for part in rules.split(":") if part]


def _stands_alone(rule: str) -> bool:
    try:
        CipherList().run(rule)
    except _Refused:
        return False
    return True
