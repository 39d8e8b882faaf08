"""TLS contexts: certificates, parameters, validation contexts, tickets, secrets that are named.

Certificates stand inline, made when this is imported: their bytes differ from run to run, the verdicts must not.
"""
# ruff: noqa: E501 - a case is a line

import json
from textwrap import dedent, indent

from tests.differential.validate.corpus import TYPE, Verdict, cluster, listener

from proxeny.testing.certificates import Authority, private_key

_TLS = f"{TYPE}/envoy.extensions.transport_sockets.tls.v3"
ROOT = Authority("root")
LEAF = ROOT.issue("leaf", "DNS:a.test")
RSA = ROOT.issue("rsa", "DNS:a.test", key="rsa2048")
SMALL = ROOT.issue("small", key="rsa1024")
STAPLED = ROOT.issue("stapled", must_staple=True)


def text(value: str | bytes) -> str:
    """A data source with it inline."""
    if isinstance(value, bytes):
        import base64

        return f"{{inline_bytes: {base64.b64encode(value).decode()}}}"
    return f"{{inline_string: {json.dumps(value)}}}"


def pair(chain: str, key: str, more: str = "") -> str:
    """A ``TlsCertificate``."""
    return f"{{certificate_chain: {text(chain)}, private_key: {text(key)}{more and ', ' + more}}}"


GOOD = pair(LEAF.chain_pem, LEAF.key_pem)
CA = f"trusted_ca: {text(ROOT.pem)}"


def down(name: str, common: str = "", more: str = "", certificates: str = GOOD, stricter: str = "") -> Verdict:
    """A listener with a ``DownstreamTlsContext``."""
    given = f"tls_certificates: [{certificates}]\n" if certificates else ""
    fields = f"common_tls_context:\n{indent(given + dedent(common), '  ')}\n{dedent(more)}"
    return listener(f"tls-{name}", _chain(fields, "DownstreamTlsContext"), stricter)


def up(name: str, common: str = "", more: str = "", stricter: str = "") -> Verdict:
    """A cluster with an ``UpstreamTlsContext``."""
    fields = f"common_tls_context: {{{common}}}\n{dedent(more)}"
    return cluster(f"tls-{name}", _socket(fields, "UpstreamTlsContext"), stricter)


def _socket(fields: str, message: str) -> str:
    typed = indent(f'"@type": {_TLS}.{message}\n{fields}', "    ")
    return f"transport_socket:\n  name: tls\n  typed_config:\n{typed}\n"


def _chain(fields: str, message: str) -> str:
    echo = f'{{name: echo, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.network.echo.v3.Echo}}}}'
    return f"filter_chains:\n- filters: [{echo}]\n{indent(_socket(fields, message), '  ')}"


def valid(name: str, fields: str, stricter: str = "") -> Verdict:
    """A listener with a validation context."""
    return down(
        f"valid-{name}", f"validation_context: {{{fields}}}", "require_client_certificate: true", stricter=stricter
    )


def params(name: str, fields: str, stricter: str = "") -> Verdict:
    """A listener with ``TlsParameters``."""
    return down(f"params-{name}", f"tls_params: {{{fields}}}", stricter=stricter)


def sans(name: str, matchers: str) -> Verdict:
    """A listener with matchers of alternative names."""
    return valid(f"san-{name}", f"{CA}, match_typed_subject_alt_names: [{matchers}]")


def spiffe(name: str, fields: str, more: str = "") -> Verdict:
    """A listener with the SPIFFE validator."""
    typed = f'{{"@type": {_TLS}.SPIFFECertValidatorConfig{fields and ", " + fields}}}'
    return valid(
        f"spiffe-{name}",
        f"custom_validator_config: {{name: envoy.tls.cert_validator.spiffe, typed_config: {typed}}}{more}",
    )


_DOMAIN = f"{{name: a.test, trust_bundle: {text(ROOT.pem)}}}"
_HASH = LEAF.fingerprint
_NO_MLKEM = "OpenSSL 3.0 has no ML-KEM"
_OTHER_KEY = text(ROOT.key_pem)

