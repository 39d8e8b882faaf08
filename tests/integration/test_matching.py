"""Routes that depend on what filters leave behind: matched again once a filter clears the route."""

import http.client
from collections.abc import Callable
from pathlib import Path

from proxeny.testing import RunningProxy

FILTER = """
import proxeny

class Tag(proxeny.HttpFilter):
    def on_request(self, request):
        tag = request.headers.get("x-tag")
        if tag is not None:
            request.metadata.setdefault("tags", {})["tag"] = tag
        if "x-clear" in request.headers:
            request.clear_route()
"""

CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: tag
            typed_config:
              "@type": type.googleapis.com/proxeny.filters.http.python.v3.Python
              filter: tagging:Tag
              python_path: [{folder}]
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            name: web
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  prefix: /
                  dynamic_metadata: [{{filter: tags, path: [{{key: tag}}], value: {{string_match: {{exact: gold}}}}}}]
                direct_response: {{status: 200, body: {{inline_string: gold}}}}
              - match: {{prefix: /}}
                direct_response: {{status: 200, body: {{inline_string: plain}}}}
"""


def test_a_route_by_metadata(proxy: Callable[..., RunningProxy], tmp_path: Path) -> None:
    (tmp_path / "tagging.py").write_text(FILTER)
    port = proxy(CONFIG.format(folder=tmp_path)).port("web")

    def body(**headers: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
            return connection.getresponse().read()
        finally:
            connection.close()

    assert body() == b"plain"
    assert body(x_tag="gold") == b"plain"
    assert body(x_tag="gold", x_clear="1") == b"gold"
    assert body(x_tag="silver", x_clear="1") == b"plain"
