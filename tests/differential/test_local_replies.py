"""`local_reply_config` and `proxy_status_config`: what they make of every answer that a proxy gives by itself."""

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, Send, Step, UpstreamSaw, case_id, request
from tests.differential.harness import Release as LetGo
from tests.differential.upstream import FIN, NEVER, RST, Answer, Hold
from tests.differential.wire import End

LATE: Answer = (Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
OK_503: Answer = (b"HTTP/1.1 503 No\r\ncontent-length: 2\r\nproxy-status: behind; error=dns_error\r\n\r\nno",)


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a.test", *fields, "", ""]).encode()


def grpc(path: str, *fields: str) -> bytes:
    return get(path, "content-type: application/grpc", "te: trailers", *fields, method="POST")


BAD_METHOD = b"G@T / HTTP/1.1\r\n\r\n"


def replied(name: str, *steps: Step, listener: str = "mapped", **rest: object) -> Case:
    return Case(name, steps, config="local_replies", listener=listener, **rest)  # type: ignore[arg-type]


def mapped(name: str, path: str, mapper: str, *fields: str, **rest: object) -> Case:
    """A GET with the header that chooses a mapper."""
    return replied(name, *request(get(path, f"x-mapper: {mapper}", *fields)), **rest)


MAPPERS = [
    replied("none_matches", *request(get("/teapot")), status=418, body=b"short and stout", end=End.OPEN),
    mapped("status", "/teapot", "status", status=599, body=b"short and stout", log="599 -"),
    mapped("status_of_an_empty_body", "/empty", "status", status=599, body=b""),
    mapped("body", "/teapot", "body", status=418, body=b"mapped body"),
    mapped("body_where_there_was_none", "/empty", "body", status=404, body=b"mapped body"),
    mapped("body_emptied", "/teapot", "empty", status=418, body=b""),
    mapped("text", "/teapot?a=b", "text", status=201),
    mapped("text_of_a_router_reply", "/refused", "text", status=201),
    mapped("json", "/teapot", "json", status=418, contains=(r"content-type: application/json",)),
    mapped("json_escapes", "/unavailable", "json", status=503),
    mapped("json_without_body", "/empty", "json", status=404),
    mapped("json_omitting_empty_values", "/empty", "json_omit", status=404),
    mapped("content_type_of_a_format", "/teapot", "html", status=418, body=b"<h1>short and stout</h1>"),
    mapped("formatter", "/teapot?a=b", "formatter", status=418, body=b"/teapot"),
    mapped("headers", "/refused", "headers", status=503, contains=("x-of-config: 0,?appended|appended",)),
    mapped("headers_of_a_direct_response", "/teapot", "headers", status=418),
    mapped("header_content_type", "/teapot", "content_type", status=418, body=b"typed"),
    mapped("header_content_length", "/teapot", "content_length", status=418, body=b"short and stout"),
    mapped("header_content_length_without_body", "/empty", "content_length", status=404, body=b""),
    mapped("header_server_connection_date", "/teapot", "server", status=418),
    mapped("redirect", "/redirect", "headers", status=301),
    mapped("redirect_with_a_body", "/redirect", "body", status=301, body=b"mapped body"),
    mapped("no_content", "/no_content", "status", status=599),
    mapped("type_of_the_route", "/typed", "none", status=404),
    mapped("type_of_the_route_kept", "/typed", "status", status=599, contains=("content-type: application/x-typed",)),
    replied(
        "head", *request(get("/teapot", "x-mapper: text", method="HEAD"), head_only=True), status=201, end=End.OPEN
    ),
    replied("by_status_code", *request(get("/nowhere")), status=404, body=b"by status code: route_not_found"),
    replied("by_flag", *request(get("/refused")), status=521, body=b"by flag", log="521 UF"),
    replied("by_protocol_error", b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", Reply(), Do("end"), status=400),
    replied("by_timeout", *request(get("/slow")), answers=[(NEVER,)], status=504, log="504 UT"),
    replied("by_idle_timeout", *request(get("/idle")), answers=[(NEVER,)], status=504, log="504 SI"),
    replied("by_upstream_duration", *request(get("/duration")), answers=[(NEVER,)], status=504, log="504 UMSDR"),
    replied("by_grpc_status", *request(get("/hosts")), status=503, body=b"by grpc status"),
    replied("by_and_or", *request(get("/teapot", "x-b: 1")), status=418, body=b"by and, or, duration, log type"),
    replied(
        "missing_host",
        b"GET /teapot HTTP/1.1\r\nx-mapper: text\r\n\r\n",
        Reply(),
        Do("end"),
        status=201,
        end=End.CLOSED,
    ),
    replied("bad_path", get("/teapot%00", "x-mapper: text"), Reply(), Do("end"), status=201),
    replied("answer_of_an_upstream", *request(get("/up", "x-mapper: text")), answers=[OK_503], status=503, body=b"no"),
    replied(
        "limit_in_the_middle_of_an_answer",
        *request(get("/idle", "x-mapper: text")),
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", NEVER)],
        status=200,
        end=End.CLOSED,
    ),
]

GRPC = [
    replied("grpc", *request(grpc("/teapot")), status=200, end=End.OPEN, contains=("grpc-status: 2",)),
    replied("grpc_without_message", *request(grpc("/empty")), status=200, contains=("grpc-status: 12",)),
    replied("grpc_unavailable", *request(grpc("/hosts")), status=200, contains=("grpc-status: 14",)),
    replied("grpc_escaped_message", *request(grpc("/unavailable")), status=200),
    replied("grpc_status_mapped", *request(grpc("/teapot", "x-mapper: status")), status=200),
    replied("grpc_body", *request(grpc("/teapot", "x-mapper: body")), status=200, contains=("grpc-message: mapped",)),
    replied("grpc_json", *request(grpc("/teapot", "x-mapper: json")), status=200),
    replied("grpc_status_header", *request(grpc("/teapot", "x-mapper: grpc_status")), status=200),
    replied("grpc_content_length", *request(grpc("/teapot", "x-mapper: content_length")), status=200),
    replied("grpc_head", *request(grpc("/teapot").replace(b"POST", b"HEAD"), head_only=True), status=200, end=End.OPEN),
    replied("grpc_redirect", *request(grpc("/redirect")), status=200),
    replied("grpc_timeout", *request(grpc("/slow")), answers=[(NEVER,)], status=200, log="UT"),
    replied("grpc_duration", *request(grpc("/limited")), answers=[(NEVER,)], status=200),
    replied("grpc_retry_limit", *request(grpc("/refused")), status=200, log="UF"),
]

FORMATS = [
    replied("format", *request(get("/teapot")), listener="formatted", status=(418, 200)),
    replied("format_of_an_empty_body", *request(get("/empty")), listener="formatted", status=(404, 200)),
    replied("format_and_mapper", *request(get("/teapot", "x-mapper: x")), listener="formatted", status=(500, 200)),
    replied(
        "format_of_no_content",
        *request(get("/no_content", "connection: close")),
        listener="formatted",
        stricter="a body behind a 204 would be taken for the next response",
    ),
    replied("format_grpc", *request(grpc("/teapot")), listener="formatted", status=(200, 200)),
    replied("format_of_the_route's_type", *request(get("/typed")), listener="formatted", status=(404, 200)),
    replied("format_of_a_codec_error", BAD_METHOD, Reply(), Do("end"), listener="formatted", status=400),
    replied("json_format", *request(get("/teapot")), listener="json", status=(418, 200)),
    replied("json_format_grpc", *request(grpc("/teapot")), listener="json", status=(200, 200)),
    replied("json_format_of_400", *request(get("/bad")), listener="json", status=(400, 200)),
    replied("json_format_of_a_codec_error", BAD_METHOD, Reply(), Do("end"), listener="json", status=400),
    replied("json_format_without_host", b"GET / HTTP/1.1\r\n\r\n", Reply(), listener="json", status=(400, 200)),
    replied("bad_request_closes", *request(get("/bad")), Do("end"), listener="status", status=400, end=End.CLOSED),
]

STATUS_LISTENERS = ("status", "status_codes", "status_bare", "status_literal")


def failed(name: str, path: str, *fields: str, answer: Answer | None = None, **rest: object) -> list[Case]:
    """The same failure behind every listener with a `proxy_status_config`."""
    answers = [] if answer is None else [answer, answer]
    return [
        replied(f"{name}-{listener}", *request(get(path, *fields)), listener=listener, answers=answers, **rest)
        for listener in STATUS_LISTENERS
    ]


PROXY_STATUS = [
    *failed("no_route", "/nowhere", contains=(r"proxy-status: .*; error=destination_not_found",)),
    *failed("no_cluster", "/missing", contains=(r"proxy-status: .*; error=destination_unavailable",)),
    *failed("no_host", "/hosts", contains=(r"error=destination_unavailable",)),
    *failed("refused", "/refused", contains=(r"error=connection_refused",)),
    *failed("closed", "/up", answer=(FIN,), contains=(r"error=connection_terminated",)),
    *failed("reset", "/up", answer=(RST,)),
    *failed("timeout", "/slow", answer=(NEVER,), contains=(r"error=http_response_timeout",)),
    *failed("malformed", "/up", answer=(b"nonsense\r\n\r\n", NEVER), contains=(r"error=http_protocol_error",)),
    replied("direct-status", *request(get("/teapot")), listener="status", status=418),
    replied("upstream_503-status", *request(get("/up")), listener="status", answers=[OK_503], status=503),
    replied(
        "retry_limit-status",
        *request(get("/retried")),
        listener="status",
        answers=[OK_503, OK_503],
        status=503,
        contains=(r"proxy-status: behind; error=dns_error, envoy; error=destination_unavailable",),
    ),
    replied(
        "retry_limit-status_codes",
        *request(get("/retried")),
        listener="status_codes",
        answers=[(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno",)] * 2,
        status=503,
    ),
    replied("per_try-status", *request(get("/tried")), listener="status", answers=[(NEVER,)] * 2, status=504),
    replied("idle-status", *request(get("/idle")), listener="status", answers=[(NEVER,)], status=504),
    replied("duration-status", *request(get("/duration")), listener="status", answers=[(NEVER,)], status=504),
    replied("limited-status", *request(get("/limited")), listener="status", answers=[(NEVER,)], status=504),
    replied("bad_header-status", *request(get("/up", "x-envoy-max-retries: x")), listener="status"),
    replied("codec_error-status", BAD_METHOD, Reply(), Do("end"), listener="status", status=400),
    replied("codec_error-codes", BAD_METHOD, Reply(), Do("end"), listener="status_codes", status=400),
    replied("grpc-status", *request(grpc("/hosts")), listener="status", status=200),
    replied("grpc-status_codes", *request(grpc("/hosts")), listener="status_codes"),
    replied("mapped-status_codes", *request(get("/hosts", "x-mapper: x")), listener="status_codes"),
    replied("head-status_codes", *request(get("/nowhere", method="HEAD"), head_only=True), listener="status_codes"),
    replied(
        "overflow-status",
        get("/one"),
        UpstreamSaw(1, "one"),
        Send(get("/one"), on=1),
        Reply(on=1),
        LetGo(upstream="one"),
        Reply(),
        listener="status",
        answers_of={"one": [LATE]},
        status=(503, 200),
        contains=(r"error=connection_limit_reached",),
    ),
]


@pytest.mark.parametrize("case", [*MAPPERS, *GRPC, *FORMATS, *PROXY_STATUS], ids=case_id)
def test_local_reply(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