CASES = [
    # Our own certificates
    down("plain"),
    down("none", certificates=""),
    down("two", certificates=f"{GOOD}, {pair(RSA.chain_pem, RSA.key_pem)}"),
    down("no-key", certificates=f"{{certificate_chain: {text(LEAF.pem)}}}"),
    down("missing-chain", certificates=f"{{certificate_chain: {{filename: /nonexistent/chain}}, private_key: {text(LEAF.key_pem)}}}"),
    down("empty-chain", certificates=f"{{certificate_chain: {{filename: /dev/null}}, private_key: {text(LEAF.key_pem)}}}"),
    down("junk-chain", certificates=pair("junk", LEAF.key_pem)),
    down("junk-certificate-behind", certificates=pair(LEAF.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", LEAF.key_pem)),
    down("junk-key", certificates=pair(LEAF.pem, "junk")),
    down("other-key", certificates=pair(LEAF.pem, ROOT.key_pem)),
    down("other-kind-of-key", certificates=pair(LEAF.pem, RSA.key_pem)),
    down("locked-key", certificates=pair(LEAF.pem, LEAF.encrypted_key_pem("word"))),
    down("locked-key-wrong-word", certificates=pair(LEAF.pem, LEAF.encrypted_key_pem("word"), "password: {inline_string: bad}")),
    down("small-rsa", certificates=pair(SMALL.pem, SMALL.key_pem)),
    *[
        down(f"key-{kind}", certificates=pair((one := ROOT.issue(kind, key=private_key(kind))).pem, one.key_pem))
        for kind in ("p384", "p521", "ed25519")
    ],
    down("bundle", certificates=f"{{pkcs12: {text(LEAF.pkcs12())}}}"),
    down("bundle-and-word", certificates=f"{{pkcs12: {text(LEAF.pkcs12('word'))}, password: {{inline_string: word}}}}"),
    down("bundle-wrong-word", certificates=f"{{pkcs12: {text(LEAF.pkcs12('word'))}, password: {{inline_string: bad}}}}"),
    down("bundle-junk", certificates="{pkcs12: {inline_string: junk}}"),
    down("bundle-and-key", certificates=f"{{pkcs12: {text(LEAF.pkcs12())}, private_key: {text(LEAF.key_pem)}}}"),
    down("key-provider", certificates=f"{{certificate_chain: {text(LEAF.pem)}, private_key_provider: {{provider_name: x}}}}"),
    down("staple", certificates=pair(LEAF.pem, LEAF.key_pem, f"ocsp_staple: {text(ROOT.ocsp_response(LEAF))}")),
    down("staple-of-another", certificates=pair(LEAF.pem, LEAF.key_pem, f"ocsp_staple: {text(ROOT.ocsp_response(RSA))}")),
    down("staple-as-text", certificates=pair(LEAF.pem, LEAF.key_pem, "ocsp_staple: {inline_string: aa}")),
    down("staple-junk", certificates=pair(LEAF.pem, LEAF.key_pem, "ocsp_staple: {inline_bytes: aaaa}")),
    down("staple-missing", certificates=pair(STAPLED.pem, STAPLED.key_pem)),
    down("staple-policy", more="ocsp_staple_policy: MUST_STAPLE"),
    # Secrets by name
    down("secret", "tls_certificate_sds_secret_configs: [{name: a}]", certificates=""),
    down("secret-and-own", "tls_certificate_sds_secret_configs: [{name: a}]"),
    # Sessions
    down("tickets", more=f"session_ticket_keys: {{keys: [{text('a' * 80)}, {text('b' * 80)}]}}"),
    down("tickets-short", more=f"session_ticket_keys: {{keys: [{text('a' * 79)}]}}"),
    down("tickets-empty", more="session_ticket_keys: {keys: [{inline_string: ''}]}"),
    down("resumption", more="disable_stateless_session_resumption: true\ndisable_stateful_session_resumption: true\nsession_timeout: 10s"),
    down("timeout-largest", more="session_timeout: 4294967295s"),
    down("selection", more="full_scan_certs_on_sni_mismatch: true\nprefer_client_ciphers: true"),
    # Names of protocols, key log, extensions
    down("alpn-empty", "alpn_protocols: ['']"),
    down("alpn-too-long", f"alpn_protocols: ['{'a' * 256}']"),
    down("alpn-too-many", f"alpn_protocols: {['a' * 255] * 256}"),
    down("key-log-nowhere", "key_log: {path: /nonexistent/folder/log}"),
    down("key-log-odd-range", "key_log: {path: /dev/null, remote_address_range: [{address_prefix: nope, prefix_len: 4}]}"),
    down("handshaker", f'custom_handshaker: {{name: x, typed_config: {{"@type": {TYPE}/google.protobuf.Struct}}}}'),
    # Parameters
    params("versions", "tls_minimum_protocol_version: TLSv1_0, tls_maximum_protocol_version: TLSv1_1"),
    params("versions-reversed", "tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2"),
    *[
        params(f"ciphers-{name}", f"cipher_suites: {names}", stricter)
        for name, names, stricter in (
            ("one", ["ECDHE-RSA-AES128-GCM-SHA256"], ""),
            ("unknown", ["ECDHE-RSA-AES128-GCM-SHA256", "BOGUS"], ""),
            ("group", ["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]"], ""),
            ("open-group", ["[ECDHE-RSA-AES128-GCM-SHA256"], ""),
            ("of-tls13", ["TLS_AES_128_GCM_SHA256"], ""),
            ("standard-name", ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], ""),
            ("lower-case", ["ecdhe-rsa-aes128-gcm-sha256"], ""),
            ("dhe", ["DHE-RSA-AES128-GCM-SHA256"], ""),
            ("sha384", ["ECDHE-RSA-AES256-SHA384"], ""),
            ("aliases", ["ALL", "!aPSK", "-SHA1", "+AESGCM", "@STRENGTH"], ""),
            ("no-alias", ["ALL", "!ADH"], ""),
            ("intersection", ["ECDHE+AESGCM+aRSA"], ""),
            ("nothing-in-common", ["PSK+CHACHA20+aRSA"], ""),
            ("nothing-left", ["ALL", "-ALL"], ""),
            ("rule-behind-group", ["[AES128-SHA|AES256-SHA]", "-AES"], ""),
            ("triple-des", ["DES-CBC3-SHA"], "this OpenSSL has no 3DES"),
        )
    ],
    *[
        params(f"curves-{name}", f"ecdh_curves: {names}", stricter)
        for name, names, stricter in (
            ("all", ["X25519", "P-256", "P-384", "P-521"], ""),
            ("other-names", ["x25519", "prime256v1", "secp384r1", "secp521r1"], ""),
            ("twice", ["P-256", "prime256v1"], ""),
            ("p224", ["P-224"], ""),
            ("x448", ["X448"], ""),
            ("unknown", ["X25519", "bogus"], ""),
            ("empty", [""], ""),
            ("mlkem", ["X25519MLKEM768", "X25519"], _NO_MLKEM),
        )
    ],
    *[
        params(f"signatures-{name}", f"signature_algorithms: {names}", stricter)
        for name, names, stricter in (
            ("some", ["ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "rsa_pkcs1_sha1", "ed25519"], ""),
            ("parts", ["ECDSA+SHA256", "RSA-PSS+SHA384", "PSS+SHA512", "RSA+SHA1"], ""),
            ("twice", ["RSA+SHA256", "rsa_pkcs1_sha256"], ""),
            ("unknown", ["bogus"], ""),
            ("pss-pss", ["rsa_pss_pss_sha256"], ""),
            ("ed448", ["ed448"], ""),
            ("mldsa", ["mldsa44"], "OpenSSL 3.0 has no ML-DSA"),
        )
    ],
    params("fips", "compliance_policies: [FIPS_202205]"),
    # Validation contexts
    down("valid-without-requirement", f"validation_context: {{{CA}}}"),
    valid("ca", CA),
    valid("ca-missing", "trusted_ca: {filename: /nonexistent/ca}"),
    valid("ca-empty", "trusted_ca: {filename: /dev/null}"),
    valid("ca-no-variable", "trusted_ca: {environment_variable: PROXENY_NO_SUCH_VARIABLE}"),
    valid("ca-junk", "trusted_ca: {inline_string: junk}"),
    valid("ca-is-a-key", f"trusted_ca: {_OTHER_KEY}"),
    valid("ca-and-crl-in-one", f"trusted_ca: {text(ROOT.pem + ROOT.crl())}"),
    valid("ca-is-a-crl", f"trusted_ca: {text(ROOT.crl())}"),
    valid("crl", f"{CA}, crl: {text(ROOT.crl([LEAF]))}, only_verify_leaf_cert_crl: true"),
    valid("crl-junk", f"{CA}, crl: {{inline_string: junk}}"),
    valid("crl-missing", f"{CA}, crl: {{filename: /nonexistent/crl}}"),
    valid("crl-without-ca", f"crl: {text(ROOT.crl())}"),
    valid("expired-without-ca", "allow_expired_certificate: true"),
    valid("untrusted", "trust_chain_verification: ACCEPT_UNTRUSTED"),
    valid("timestamps", f"{CA}, require_signed_certificate_timestamp: true"),
    valid("provider", "ca_certificate_provider_instance: {instance_name: x}", "Envoy ignores it and verifies nobody"),
    valid("system-roots", "system_root_certs: {}"),
    valid("client-ca-list", f"{CA}, suppress_client_ca_list: true"),
    valid("depth", f"{CA}, max_verify_depth: 100"),
    valid("hash", f"verify_certificate_hash: ['{_HASH}']"),
    valid("hash-with-colons", f"verify_certificate_hash: ['{':'.join([_HASH[i : i + 2] for i in range(0, 64, 2)])}']"),
    valid("hash-long", f"verify_certificate_hash: ['{_HASH}aabbcc']"),
    valid("hash-not-hex", f"verify_certificate_hash: ['{'z' * 64}']"),
    valid("key", f"verify_certificate_spki: ['{LEAF.spki_pin}']"),
    valid("key-stray-bits", f"verify_certificate_spki: ['{'a' * 43}=']"),
    valid("key-not-base64", f"verify_certificate_spki: ['{'-' * 43}=']"),
    sans("dns", "{san_type: DNS, matcher: {exact: a}}"),
    sans("all", "{san_type: URI, matcher: {prefix: a}}, {san_type: EMAIL, matcher: {suffix: a}}, {san_type: IP_ADDRESS, matcher: {contains: a}}, {san_type: DNS, matcher: {safe_regex: {regex: a}}}"),
    sans("other-name", "{san_type: OTHER_NAME, oid: 1.2.3, matcher: {exact: a}}"),
    sans("other-name-named", "{san_type: OTHER_NAME, oid: msUPN, matcher: {exact: a}}"),
    sans("other-name-without-oid", "{san_type: OTHER_NAME, matcher: {exact: a}}"),
    sans("other-name-odd-oid", "{san_type: OTHER_NAME, oid: 1.2., matcher: {exact: a}}"),
    valid("san-without-ca", "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]"),
    valid("san-older", f"{CA}, match_subject_alt_names: [{{exact: a}}]"),
    valid("validator-unknown", f'custom_validator_config: {{name: x, typed_config: {{"@type": {TYPE}/google.protobuf.Struct}}}}'),
    spiffe("one", f"trust_domains: [{_DOMAIN}]"),
    spiffe("none", ""),
    spiffe("twice", f"trust_domains: [{_DOMAIN}, {_DOMAIN}]"),
    spiffe("without-bundle", "trust_domains: [{name: a}]"),
    spiffe("junk-bundle", "trust_domains: [{name: a, trust_bundle: {inline_string: junk}}]"),
    spiffe("missing-bundle", "trust_domains: [{name: a, trust_bundle: {filename: /nonexistent/bundle}}]"),
    spiffe("san-without-ca", f"trust_domains: [{_DOMAIN}]", ", match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: a}}], allow_expired_certificate: true"),
    spiffe("map-junk", "trust_bundles: {inline_string: x}"),
    spiffe("map-without-domains", "trust_bundles: {inline_string: '{}'}"),
    spiffe("map-without-keys", """trust_bundles: {inline_string: '{"trust_domains": {"a.test": {}}}'}"""),
    spiffe("map-without-use", """trust_bundles: {inline_string: '{"trust_domains": {"a.test": {"keys": [{"kty": "EC"}]}}}'}"""),
    spiffe("map-junk-certificate", """trust_bundles: {inline_string: '{"trust_domains": {"a.test": {"keys": [{"use": "x509-svid", "x5c": ["AAAA"]}]}}}'}"""),
    # Clients
    up("plain"),
    up("sni", more="sni: a.test\nauto_host_sni: true\nmax_session_keys: 0"),
    up("sni-with-nul", more='sni: "a\\0b"'),
    up("two", f"tls_certificates: [{GOOD}, {GOOD}]"),
    up("own-and-secret", f"tls_certificates: [{GOOD}], tls_certificate_sds_secret_configs: [{{name: x}}]"),
    up("small-rsa", f"tls_certificates: [{pair(SMALL.pem, SMALL.key_pem)}]"),
    up("unstapled", f"tls_certificates: [{pair(STAPLED.pem, STAPLED.key_pem)}]"),
    up("auto-san", f"validation_context: {{{CA}}}", "auto_sni_san_validation: true"),
    up("auto-san-without-validation", more="auto_sni_san_validation: true"),
    up("auto-san-without-ca", "validation_context: {}", "auto_sni_san_validation: true"),
    up("renegotiation", more="allow_renegotiation: true", stricter="OpenSSL's renegotiation is not offered"),
    up("key-usage", more="enforce_rsa_key_usage: false"),
]  # fmt: skip
