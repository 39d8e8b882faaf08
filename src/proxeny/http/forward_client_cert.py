"""``x-forwarded-client-cert`` (Envoy: ``ConnectionManagerUtility::mutateXfccRequestHeader``).

By default it is removed from requests, which is none of this module's business: it is there for connection managers
that forward or set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.matching import HTTP_INPUT, HttpMatchingData
from proxeny.matcher.tree_compiler import MatchTreeCompiler

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.matcher.tree import MatchTree
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.ssl_connection import SslConnectionInfo
    from proxeny.network.stream_info import StreamInfo

XFCC: Final = b"x-forwarded-client-cert"
ACTION_KIND: Final = "forward_client_cert_action"
SANITIZE: Final = 0
FORWARD_ONLY: Final = 1
APPEND_FORWARD: Final = 2
SANITIZE_SET: Final = 3
ALWAYS_FORWARD_ONLY: Final = 4


class ForwardClientCert:
    """One mode, and the facts of the client's certificate that it sets."""

    __slots__ = ("_details", "_mode")

    def __init__(self, mode: int, details: Any) -> None:
        """``details``: SetCurrentClientCertDetails."""
        self._mode = mode
        wanted = (
            ("cert", details.cert),
            ("chain", details.chain),
            ("subject", details.subject.value),
            ("uri", details.uri),
            ("dns", details.dns),
        )
        self._details = tuple([name for name, present in wanted if present])

    def apply(self, headers: HeaderMap, ssl: SslConnectionInfo | None) -> None:
        """Keep, remove, set or extend the header; ``ssl`` is None on a plain-text connection."""
        mode = self._mode
        if mode == ALWAYS_FORWARD_ONLY:
            return
        if mode == SANITIZE or ssl is None or not ssl.peer_certificate_presented:
            headers.remove(XFCC)
        elif mode == APPEND_FORWARD:
            headers.append_value(XFCC, self.describe(ssl), b",")
        elif mode == SANITIZE_SET:
            headers.set(XFCC, self.describe(ssl))

    def describe(self, ssl: SslConnectionInfo) -> bytes:
        """The element of this connection."""
        parts = [f"By={uri}" for uri in ssl.uri_sans_local_certificate]
        if ssl.sha256_peer_certificate_digest:
            parts.append(f"Hash={ssl.sha256_peer_certificate_digest}")
        for name in self._details:
            if name == "cert":
                if ssl.url_encoded_pem_peer_certificate:
                    parts.append(f'Cert="{ssl.url_encoded_pem_peer_certificate}"')
            elif name == "chain":
                if ssl.url_encoded_pem_peer_certificate_chain:
                    parts.append(f'Chain="{ssl.url_encoded_pem_peer_certificate_chain}"')
            elif name == "subject":
                parts.append(f'Subject="{ssl.subject_peer_certificate}"')
            elif name == "uri":
                parts += [f"URI={uri}" for uri in ssl.uri_sans_peer_certificate] or ["URI="]
            else:
                parts += [f"DNS={name}" for name in ssl.dns_sans_peer_certificate]
        return ";".join(parts).encode("utf-8", "surrogateescape")


class ForwardClientCertRules:
    """The connection manager's mode, and modes by request (``forward_client_cert_matcher``)."""

    __slots__ = ("_default", "_tree")

    def __init__(self, default: ForwardClientCert, tree: MatchTree | None) -> None:
        self._default = default
        self._tree = tree

    def apply(self, headers: HeaderMap, info: StreamInfo) -> None:
        """As the action that matches says, else as the connection manager."""
        rules = self._default
        if self._tree is not None:
            action = self._tree.match(HttpMatchingData(headers, info))
            if isinstance(action, ForwardClientCert):
                rules = action
        rules.apply(headers, info.connection.ssl)


class ForwardClientCertActionFactory:
    """The action of a ``forward_client_cert_matcher``."""

    def create_action(self, message: Any, context: FactoryContext) -> ForwardClientCert:
        """From a ForwardClientCertConfig."""
        return ForwardClientCert(message.forward_client_cert_details, message.set_current_client_cert_details)


ACTION: Final = ForwardClientCertActionFactory()


def compile_forward_client_cert(config: Any, context: FactoryContext) -> ForwardClientCertRules | None:
    """None where the header is simply removed."""
    mode = config.forward_client_cert_details
    tree = None
    if config.HasField("forward_client_cert_matcher"):
        tree = MatchTreeCompiler(context, HTTP_INPUT, ACTION_KIND).tree(config.forward_client_cert_matcher)
    elif mode == SANITIZE:
        return None
    return ForwardClientCertRules(ForwardClientCert(mode, config.set_current_client_cert_details), tree)
