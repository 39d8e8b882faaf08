"""``POST /explain``: what becomes of a connection, and why. Envoy has no such page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.admin.query import Query, parse_parameters
from proxeny.admin.response import AdminResponse, respond, respond_json
from proxeny.config.errors import ConfigError
from proxeny.explain.connection import explain_connection
from proxeny.explain.facts import parse_facts
from proxeny.explain.render import as_json, as_text

if TYPE_CHECKING:
    from proxeny.admin.context import AdminContext


class ExplainHandler:
    """Answers by the listeners that serve now."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def explain(self, query: Query, body: bytes) -> AdminResponse:
        """Parameters may be in the query or in the body, as a form's."""
        form = parse_parameters(body.decode("utf-8", "surrogateescape"))
        parameters = {**form, **query.parameters}
        try:
            facts = parse_facts(parameters)
        except ConfigError as error:
            return respond(f"{error.message}\n", 400)
        explanation = explain_connection(self._context.compiled_listeners(), facts)
        if parameters.get("format") == "json":
            return respond_json(as_json(explanation))
        return respond(as_text(explanation))
