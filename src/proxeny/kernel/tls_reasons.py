"""libssl's errors as BoringSSL, and so Envoy, words them: ``|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_...``.

Both libraries come from one ancestor. Alerts of the peer have the same numbers (1000 and the alert), other reasons have
mostly the same names and other numbers; those that connections meet are listed here. A reason that is not listed keeps
OpenSSL's name and number (docs/tls.md).
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
    "CLIENTHELLO_PARSE_FAILED": 131,
    "CLIENTHELLO_TLSEXT": 132,
    "CONNECTION_REJECTED": 133,
    "DATA_LENGTH_TOO_LONG": 136,
    "DECODE_ERROR": 137,
    "DECRYPTION_FAILED": 138,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": 139,
    "DIGEST_CHECK_FAILED": 142,
    "ENCRYPTED_LENGTH_TOO_LONG": 146,
    "ERROR_PARSING_EXTENSION": 149,
    "EXCESSIVE_MESSAGE_SIZE": 150,
    "HTTPS_PROXY_REQUEST": 155,
    "HTTP_REQUEST": 156,
    "INAPPROPRIATE_FALLBACK": 157,
    "KEY_USAGE_BIT_INCORRECT": 302,
    "LENGTH_MISMATCH": 162,
    "MISSING_EXTENSION": 164,
    "NO_CERTIFICATE_SET": 174,
    "NO_CIPHERS_AVAILABLE": 175,
    "NO_COMMON_SIGNATURE_ALGORITHMS": 253,
    "NO_RENEGOTIATION": 182,
    "NO_SHARED_CIPHER": 184,
    "NO_SHARED_GROUP": 266,
    "PARSE_TLSEXT": 190,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": 192,
    "PROTOCOL_IS_SHUTDOWN": 194,
    "TOO_MANY_KEY_UPDATES": 267,
    "TOO_MANY_WARNING_ALERTS": 220,
    "UNEXPECTED_EXTENSION": 222,
    "UNEXPECTED_MESSAGE": 223,
    "UNEXPECTED_RECORD": 225,
    "UNKNOWN_ALERT_TYPE": 227,
    "UNKNOWN_PROTOCOL": 233,
    "UNSUPPORTED_PROTOCOL": 240,
    "WRONG_CERTIFICATE_TYPE": 241,
    "WRONG_CIPHER_RETURNED": 242,
    "WRONG_CURVE": 243,
    "WRONG_SIGNATURE_TYPE": 245,
    "WRONG_VERSION_NUMBER": 247,
}

_OTHER_NAMES: Final = {
    "BAD_EXTENSION": "PARSE_TLSEXT",
    "BAD_RECORD_TYPE": "UNEXPECTED_RECORD",
    "CALLBACK_FAILED": "CONNECTION_REJECTED",
    "INVALID_ALERT": "BAD_ALERT",
    "NO_SUITABLE_GROUPS": "NO_SHARED_GROUP",
    "NO_SUITABLE_KEY_SHARE": "NO_SHARED_GROUP",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "NO_COMMON_SIGNATURE_ALGORITHMS",
    "NO_SHARED_GROUPS": "NO_SHARED_GROUP",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "NO_COMMON_SIGNATURE_ALGORITHMS",
    "PACKET_LENGTH_TOO_LONG": "ENCRYPTED_LENGTH_TOO_LONG",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "TLSV1_ALERT_CERTIFICATE_REQUIRED",
    "VERSION_TOO_LOW": "UNSUPPORTED_PROTOCOL",
}
"""BoringSSL's name of what OpenSSL calls otherwise."""

_NO_ISSUER: Final = "unable to get local issuer certificate"
_NO_AUTHORITY: Final = "invalid CA certificate"
_REVOCATION: Final = "certificate revocation check against provided CRLs failed: "

_VERIFICATION: Final = {
    "certificate chain too long": _NO_ISSUER,
    "self-signed certificate": "self signed certificate",
    "self-signed certificate in certificate chain": "self signed certificate in certificate chain",
    **{
        text: _REVOCATION + text
        for text in (
            "CRL has expired",
            "CRL is not yet valid",
            "CRL path validation error",
            "CRL signature failure",
            "certificate revoked",
            "unable to get CRL issuer certificate",
            "unable to get certificate CRL",
        )
    },
    "unsuitable certificate purpose": "unsupported certificate purpose",
}


def boringssl_reason(library: int, reason: int, text: str) -> str:
    """One error, as Envoy appends it to a transport failure reason; ``text`` is what OpenSSL calls it."""
    name = text.upper().replace(" ", "_")
    if library != _LIB_SSL:
        return f"|{library << 24 | reason}:library {library}:OPENSSL_internal:{name}"
    name = _OTHER_NAMES.get(name, name)
    number = reason if reason >= _FIRST_ALERT else _NUMBERS.get(name, reason)
    return f"|{_BORINGSSL_SSL | number}:SSL routines:OPENSSL_internal:{name}"


def refused_chain(depth: int, text: str) -> str:
    """Why a chain of certificates was refused, in Envoy's and BoringSSL's words."""
    if text == _NO_AUTHORITY:
        # BoringSSL does not take it for the issuer at all.
        depth, text = max(depth - 1, 0), _NO_ISSUER
    words = _VERIFICATION.get(text, text)
    return f"verify cert failed: X509_verify_cert: certificate verification error at depth {depth}: {words}"
