"""Pages about the server, and the commands that change it."""

import json

import pytest

from proxeny.admin.context import UnreadyTargets
from proxeny.secret.certificates import ContextCertificates, ShownCertificate
from proxeny.testing.certificates import Authority


def test_server_info(get):
    info = json.loads(get("/server_info")[1])
    assert list(info)[:5] == ["version", "state", "uptime_current_epoch", "uptime_all_epochs", "hot_restart_version"]
    assert (info["state"], info["uptime_current_epoch"], info["uptime_all_epochs"]) == ("LIVE", "7s", "9s")
    options = info["command_line_options"]
    assert (options["mode"], options["drain_strategy"], options["concurrency"]) == ("Serve", "Immediate", 2)
    assert (options["drain_time"], options["file_flush_interval"]) == ("600s", "10s")
    assert (options["local_address_ip_version"], options["stats_tag"], options["log_path"]) == ("v6", ["a:b"], "")
    assert info["node"]["id"] == "n"


def test_ready_follows_the_state(get, post):
    assert get("/ready") == (200, "LIVE\n")
    assert post("/healthcheck/fail") == (200, "OK\n")
    assert get("/ready") == (503, "DRAINING\n")
    assert post("/healthcheck/ok") == (200, "OK\n")
    assert get("/ready") == (200, "LIVE\n")


def test_what_initialization_waits_for(get, server):
    assert get("/init_dump?mask=listener") == (200, "{}\n")
    server.unready = [UnreadyTargets("init manager l", ["target a"]), UnreadyTargets("init manager m", [])]
    dumps = [{"name": "init manager l", "target_names": ["target a"]}, {"name": "init manager m"}]
    for query in "", "?mask=", "?mask=listener":
        assert json.loads(get(f"/init_dump{query}")[1]) == {"unready_targets_dumps": dumps}
    assert get("/init_dump?mask=x") == (200, "{}\n")


def test_small_pages(get):
    assert get("/certs") == (200, '{\n "certificates": []\n}\n')
    assert get("/hot_restart_version") == (200, "disabled")
    assert json.loads(get("/memory")[1])["total_physical_bytes"] == "3"


def test_commands(server, post):
    for path, call in (
        ("/quitquitquit", "shutdown"),
        ("/reopen_logs", "reopen_logs"),
        ("/drain_listeners?inboundonly", ("drain", False, False, True)),
        ("/drain_listeners?graceful&skip_exit", ("drain", True, True, False)),
    ):
        assert post(path) == (200, "OK\n")
        assert server.calls.pop() == call


def test_runtime(get, post, server):
    assert post("/runtime_modify?a=2")[0] == 200
    assert json.loads(get("/runtime")[1]) == {
        "layers": ["base", "admin"],
        "entries": {"a": {"final_value": "2", "layer_values": ["1", "2"]}},
    }
    assert post("/runtime_modify", b"a=3&b=x%20y")[0] == 200
    assert server.runtime.admin == {"a": "3", "b": "x y"}
    status, body = post("/runtime_modify")
    assert (status, body.partition("\n")[0]) == (400, "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN")
    server.runtime.has_admin_layer = False
    assert post("/runtime_modify?a=1") == (503, "No admin layer specified")


def test_log_levels(post, server):
    assert post("/logging") == (200, "active loggers:\n  admin: info\n  main: info\n\n")
    assert post("/logging?level=debug")[1] == "active loggers:\n  admin: debug\n  main: debug\n\n"
    assert post("/logging?admin=error")[1] == "active loggers:\n  admin: error\n  main: debug\n\n"
    assert post("/logging?paths=admin:off,main:trace")[1] == "active loggers:\n  admin: off\n  main: trace\n\n"
    assert post("/logging?paths=main:info,")[0] == 200
    assert server.levels == {"admin": "off", "main": "info"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("level=foo", "unknown logger level"),
        ("foo=debug", "unknown logger name"),
        ("paths=admin:debug,x:info", "unknown logger name"),
        ("paths=admin:foo", "unknown logger level"),
        ("a=b&c=d", "invalid number of parameters"),
        ("paths=:debug", "empty logger name or empty logger level"),
        ("group=main:debug", "group parameter requires fine-grain logging to be enabled"),
    ],
)
def test_bad_levels_change_nothing(post, server, query, words):
    status, body = post(f"/logging?{query}")
    assert status == 400
    assert body.startswith(f"error: {words}\n\nusage: /logging?<name>=<level> (change single level)\n")
    assert set(server.levels.values()) == {"info"}


def test_profilers_answer_as_builds_without_them(get, post):
    assert post("/cpuprofiler") == (400, "?enable=<y|n>\n")
    assert post("/cpuprofiler?enable=y") == (500, "failure to start the profiler")
    assert post("/heapprofiler?enable=y") == (501, "The current build does not support heap profiler")
    assert post("/heapprofiler?enable=n") == (200, "OK\n")
    assert post("/allocprofiler?enable=true") == (400, "?enable=<y|n>\n")
    assert get("/heap_dump")[0] == get("/memory/tcmalloc")[0] == 501
    assert get("/contention")[0] == 200


def test_certificates(get, server):
    root = Authority("root")
    leaf = root.issue("leaf", "DNS:a.test", "IP:2001:db8::1", "email:a@b.test", "URI:spiffe://a/b")
    staple = root.ocsp_response(leaf)
    own = [ShownCertificate("own", "/leaf.crt", leaf.x509, staple)]
    server.contexts = [ContextCertificates("cluster.a.", [ShownCertificate("ca", "<inline>", root.x509)], own)]
    status, body = get("/certs")
    assert status == 200
    assert '"path": "\\u003cinline\\u003e"' in body
    [context] = json.loads(body)["certificates"]
    [ca], [certificate] = context["ca_cert"], context["cert_chain"]
    assert ca["subject_alt_names"] == []
    assert list(certificate) == [
        "path",
        "serial_number",
        "subject_alt_names",
        "days_until_expiration",
        "valid_from",
        "expiration_time",
        "ocsp_details",
    ]
    assert certificate["serial_number"].lstrip("0") == leaf.serial_number.lstrip("0")
    assert certificate["subject_alt_names"] == [
        {"dns": "a.test"},
        {"uri": "spiffe://a/b"},
        {"ip_address": "2001:db8::1"},
    ]
    assert certificate["days_until_expiration"] in ("29", "30")
    assert certificate["expiration_time"] == f"{leaf.x509.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert list(certificate["ocsp_details"]) == ["valid_from", "expiration"]
