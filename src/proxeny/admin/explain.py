"""``POST /explain``: what becomes of a connection or a request, and why; ``/explain/recent``: what went wrong lately.

Envoy has no such pages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxeny.admin.query import Query, all_values, parse_parameters
from proxeny.admin.response import AdminResponse, respond, respond_json
from proxeny.config.errors import ConfigError
from proxeny.explain import recent, render, request_render
from proxeny.explain.connection import explain_connection
from proxeny.explain.facts import parse_facts
from proxeny.explain.request import explain_request
from proxeny.explain.request_facts import parse_request_facts

if TYPE_CHECKING:
    from proxeny.admin.context import AdminContext
    from proxeny.explain.request_facts import RequestFacts


log = logging.getLogger("proxeny.admin")


class ExplainHandler:
    """Answers by the listeners that serve now."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def explain(self, query: Query, body: bytes) -> AdminResponse:
        """Parameters may be in the query or in the body, as a form's; with a URL a request is asked about."""
        form_text = body.decode("utf-8", "surrogateescape")
        parameters = {**parse_parameters(form_text), **query.parameters}
        try:
            if "url" in parameters:
                headers = [*all_values(query.text, "header"), *all_values(form_text, "header")]
                return self._request(parse_request_facts(parameters, headers), parameters.get("format") == "json")
            facts = parse_facts(parameters)
        except ConfigError as error:
            return respond(f"{error.message}\n", 400)
        explanation = explain_connection(self._context.world().listeners(), facts)
        if parameters.get("format") == "json":
            return respond_json(render.as_json(explanation))
        return respond(render.as_text(explanation))

    def recent(self, query: Query, body: bytes) -> AdminResponse:
        """The last requests that failed."""
        try:
            found = recent.recent_failures(self._context.recent_failures(), query.parameters, self._context.world())
        except ConfigError as error:
            return respond(f"{error.message}\n", 400)
        if query.parameters.get("format") == "json":
            return respond_json({"failed_requests": recent.as_json(found)})
        return respond(recent.as_text(found))

    def _request(self, facts: RequestFacts, as_json: bool) -> AdminResponse:
        try:
            explanation = explain_request(self._context.world(), facts)
        except ConfigError:
            raise
        except Exception as error:
            # A rehearsal runs much of the proxy: what goes wrong there is told, and the interface goes on.
            log.error("a request could not be explained", exc_info=True)
            return respond(f"the request could not be explained: {type(error).__name__}\n", 500)
        if as_json:
            return respond_json(request_render.as_json(explanation))
        return respond(request_render.as_text(explanation))
