"""Paths, methods, headers, help and home page."""

import pytest

from proxeny.admin.handler import AdminHandler
from proxeny.admin.query import normalize, parse_query

MUTATORS = [
    "/allocprofiler", "/cpuprofiler", "/drain_listeners", "/healthcheck/fail", "/healthcheck/ok", "/heapprofiler",
    "/logging", "/quitquitquit", "/reopen_logs", "/reset_counters", "/runtime_modify", "/stats/recentlookups/clear",
    "/stats/recentlookups/disable", "/stats/recentlookups/enable",
]  # fmt: skip


@pytest.mark.parametrize("path", MUTATORS)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
def test_only_post_changes_anything(server, get, path, method):
    assert get(path, method) == (405, f"Method {method.decode()} not allowed, POST required.")
    assert server.calls == []


@pytest.mark.parametrize("path", ["//quitquitquit", "/%71uitquitquit", "/./quitquitquit", "/stats/../quitquitquit"])
def test_no_spelling_of_a_path_gets_around_that(server, get, path):
    assert get(path)[0] == 405
    assert server.calls == []


@pytest.mark.parametrize("path", ["/nope", "/nope?x=1", "/stats/", "/READY", "/ready%3Fx", "//", "/stats;a", "/%00"])
def test_unknown_paths_get_the_list_of_commands(get, path):
    status, body = get(path)
    assert status == 404
    assert body.startswith("invalid path. admin commands are:\n  /: Admin home page\n  /allocprofiler (POST): ")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("/a/./b/../c", "/a/c"),
        ("//a///b", "/a/b"),
        ("/%2e%2E/x", "/x"),
        ("/a%2fb", "/a%2fb"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("//.", "//"),
        ("/", "/"),
        ("/a/", "/a/"),
        ("", "/"),
    ],
)
def test_paths_are_normalised(raw, clean):
    assert normalize(raw) == clean


def test_the_first_value_of_a_parameter_counts():
    query = parse_query(b"/stats?filter=a%20b&filter=c&x&y=+&=z")
    assert query.parameters == {"filter": "a b", "x": "", "y": "+", "": "z"}


def test_pages_are_neither_cached_nor_sniffed(server):
    response = AdminHandler(server).run(b"GET", b"/ready")
    assert response.headers == [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"cache-control", b"no-cache, max-age=0"),
        (b"x-content-type-options", b"nosniff"),
    ]


def test_help_names_every_page(get):
    status, body = get("/help")
    assert status == 200
    assert body.startswith("admin commands are:\n  /: Admin home page\n")
    for path in [*MUTATORS, "/stats", "/clusters", "/listeners", "/config_dump", "/server_info", "/ready", "/certs"]:
        assert f"  {path}{' (POST)' if path in MUTATORS else ''}: " in body


def test_the_home_page_lets_nobody_change_things_by_a_link(get):
    status, body = get("/")
    assert status == 200
    assert "<a href='stats'>" in body
    assert "<form action='quitquitquit' method='post'>" in body
    assert "<a href='quitquitquit'>" not in body
