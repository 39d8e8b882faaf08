"""Configurations to judge: small snippets put into a valid bootstrap, each under a name of its own.

A snippet replaces or adds the fields of one place: the whole bootstrap, a cluster, a listener, a connection manager, a
virtual host, a route. Envoy's verdict is asked for when the test runs. `stricter` says why Proxeny may refuse what
Envoy accepts; nothing may be accepted that Envoy refuses.
"""

from dataclasses import dataclass
from textwrap import dedent, indent

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
TYPE = "type.googleapis.com"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One configuration; `suffix` is the file's ending, which decides how it is read."""

    name: str
    text: str
    stricter: str = ""
    suffix: str = ".yaml"


def _put(template: str, text: str) -> str:
    """`template` with the line `@` replaced by `text`, indented as the mark is."""
    lines: list[str] = []
    for line in dedent(template).strip("\n").split("\n"):
        if line.strip() == "@":
            lines.append(indent(dedent(text).strip("\n"), line[: line.index("@")]))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def bootstrap(name: str, text: str, stricter: str = "", suffix: str = ".yaml") -> Verdict:
    """The whole bootstrap is `text`."""
    return Verdict(f"bootstrap-{name}", dedent(text), stricter, suffix)


def cluster(name: str, fields: str, stricter: str = "") -> Verdict:
    """A STATIC cluster `one` with further fields (`type: STATIC` only where `fields` says nothing else)."""
    kind = "" if "\ntype:" in "\n" + dedent(fields) or "cluster_type:" in fields else "type: STATIC\n"
    text = _put(
        """
        static_resources:
          clusters:
          - name: one
            @
        """,
        kind + dedent(fields),
    )
    return Verdict(f"cluster-{name}", text, stricter)


def listener(name: str, fields: str, stricter: str = "", address: str = "", more: str = "") -> Verdict:
    """A listener with an echo chain and `fields`; `more` is put behind it in the list of listeners."""
    chains = "" if "filter_chains:" in fields else f"filter_chains: [{{filters: [{ECHO}]}}]\n"
    address = address or "{socket_address: {address: 127.0.0.1, port_value: 0}}"
    addressed = "" if address == "none" else f"address: {address}\n"
    text = _put(
        """
        static_resources:
          listeners:
          - name: first
            @
        """,
        addressed + chains + dedent(fields),
    )
    return Verdict(f"listener-{name}", text + indent(dedent(more), "  "), stricter)


ECHO = f'{{name: echo, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.network.echo.v3.Echo}}}}'
ROUTER_FILTER = f'{{name: envoy.filters.http.router, typed_config: {{"@type": {TYPE}/{ROUTER}}}}}'


def manager(name: str, fields: str, stricter: str = "", filters: str = ROUTER_FILTER, routed: bool = True) -> Verdict:
    """An HTTP connection manager with `fields`."""
    parts = "" if "stat_prefix:" in fields else "stat_prefix: s\n"
    parts += "" if "http_filters:" in fields or not filters else f"http_filters: [{filters}]\n"
    parts += "route_config: {name: r}\n" if routed and "route_config:" not in fields else ""
    text = _put(
        f"""
        static_resources:
          clusters: [{{name: one, type: STATIC}}, {{name: two, type: STATIC}}]
          listeners:
          - name: first
            address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
            filter_chains:
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": {TYPE}/{HCM}
                  @
        """,
        parts + dedent(fields),
    )
    return Verdict(f"manager-{name}", text, stricter)


def hosts(name: str, text: str, stricter: str = "", config: str = "") -> Verdict:
    """Virtual hosts (a YAML list), with further fields `config` of the RouteConfiguration."""
    fields = "route_config:\n" + indent(dedent(config) + "virtual_hosts:\n" + dedent(text), "  ")
    made = manager(name, fields, stricter)
    return Verdict(f"hosts-{name}", made.text, stricter)


def route(name: str, fields: str, stricter: str = "") -> Verdict:
    """One route; `match` and `direct_response` are added where `fields` has none."""
    body = dedent(fields).strip("\n")
    body += "" if "match:" in body else "\nmatch: {prefix: /}"
    acts = ("route:", "redirect:", "direct_response:", "filter_action:", "non_forwarding_action:")
    has_action = any(line.startswith(acts) for line in body.split("\n")) or name.startswith("no-action")
    body += "" if has_action else "\ndirect_response: {status: 200}"
    lines = indent(body.strip("\n"), "    ").strip()
    made = hosts(name, f"- name: v\n  domains: ['*']\n  routes:\n  - {lines}\n", stricter)
    return Verdict(f"route-{name}", made.text, stricter)


def access_log(name: str, text: str, stricter: str = "") -> Verdict:
    """One access log (flow or block mapping) of the connection manager."""
    made = manager(name, "access_log:\n- " + indent(dedent(text).strip("\n"), "  ").strip() + "\n", stricter)
    return Verdict(f"log-{name}", made.text, stricter)
