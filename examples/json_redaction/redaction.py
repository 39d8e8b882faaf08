"""Masks fields of JSON answers before they leave.

    config: {fields: [password, ssn], mask: "***"}

Fields are found at any depth. A route may name its own (``PythonPerRoute.config.fields``). An answer that claims to be
JSON and is not, or that is compressed, is refused with a 502: what cannot be read cannot be redacted.
"""

import json
from typing import Any

import proxeny


class JsonRedaction(proxeny.HttpFilter):
    """Buffers JSON responses and masks the configured fields; other responses pass as they are."""

    buffer_response_body = True

    def on_request(self, request: proxeny.Request) -> None:
        # An upstream that compresses would hide the fields from us.
        request.headers.pop("accept-encoding", None)

    def on_response(self, response: proxeny.Response) -> None:
        if not is_json(response):
            response.skip_body()
        elif response.headers.get("content-encoding", "identity") != "identity":
            response.respond(502, body="the answer cannot be redacted", details="json_redaction")

    def on_response_body(self, response: proxeny.Response, body: bytes, end: bool) -> bytes | None:
        if not body:
            return None
        fields = frozenset(response.route_config.get("fields") or self.config["fields"])
        try:
            document = json.loads(body)
            redacted = redact(document, fields, self.config.get("mask", "***"))
        except (ValueError, RecursionError):
            response.respond(502, body="the answer cannot be redacted", details="json_redaction")
            return None
        response.headers.pop("etag", None)
        return json.dumps(redacted, ensure_ascii=False, separators=(",", ":")).encode()


def is_json(response: proxeny.Response) -> bool:
    """Whether the content type says JSON."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def redact(value: Any, fields: frozenset[str], mask: str) -> Any:
    """The value with the named members of all its objects masked."""
    if isinstance(value, dict):
        return {name: mask if name in fields else redact(item, fields, mask) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(item, fields, mask) for item in value]
    return value
