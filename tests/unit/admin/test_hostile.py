"""Nothing that a client can send makes a page fail: random paths, queries and bodies."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxeny.admin.handler import AdminHandler

PATHS = st.sampled_from(
    [
        "/", "/stats", "/stats/prometheus", "/clusters", "/listeners", "/config_dump", "/server_info", "/logging",
        "/runtime_modify", "/runtime", "/init_dump", "/drain_listeners", "/cpuprofiler", "/help", "/ready",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    ["filter", "format", "type", "usedonly", "histogram_buckets", "resource", "mask", "name_regex", "include_eds",
     "level", "paths", "group", "enable", "invert_filter", "text_readouts", "pretty"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["json", "html", "prometheus", "detailed", "static_clusters", "bootstrap.node", "cluster.name"]),
    st.binary(max_size=12).map(lambda data: "".join(f"%{byte:02x}" for byte in data)),
    st.text(max_size=12),
)
QUERIES = st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=4)), VALUES), max_size=4)
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"\xff"])


@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(method=METHODS, path=PATHS, query=QUERIES, body=st.binary(max_size=40))
def test_every_request_gets_an_answer(server, method, path, query, body):
    text = path + "?" + "&".join(f"{name}={value}" for name, value in query)
    response = AdminHandler(server).run(method, text.encode("utf-8", "surrogateescape"), body)
    assert response.status in (200, 400, 404, 405, 500, 501, 503)
    assert isinstance(response.body, bytes) or all(isinstance(piece, bytes) for piece in response.body)


@settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.binary(max_size=60))
def test_every_path_gets_an_answer(server, path):
    assert AdminHandler(server).run(b"GET", path).status in (200, 400, 404, 405)
