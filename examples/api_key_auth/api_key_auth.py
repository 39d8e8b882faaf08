"""API keys: who may come in, and as whom.

The configuration holds SHA-256 digests, not keys, so that a leaked configuration opens nothing:

    config:
      header: x-api-key
      consumers:
        alice: {digest: "<hex sha256 of the key>", scopes: [read]}

A route may ask for a scope (``PythonPerRoute.config.scope``) or need no key at all (``PythonPerRoute.disabled``).
"""

import hashlib
import hmac
import json

import proxeny


class ApiKeyAuth(proxeny.HttpFilter):
    """401 without a valid key, 403 without the scope; the upstream learns the consumer's name, never the key."""

    @classmethod
    def setup(cls, worker: proxeny.Worker) -> None:
        worker.header = cls.config.get("header", "x-api-key")
        worker.consumers = [
            (bytes.fromhex(consumer["digest"]), name, frozenset(consumer.get("scopes", ())))
            for name, consumer in cls.config["consumers"].items()
        ]

    def on_request(self, request: proxeny.Request) -> None:
        # Nobody but this filter says who the consumer is.
        request.headers.pop("x-consumer", None)
        key = request.headers.pop(self.worker.header, None)
        if key is None:
            self.refuse(request, 401, "an API key is required")
            return
        found = self.find(key)
        if found is None:
            self.refuse(request, 401, "unknown API key")
            return
        name, scopes = found
        scope = request.route_config.get("scope")
        if scope is not None and scope not in scopes:
            self.refuse(request, 403, f"the scope '{scope}' is required")
            return
        request.headers["x-consumer"] = name

    def find(self, key: str) -> tuple[str, frozenset[str]] | None:
        """The consumer of a key; every entry is compared, so that time tells nothing."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, name, scopes in self.worker.consumers:
            if hmac.compare_digest(known, digest):
                found = (name, scopes)
        return found

    def refuse(self, request: proxeny.Request, status: int, reason: str) -> None:
        """A JSON answer from the proxy."""
        headers = {"content-type": "application/json"}
        if status == 401:
            headers["www-authenticate"] = f'ApiKey header="{self.worker.header}"'
        request.respond(status, headers, json.dumps({"error": reason}), details="api_key_auth")
