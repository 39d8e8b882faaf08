"""libssl's errors as BoringSSL, and so Envoy, words them: ``|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_...``.

Both libraries come from one ancestor. Alerts of the peer have the same numbers (1000 and the alert), other reasons have
mostly the same names and other numbers; those that connections meet are listed here.
"""

from __future__ import annotations

from typing import Final

_LIB_SSL: Final = 20
_BORINGSSL_SSL: Final = 16 << 24
_FIRST_ALERT: Final = 1000

_NUMBERS: Final = {
    "BAD_ALERT": 102,
    "BAD_CHANGE_CIPHER_SPEC": 103,
    "BAD_ECPOINT": 108,
    "BAD_SIGNATURE": 114,
    "CCS_RECEIVED_EARLY": 124,
    "CERTIFICATE_VERIFY_FAILED": 125,
    "CERT_CB_ERROR": 126,
    "CLIENTHELLO_PARSE_FAILED": 131,
    "CLIENTHELLO_TLSEXT": 132,
    "CONNECTION_REJECTED": 133,
    "DATA_LENGTH_TOO_LONG": 136,
    "DECODE_ERROR": 137,
    "DECRYPTION_FAILED": 138,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": 139,
    "ENCRYPTED_LENGTH_TOO_LONG": 146,
    "EXCESSIVE_MESSAGE_SIZE": 150,
    "HTTPS_PROXY_REQUEST": 155,
    "HTTP_REQUEST": 156,
    "INAPPROPRIATE_FALLBACK": 157,
    "LENGTH_MISMATCH": 162,
    "MISSING_EXTENSION": 164,
    "NO_CERTIFICATE_SET": 174,
    "NO_CIPHERS_AVAILABLE": 175,
    "NO_RENEGOTIATION": 182,
    "NO_SHARED_CIPHER": 184,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": 192,
    "PROTOCOL_IS_SHUTDOWN": 194,
    "UNEXPECTED_MESSAGE": 223,
    "UNKNOWN_PROTOCOL": 231,
    "UNSUPPORTED_PROTOCOL": 240,
    "WRONG_VERSION_NUMBER": 247,
}


def boringssl_reason(library: int, reason: int, text: str) -> str:
    """One error, as Envoy appends it to a transport failure reason; ``text`` is what OpenSSL calls it."""
    name = text.upper().replace(" ", "_")
    if library != _LIB_SSL:
        return f"|{library << 24 | reason}:library {library}:OPENSSL_internal:{name}"
    number = reason if reason >= _FIRST_ALERT else _NUMBERS.get(name, reason)
    return f"|{_BORINGSSL_SSL | number}:SSL routines:OPENSSL_internal:{name}"
