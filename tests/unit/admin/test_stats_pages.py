"""/stats in all formats, /stats/prometheus, /reset_counters: texts as Envoy 1.40 wrote them for the same values."""

import pytest

from proxeny.admin.numbers import shortest
from proxeny.stats.schema import Schema

PAGED = Schema("test_paged", ("rq_total", "x_rq_2xx"), ("rq_active",), ("length_ms",))
RQ_TOTAL, RQ_2XX, RQ_ACTIVE, LENGTH = range(4)


@pytest.fixture
def block(server):
    made = server.store.block(PAGED, "http.h.")
    made.add(RQ_TOTAL, 5)
    made.set(RQ_ACTIVE, 0)
    for value in (300, 309):
        made.record(LENGTH, value)
    server.stats.flush()
    server.store.text_readout("control.version", 'v"1')
    return made


def test_text(server, get, block):
    assert get("/stats?filter=http") == (
        200,
        "http.h.rq_active: 0\nhttp.h.rq_total: 5\nhttp.h.x_rq_2xx: 0\n"
        "http.h.length_ms: " + " ".join(
            f"P{q}({v},{v})" for q, v in
            zip(("0", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "100"),
                ["303.3333333333333"] * 3 + ["306.6666666666667"] * 7, strict=True)
        ) + "\n",
    )  # fmt: skip
    assert server.refreshed == 1


def test_used_only_filter_and_type(get, block):
    assert get("/stats?usedonly&type=Counters")[1] == "http.h.rq_total: 5\n"
    assert get("/stats?type=Gauges")[1] == "http.h.rq_active: 0\n"
    assert get("/stats?type=TextReadouts")[1] == 'control.version: "v"1"\n'
    assert get("/stats?filter=total%24&invert_filter&type=Counters")[1] == "http.h.x_rq_2xx: 0\n"
    assert get("/stats?filter=nothing")[1] == ""


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=x", "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"),
        ("type=counters", "invalid &type= param"),
        ("filter=(", "Invalid re2 regex: missing ): ("),
        (
            "histogram_buckets=x",
            "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n",
        ),
    ],
)
def test_bad_parameters(get, query, words):
    assert get(f"/stats?{query}") == (400, words)


def test_json(get, block):
    assert get("/stats?format=json&filter=nothing")[1] == '{"stats":[]}'
    assert get("/stats?format=json&filter=rq_total")[1] == '{"stats":[{"name":"http.h.rq_total","value":5}]}'
    quantiles = get("/stats?format=json&type=Histograms")[1]
    assert quantiles.startswith(
        '{"stats":[{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],'
        '"computed_quantiles":[{"name":"http.h.length_ms",'
        '"values":[{"cumulative":303.3333333333333,"interval":303.3333333333333},'
    )


def test_histogram_modes(get, block):
    assert get("/stats?type=Histograms&histogram_buckets=cumulative")[1].startswith(
        "http.h.length_ms: B0.5(0,0) B1(0,0) B5(0,0) B10(0,0) B25(0,0) B50(0,0) B100(0,0) B250(0,0) B500(2,2) "
    )
    assert "B500(2,2) B1000(0,0)" in get("/stats?type=Histograms&histogram_buckets=disjoint")[1]
    assert get("/stats?type=Histograms&histogram_buckets=detailed")[1].startswith(
        "http.h.length_ms:\n  totals=300,10:2\n  intervals=300,10:2\n  summary=P0(303.3333333333333,303.3333333333333) "
    )
    assert (
        '{"upper_bound":3e+05,"interval":2,"cumulative":2}'
        in (get("/stats?format=json&type=Histograms&histogram_buckets=cumulative")[1])
    )
    assert (
        '"totals":[{"lower_bound":300,"width":10,"count":2}]'
        in (get("/stats?format=json&type=Histograms&histogram_buckets=detailed")[1])
    )


def test_a_histogram_without_samples(server, get):
    server.store.block(PAGED, "x.")
    assert get("/stats?type=Histograms")[1] == "x.length_ms: No recorded values\n"
    for buckets in ("cumulative", "disjoint", "detailed"):
        assert get(f"/stats?type=Histograms&histogram_buckets={buckets}")[1] == "x.length_ms: No recorded values\n"
    assert get("/stats?type=Histograms&usedonly")[1] == ""
    assert '"values":[{"cumulative":null,"interval":null},' in get("/stats?type=Histograms&format=json")[1]


