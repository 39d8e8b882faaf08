"""Admin calls, good and hostile: status, headers and close; bodies where they hold nothing of the process."""

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, case_id, request
from tests.differential.wire import End


def call(
    name: str,
    path: str,
    *,
    method: str = "GET",
    status: int = 200,
    body: bool = False,
    headers: str = "",
    contains: tuple[str, ...] = (),
) -> Case:
    data = f"{method} {path} HTTP/1.1\r\nHost: admin.test\r\n{headers}\r\n".encode("latin-1")
    ignore = ("^stat", "^log") if body else ("^stat", "^log", r"^client 0 < +(body|content-length)")
    return Case(
        name,
        request(data, head_only=method == "HEAD"),
        listener="admin",
        status=status,
        ignore=ignore,
        logged=0,
        contains=contains,
    )


CALLS = [
    call("ready", "/ready", body=True),
    call("ready_head", "/ready", method="HEAD"),
    call("ready_post", "/ready", method="POST", headers="Content-Length: 0\r\n"),
    call("ready_query", "/ready?x=y", body=True),
    call("root", "/"),
    call("help", "/help"),
    call("stats", "/stats"),
    call("stats_json", "/stats?format=json"),
    call("stats_prometheus", "/stats/prometheus"),
    call("stats_format_prometheus", "/stats?format=prometheus"),
    call("stats_used_only", "/stats?usedonly"),
    call("stats_filter", "/stats?filter=^server\\.live$", body=True),
    call("stats_filter_nothing", "/stats?filter=^no_such_stat$", body=True),
    call("stats_filter_bad_regex", "/stats?filter=(", status=400),
    call("stats_format_unknown", "/stats?format=blergh", status=400),
    call("stats_type_counters", "/stats?type=Counters"),
    call("stats_type_unknown", "/stats?type=blergh", status=400),
    call("clusters", "/clusters"),
    call("clusters_json", "/clusters?format=json"),
    call("listeners", "/listeners"),
    call("listeners_json", "/listeners?format=json"),
    call("config_dump", "/config_dump"),
    call("config_dump_resource", "/config_dump?resource=static_listeners"),
    call("config_dump_unknown", "/config_dump?resource=blergh", status=404),
    call("config_dump_mask", "/config_dump?mask=bootstrap"),
    call("server_info", "/server_info"),
    call("memory", "/memory"),
    call("certs", "/certs", body=True),
    call("logging_get_refused", "/logging", status=405),
    call("logging", "/logging", method="POST", headers="Content-Length: 0\r\n"),
    call("logging_unknown_level", "/logging?level=blergh", method="POST", status=400, headers="Content-Length: 0\r\n"),
    call("reset_counters_get_refused", "/reset_counters", status=405),
    call("quit_get_refused", "/quitquitquit", status=405, body=True),
    call("quit_get_encoded", "/%71uitquitquit", status=405),
    call("quit_get_double_slash", "//quitquitquit", status=405),
    Case(  # Envoy sends a body with it, which a client takes for the next answer: that is not to be copied
        "quit_head_refused",
        request(b"HEAD /quitquitquit HTTP/1.1\r\nHost: admin.test\r\n\r\n", head_only=True),
        listener="admin",
        status=405,
        logged=0,
        ignore=("^stat", r"^client 0 (connection|< +(body|content-length))"),
    ),
    call("healthcheck_fail_get_refused", "/healthcheck/fail", status=405),
    call("healthcheck_ok", "/healthcheck/ok", method="POST", headers="Content-Length: 0\r\n", body=True),
    call("unknown", "/blergh", status=404),
    call("unknown_prefix", "/readyx", status=404),
    call("encoded_nul", "/%00", status=400),
    call("script_in_path", "/<script>alert(1)</script>", status=404),
    call("query_100_kb", "/stats?filter=" + "a" * 100_000, status=431),
    Case(
        "bad_bytes",
        (b"\x00\x01\x02\r\n\r\n", Reply(), Do("end")),
        listener="admin",
        status=400,
        end=End.CLOSED,
        logged=0,
        ignore=("^stat",),
    ),
    Case(
        "http10",
        (b"GET /ready HTTP/1.0\r\n\r\n", Reply(), Do("end")),
        listener="admin",
        end=End.CLOSED,
        logged=0,
        ignore=("^stat",),
    ),
]


@pytest.mark.parametrize("case", CALLS, ids=case_id)
def test_admin(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
