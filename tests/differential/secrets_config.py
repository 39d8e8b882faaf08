"""The bootstrap of the sequences of secrets: listeners, clusters, first files."""

import base64
from collections.abc import Callable
from typing import Any

from tests.differential.sds import (
    CLIENT,
    ONE,
    ROOT,
    RSA,
    STRANGER,
    TICKET_KEYS,
    Json,
    Side,
    cluster,
    in_files,
    inline,
    listener,
    secret,
    trusting,
)

from proxeny.testing.certificates import Certificate

LISTENERS: dict[str, Callable[[Side], Json]] = {}
"""Name of a listener -> its CommonTlsContext, or the whole listener."""


def named(*references: Json) -> Json:
    """Certificates by reference."""
    return {"tls_certificate_sds_secret_configs": list(references)}


def discovered(name: str, certificate: Certificate) -> Callable[[Side], Json]:
    """A certificate that is inline in a discovered secret."""
    return lambda side: named(side.first(name, secret(name, tls_certificate=inline(certificate))))


def bootstrap(side: Side) -> Json:
    """All cases' listeners and clusters."""
    files = side.folder
    listeners = []
    for name, make in LISTENERS.items():
        made = make(side)
        listeners.append(made if "filter_chains" in made else listener(name, made))
    secrets = [
        {"name": "static", "tls_certificate": in_files(files, "one.crt", "one.key")},
        {"name": "static", "validation_context": trusting(ROOT)},
        {"name": "static", "session_ticket_keys": {"keys": [{"filename": str(files / "ticket0")}]}},
        {"name": "static", "generic_secret": {"secret": {"inline_string": "password"}}},
    ]
    return {
        "node": {"id": "node", "cluster": "cluster"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {"lds_config": side.source("lds"), "cds_config": side.source("cds")},
        "static_resources": {"secrets": secrets, "listeners": listeners, "clusters": CLUSTERS(side)},
    }


def CLUSTERS(side: Side) -> list[Json]:
    """All to listeners of this proxy: `mutual` wants certificates of ROOT."""
    here = {"sni": "any.test"}
    by_validation = {"validation_context_sds_secret_config": side.first("uv", secret("uv", validation_context={}))}
    by_certificate = named(side.first("uc", secret("uc", tls_certificate=inline(STRANGER))))
    empty = named(side.first("un"))
    mixed = named(side.first("ux", secret("ux", tls_certificate=inline(CLIENT))))
    mixed["validation_context_sds_secret_config"] = side.first("uy", secret("uy", validation_context=trusting(ROOT)))
    return [
        cluster("validating", side.pipe("mutual_off"), by_validation, **here),
        cluster("showing", side.pipe("mutual"), by_certificate, **here),
        cluster("waiting", side.pipe("mutual"), empty, **here),
        cluster("both", side.pipe("mutual"), mixed, **here),
    ]


def downstream(name: str, common: Callable[[Side], Json], **more: Any) -> None:
    LISTENERS[name] = lambda side: listener(name, common(side), **_made(side, more))


def _made(side: Side, more: Json) -> Json:
    return {key: value(side) if callable(value) else value for key, value in more.items()}


LISTENERS["static_secrets"] = lambda side: named({"name": "static"})
LISTENERS["inline"] = discovered("inline", ONE)
LISTENERS["bad_pair"] = discovered("bad_pair", ONE)
LISTENERS["no_file"] = discovered("no_file", ONE)
LISTENERS["no_text"] = discovered("no_text", ONE)
LISTENERS["wrong"] = discovered("wrong", ONE)
LISTENERS["kind"] = discovered("kind", ONE)
LISTENERS["again"] = discovered("again", ONE)
LISTENERS["nothing"] = lambda side: named(side.first("nothing"))
LISTENERS["refused_first"] = lambda side: named(side.first("refused_first", secret("other", generic_secret={})))
LISTENERS["shared_a"] = discovered("shared", ONE)
LISTENERS["shared_b"] = discovered("shared", ONE)
LISTENERS["pair"] = lambda side: named(
    side.first("pair_ec", secret("pair_ec", tls_certificate=inline(ONE))),
    side.first("pair_rsa", secret("pair_rsa", tls_certificate=inline(RSA))),
)
LISTENERS["half"] = lambda side: named(
    side.first("half_there", secret("half_there", tls_certificate=inline(ONE))), side.first("half_missing")
)


def deprecated_path(side: Side) -> Json:
    reference = side.first("old_path", secret("old_path", tls_certificate=inline(ONE)))
    reference["sds_config"] = {"path": reference["sds_config"]["path_config_source"]["path"]}
    return named(reference)


LISTENERS["old_path"] = deprecated_path


def files_in(name: str, watched: bool) -> Callable[[Side], Json]:
    """A certificate in files: behind the link ``name``, or in a folder of its own."""

    def make(side: Side) -> Json:
        folder = side.make_folder(f"{name}1", ONE)
        more: Json = {}
        if watched:
            folder = side.folder / f"{name}link" / "link"
            folder.parent.mkdir()
            folder.symlink_to(f"../{name}1")
            more["watched_directory"] = {"path": str(folder.parent)}
        return named(side.first(name, secret(name, tls_certificate=in_files(folder, **more))))

    return make


LISTENERS["moved"] = files_in("moved", False)
LISTENERS["watched"] = files_in("watched", True)
LISTENERS["failing"] = files_in("failing", False)
LISTENERS["kubernetes"] = files_in("kubernetes", True)

ASKING = {"require_client_certificate": True}


def with_validation(name: str, **kind: Any) -> Callable[[Side], Json]:
    """A server that asks for certificates; the validation context is discovered."""

    def make(side: Side) -> Json:
        reference = side.first(name, *([secret(name, validation_context=kind)] if kind else []))
        return {"tls_certificates": [inline(ONE)], "validation_context_sds_secret_config": reference}

    return make


def combined(side: Side) -> Json:
    reference = side.first("combined", secret("combined", validation_context=trusting(ROOT)))
    names = [{"san_type": "DNS", "matcher": {"exact": "client.test"}}]
    default = {"match_typed_subject_alt_names": names}
    both = {"default_validation_context": default, "validation_context_sds_secret_config": reference}
    return {"tls_certificates": [inline(ONE)], "combined_validation_context": both}


def shown_in_files(side: Side) -> Json:
    """Everything that /certs tells."""
    own = in_files(side.folder, "shown.crt", "shown.key", ocsp_staple={"filename": str(side.folder / "shown.ocsp")})
    bundle = {"trusted_ca": {"filename": str(side.folder / "bundle.ca")}}
    return {"tls_certificates": [own, inline(RSA)], "validation_context": bundle}


def shown_bundle(side: Side) -> Json:
    return {"tls_certificates": [{"pkcs12": {"filename": str(side.folder / "shown.p12")}}]}


LISTENERS["shown_in_files"] = shown_in_files
LISTENERS["shown_bundle"] = shown_bundle


def static_validation(side: Side) -> Json:
    return {"tls_certificates": [inline(ONE)], "validation_context_sds_secret_config": {"name": "static"}}


downstream("validation", with_validation("validation", **trusting(ROOT)), **ASKING)
downstream("no_validation", with_validation("no_validation"), **ASKING)
downstream("combined", combined, **ASKING)
downstream("static_validation", static_validation, **ASKING)
downstream("mutual", static_validation, **ASKING, pipe=lambda side: side.pipe("mutual"))
downstream("mutual_off", lambda side: {"tls_certificates": [inline(ONE)]}, pipe=lambda side: side.pipe("mutual_off"))


def ticket_keys(*numbers: int) -> Json:
    return {"keys": [{"inline_bytes": _base64(TICKET_KEYS[number])} for number in numbers]}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def tickets(name: str) -> Callable[[Side], Json]:
    return lambda side: side.first(name, secret(name, session_ticket_keys=ticket_keys(0)))


for name in ("tickets", "bad_tickets"):
    downstream(
        name,
        lambda side: {"tls_certificates": [inline(ONE)]},
        session_ticket_keys_sds_secret_config=tickets(name),
    )
downstream(
    "static_tickets",
    lambda side: {"tls_certificates": [inline(ONE)]},
    session_ticket_keys_sds_secret_config={"name": "static"},
)
LISTENERS["plain"] = lambda side: listener(
    "plain",
    None,
    *[
        {"match": {"prefix": f"/{name}"}, "route": {"cluster": name}}
        for name in ("validating", "showing", "waiting", "both")
    ],
    {"match": {"prefix": "/later"}, "route": {"cluster_header": "x-cluster"}},
)