def test_prometheus(get, block):
    status, body = get("/stats/prometheus?usedonly")
    assert status == 200
    lines = body.splitlines()
    assert lines[:4] == [
        "# TYPE envoy_http_rq_total counter",
        'envoy_http_rq_total{envoy_http_conn_manager_prefix="h"} 5',
        "# TYPE envoy_http_rq_active gauge",
        'envoy_http_rq_active{envoy_http_conn_manager_prefix="h"} 0',
    ]
    assert 'envoy_http_length_ms_bucket{envoy_http_conn_manager_prefix="h",le="500"} 2' in lines
    assert 'envoy_http_length_ms_bucket{envoy_http_conn_manager_prefix="h",le="+Inf"} 2' in lines
    assert 'envoy_http_length_ms_sum{envoy_http_conn_manager_prefix="h"} 609.83606557377049739443464204669' in lines
    assert get("/stats?format=prometheus&usedonly")[1] == body


def test_prometheus_groups_codes_and_summaries(get, block):
    body = get("/stats/prometheus")[1]
    assert 'envoy_http_x_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="h"} 0\n' in body
    summary = get("/stats/prometheus?histogram_buckets=summary")[1]
    assert 'envoy_http_length_ms{envoy_http_conn_manager_prefix="h",quantile="0.995"} 306.66666666666668561' in summary
    assert "text_value" not in body
    assert (
        '# TYPE envoy_control_version gauge\nenvoy_control_version{text_value="v\\"1"} 0\n'
        in (get("/stats/prometheus?text_readouts")[1])
    )


def test_hostile_names_break_neither_labels_nor_html(server, get):
    server.store.text_readout("x", "<script>alert(1)</script>")
    assert "<script>" not in get("/stats?format=html")[1]
    dynamic = server.store.dynamic('http.a"}\nb.')
    dynamic.inc("rq_total")
    body = get("/stats/prometheus")[1]
    assert 'envoy_http_rq_total{envoy_http_conn_manager_prefix="a\\"}\\nb"} 1' in body


def test_reset_counters(get, post, block):
    assert post("/reset_counters") == (200, "OK\n")
    assert get("/stats?filter=rq_total")[1] == "http.h.rq_total: 0\n"


def test_recent_lookups(get, post):
    assert get("/stats/recentlookups")[1].startswith("Lookup tracking is not enabled.")
    assert post("/stats/recentlookups/enable") == (200, "OK\n")
    assert get("/stats/recentlookups")[1] == "   Count Lookup\n\ntotal: 0\n"
    assert post("/stats/recentlookups/clear") == post("/stats/recentlookups/disable") == (200, "OK\n")
    assert get("/stats/recentlookups")[1].startswith("Lookup tracking is not enabled.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.5, "0.5"), (1800000.0, "1800000"), (300000.0, "3e+05"), (10000.0, "10000"),
        (303.3333333333333, "303.3333333333333"), (1e20, "1e+20"), (float("nan"), "null"),
    ],
)  # fmt: skip
def test_numbers_are_as_short_as_envoys(value, text):
    assert shortest(value) == text


@pytest.mark.parametrize(
    "filter_text", ["total", "^http.h", r"h\.rq_t", "rq_total$", "h.*total", "(?i)TOTAL", "total|x"]
)
def test_filters_of_all_kinds_find_the_same_name(get, block, filter_text):
    assert "http.h.rq_total: 5\n" in get(f"/stats?type=Counters&filter={filter_text}")[1]


def test_bytes_that_are_not_utf8(server, get, block):
    assert get("/stats?filter=%ff") == (400, "Invalid re2 regex: invalid UTF-8")
    server.store.dynamic("http.").inc("\udcff_total")
    assert get("/stats?type=Counters&filter=total")[0] == 200
    assert get("/stats/prometheus?filter=total")[0] == 200


def test_bucket_modes_that_a_format_does_not_have(get):
    assert get("/stats/prometheus?histogram_buckets=detailed") == (400, "unsupported prometheus histogram bucket mode")
    assert get("/stats?histogram_buckets=prometheusnative") == (
        400,
        "Invalid histogram_buckets type for non prometheus stats type",
    )
