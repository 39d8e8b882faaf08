"""The gRPC-JSON transcoder: the same requests and gRPC answers through Envoy and Proxeny.

The upstream speaks gRPC's messages over HTTP/1 with trailers, so that what it gets and gives is compared byte by byte.
"""
# ruff: noqa: E501 - a case is a line

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import status_pb2
from tests.differential.harness import Case, Pairs, Reply, Send, Step, case_id, request
from tests.differential.upstream import Answer
from tests.transcoding_protos import frame, new

SHELF = new("lib.Shelf", id=7, theme="poems")
EMPTY = new("lib.Everything")
LEAKS = r"transcoder_(request|response)_buffer_bytes"
"""Envoy lets these gauges grow: what it moves on to the client is never taken off again."""
UPSTREAM = r"^upstream up|^stat \S+ (cluster\.up|\S+\.downstream_cx_(destroy|delayed_close))"
ENDS_LATER = r"downstream_rq_(response_before_rq_complete|rx_reset)"
"""Envoy hears of the end of an HTTP/1 body after the body; a refusal of its content then comes before the end."""


def answer(
    *messages: bytes | Message,
    status: str | None = "0",
    text: str = "",
    details: str = "",
    head: str = "content-type: application/grpc",
    line: str = "200 OK",
    framed: bool = True,
) -> Answer:
    """A gRPC response: messages, then trailers."""
    chunks = [frame(message) if framed or isinstance(message, Message) else message for message in messages]
    trailers = {"grpc-status": status, "grpc-message": text, "grpc-status-details-bin": details}
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items() if value)
    begin = f"HTTP/1.1 {line}\r\n{head}\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n".encode()
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return (begin + body + b"0\r\n" + lines.encode() + b"\r\n",)


def trailers_only(status: str = "5", text: str = "", details: str = "", head: str = "") -> Answer:
    lines = [f"grpc-status: {status}"]
    lines += [f"grpc-message: {text}"] * bool(text) + [f"grpc-status-details-bin: {details}"] * bool(details)
    fields = "\r\n".join(["content-type: application/grpc", "content-length: 0", *lines, *head.split("\n")]).strip()
    return (f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode(),)


@dataclass(frozen=True)
class Exchange:
    """One request on a connection of its own, and the upstream's answer to it."""

    name: str
    data: bytes
    gives: Answer
    on: str
    contains: tuple[str, ...] = ()
    refused: bool = False
    """By the filter, once it read the body: how far the upstream request has come by then depends on the pool."""


def to(
    name: str,
    line: str,
    body: bytes | str | None = None,
    *headers: str,
    gives: Answer | None = None,
    on: str = "main",
    log: str = "",
    contains: tuple[str, ...] = (),
    refused: bool = False,
) -> Exchange:
    """One request; it is answered with a shelf."""
    data = body.encode() if isinstance(body, str) else body
    fields = ["Host: any.test", *headers]
    if data is not None:
        fields += ["content-type: application/json", f"content-length: {len(data)}"]
    head = "\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode()
    if log:
        contains = (*contains, f"^log .*{re.escape(log)}")
    return Exchange(name, head + (data or b""), answer(SHELF) if gives is None else gives, on, contains, refused)


def refused(name: str, line: str, body: bytes | str | None = None, *headers: str, **more: Any) -> Exchange:
    """One request that cannot be translated."""
    return to(name, line, body, *headers, refused=True, **more)


def echo(name: str, body: bytes | str, *, path: str = "/echo", **more: Any) -> Exchange:
    """What becomes of JSON on its way in."""
    return to(f"in_{name}", f"POST {path}", body, gives=answer(EMPTY), **more)


def bad(name: str, body: bytes | str, **more: Any) -> Exchange:
    """JSON that cannot be translated."""
    return echo(name, body, refused=True, contains=("400 Bad Request",), **more)


def everything(name: str, *data: bytes | Message, on: str = "main", **fields: object) -> Exchange:
    """What becomes of a message on its way out."""
    message = data[0] if data else new("lib.Everything", **fields)
    return to(f"out_{name}", "GET /echo", gives=answer(message), on=on)


def grouped(*exchanges: Exchange | Case) -> Iterator[Case]:
    """Cases of up to 12 exchanges with one listener, one after the other."""
    groups: dict[tuple[str, bool], list[Exchange]] = {}
    for exchange in exchanges:
        if isinstance(exchange, Case):
            yield exchange
            continue
        key = (exchange.on, exchange.refused)
        groups.setdefault(key, []).append(exchange)
        if len(groups[key]) == 12:
            yield _together(groups.pop(key))
    yield from map(_together, groups.values())


def _together(group: list[Exchange]) -> Case:
    first = group[0]
    steps: list[Step] = []
    for on, one in enumerate(group, 1):
        steps += (Send(one.data, on), Reply(on, one.data.startswith(b"HEAD")))
    return Case(
        f"{first.name}_to_{group[-1].name}",
        steps,
        config="transcoder",
        listener=first.on,
        answers=[one.gives for one in group],
        contains=tuple(text for one in group for text in one.contains),
        ignore=(LEAKS, ENDS_LATER, *([UPSTREAM] if first.refused else ())),
    )


def in_chunks(
    name: str,
    line: str,
    *pieces: bytes,
    trailers: bytes = b"",
    headers: str = "Host: a",
    gives: Message = SHELF,
    ignore: tuple[str, ...] = (),
) -> Case:
    """A body in pieces, each of which is sent by itself."""
    head = f"{line} HTTP/1.1\r\n{headers}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    steps = request(head, *chunks, b"0\r\n" + trailers + b"\r\n")
    return Case(name, steps, config="transcoder", answers=(answer(gives),), ignore=(LEAKS, ENDS_LATER, *ignore))


def nested(levels: int) -> bytes:
    """A shelf in a shelf, and so on."""
    data = b""
    for _ in range(levels):
        data = (
            b"\x22"
            + (bytes((len(data),)) if len(data) < 128 else bytes((len(data) & 127 | 128, len(data) >> 7)))
            + data
        )
    return data


def details(*packed: Message) -> str:
    status = status_pb2.Status(code=9, message="of details")
    for message in packed:
        status.details.add().Pack(message)
    return base64.b64encode(status.SerializeToString()).decode()


ROUTES = [
    to("path_variable", "GET /shelves/12", body=None, contains=(r"POST /lib.Library/GetShelf",)),
    to("query", "GET /shelves/12?shelf.theme=a%20b&shelf.inner.id=9&sizes=1&sizes=2&open=true"),
    to("query_json_names", "GET /shelves/12?pageSize=3&page_size=4"),
    to("query_escaped_name", "GET /shelves/12?shelf%2Etheme=x&%73izes=5"),
    to("query_types", "GET /shelves/1?ratio=1.5&half=2.5&key=aGk_&lasts=1.5s&title=t&mask=aB.c&color=RED"),
    to("query_numbers_of_enums", "GET /shelves/1?color=2"),
    refused("query_unknown_enum_number", "GET /shelves/1?color=77"),
    refused("query_lower_case_enum", "GET /shelves/1?color=red"),
    to("query_lower_case_enum_allowed", "GET /shelves/1?color=dark-blue", on="strict"),
    refused("query_odd", "GET /shelves/1?=x&open&&page_size=&sizes=7&"),
    refused("query_bad_number", "GET /shelves/abc"),
    refused("query_too_large", "GET /shelves/99999999999999999999"),
    to("query_plus", "GET /shelves/1?shelf.theme=a+b"),
    to("query_plus_is_space", "GET /shelves/1?shelf.theme=a+b%2Bc", on="lenient"),
    to("unknown_parameter", "GET /shelves/1?nobody=1"),
    refused("unknown_parameter_refused", "GET /shelves/1?nobody=1", on="strict", log="early_grpc_json_transcode_failure{INVALID_ARGUMENT}"),
    refused("unknown_parameter_inside_refused", "GET /shelves/1?shelf.nobody=1", on="strict"),
    refused("parameter_through_a_scalar_refused", "GET /shelves/1?page_size.x=1", on="strict"),
    to("unknown_parameter_ignored", "GET /shelves/1?nobody=1&page_size=4", on="lenient"),
    to("ignored_parameter", "GET /shelves/1?id=5&api.key=3", on="lenient"),
    to("parameter_beside_the_path", "GET /shelves/1?id=5"),
    refused("message_as_parameter", "GET /shelves/1?shelf=5"),
    to("no_rule", "GET /nowhere", gives=(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",)),
    to("no_rule_refused", "GET /nowhere?a=b", on="strict", log="early_grpc_json_transcode_failure{NOT_FOUND}"),
    to("other_method", "PUT /shelves/1", body="{}", on="strict"),
    to("grpc_passes", "POST /lib.Library/GetShelf", None, "content-type: application/grpc", "te: trailers"),
    to("grpc_passes_by_rule", "GET /shelves/1", None, "content-type: application/grpc+proto"),
    to("auto_mapping", "POST /lib.Library/Unbound", '{"id":3}', on="strict"),
    to("no_auto_mapping", "POST /lib.Library/Unbound", '{"id":3}'),
    to("trailing_slashes", "GET /shelves/1//"),
    to("empty_segment", "GET /shelves//books"),
    to("verb", "POST /shelves/1:reserve", "{}"),
    to("verb_of_literal", "GET /shelves:search?id=2"),
    refused("unknown_verb", "GET /shelves/1:other"),
    to("unknown_verb_matched", "GET /shelves/1:other", on="lenient"),
    to("custom_method", "GET /any"),
    to("several_segments", "GET /shelves/1/books/a/b%2Fc%20d%3f"),
    to("several_segments_all", "GET /shelves/1/books/a/b%2Fc%20d", on="lenient"),
    to("several_segments_except_slash", "GET /shelves/1/books/a/b%2Fc%3Fd", on="captured"),
    to("one_segment_is_decoded", "GET /shelves/1%2F2/books"),
    to("rest_of_nothing", "GET /shelves/1/books/"),
    to("literals_behind_the_rest", "GET /tail/a/b/end"),
    to("literals_behind_an_empty_rest", "GET /tail/end"),
    to("end_in_the_middle", "GET /tail/end/end/end"),
    to("literal_before_wildcard", "GET /order/first/x"),
    to("wildcard", "GET /order/second/x"),
    to("registered_twice", "GET /doubled", on="strict"),
    to("additional_binding", "PUT /v2/shelves/5", '{"pageSize":1}'),
    to("body_field", "POST /shelves?page_size=3", '{"id":"4","theme":"x"}'),
    to("body_field_inside", "POST /deep/t%20u", '{"id":1}'),
    to("body_field_and_variable", "PATCH /shelves/77", '{"theme":"x"}'),
    to("body_wins", "PUT /v2/shelves/5?page_size=1&sizes=1&shelf.theme=q", '{"page_size":2,"sizes":[4],"shelf":{"id":1}}'),
    to("repeated_meets_scalar", "PUT /v2/shelves/5?sizes=1", '{"sizes":4}'),
    refused("collision", "PUT /v2/shelves/5", '{"id":6}', on="strict"),
    refused("collision_of_strings", "PUT /v2/shelves/5?shelf.theme=a", '{"id":5,"shelf":{"theme":"b"}}', on="strict"),
    refused("collision_of_types", "PUT /v2/shelves/5?open=x", '{"open":true}', on="strict"),
    to("collision_same", "PUT /v2/shelves/5?ratio=1.5", '{"id":5,"ratio":1.50}', on="strict"),
    refused("collision_of_large_numbers", "PUT /v2/shelves/4294967301", '{"id":4294967301}', on="strict"),
    refused("collision_negative", "PUT /v2/shelves/-5", '{"id":-5}', on="strict"),
    to("delete", "DELETE /shelves/1", gives=answer(b"")),
    to("original_headers", "GET /shelves/1", None, "x-envoy-original-path: /x", "te: gzip", "content-type: text/plain"),
    to("route_of_the_method", "GET /shelves/1", log="service"),
    to("route_of_the_path", "GET /shelves/1", on="limited", log="rest"),
    to("route_off", "GET /shelves/off", on="limited"),
    to("route_of_its_own", "POST /older", '{"id":1}', on="limited", gives=answer(new("old.Item", id=1, numbers=[1, 2]))),
    to("head", "HEAD /shelves/1"),
    to("empty_body", "POST /shelves", ""),
    to("no_body", "POST /echo", None),
    to("options", "OPTIONS *"),
]  # fmt: skip

JSON_IN = [
    echo("empty", "{}"),
    echo("scalars", '{"a_double":1.5,"aFloat":0.1,"a_int64":"-5","aUint64":18446744073709551615,"a_int32":-1,'
         '"a_fixed64":3,"a_fixed32":"4","a_bool":true,"a_string":"x","a_bytes":"aGk=","a_uint32":5,"a_sfixed32":-6,'
         '"a_sfixed64":"-7","a_sint32":-8,"a_sint64":-9}'),
    echo("texts_for_numbers", '{"a_double":"1e3","a_float":"-0.5","a_int32":"+7","a_bool":"YES","many_bool":["t","0","n"]}'),
    echo("special_doubles", '{"many_double":["NaN","Infinity","-Infinity"],"many_float":["NaN","Infinity"]}'),
    echo("whole_doubles", '{"a_int32":3.0,"a_int64":-1e3,"a_uint32":4e2}'),
    bad("fraction", '{"a_int32":3.5}'),
    bad("fraction_text", '{"a_int32":"3.0"}'),
    bad("blank_number", '{"a_int32":" 3"}'),
    echo("blank_double", '{"a_double":"3\\t"}'),
    echo("hexadecimal_text", '{"a_double":"0x1p4"}'),
    bad("inf_text", '{"a_double":"inf"}'),
    bad("nan_text", '{"a_float":"nan"}'),
    bad("underscores", '{"a_double":"1_0"}'),
    bad("too_large", '{"a_int32":2147483648}'),
    bad("too_large_uint64", '{"a_uint64":18446744073709551616}'),
    bad("negative_unsigned", '{"a_uint32":-1}'),
    echo("negative_zero", '{"a_int32":-0,"a_double":-0,"many_double":[-0.0]}'),
    bad("too_large_float", '{"a_float":3.5e38}'),
    echo("largest_float", '{"a_float":3.4028235e38}'),
    bad("too_large_float_text", '{"a_float":"3.5e38"}'),
    bad("too_large_double", '{"a_double":1e400}'),
    bad("too_large_double_text", '{"a_double":"1e400"}'),
    bad("bool_for_number", '{"a_int32":true}'),
    bad("number_for_bool", '{"a_bool":1}'),
    bad("number_for_string", '{"a_string":1.5}'),
    bad("object_for_scalar", '{"a_string":{"a":1}}'),
    bad("list_for_scalar", '{"a_string":[1]}'),
    bad("scalar_for_message", '{"shelf":5}'),
    bad("text_for_message", '{"shelf":"x","a_int32":"y"}'),
    echo("scalar_for_list", '{"many_int32":5,"many_string":"a"}'),
    echo("object_for_list", '{"many_shelf":{"id":1}}'),
    echo("lists", '{"many_int32":[1,"2",3.0],"many_string":["a",""],"many_shelf":[{"id":1},{},{"tags":["x"]}]}'),
    echo("null", '{"a_int32":null,"a_string":null,"shelf":null,"many_int32":null,"by_name":null,"nothing":null,"value":null}'),
    echo("null_in_list", '{"many_int32":[1,null,2],"many_shelf":[null,{"id":1}],"many_value":[null]}'),
    echo("list_in_list", '{"many_int32":[[1]]}'),
    bad("error_in_list", '{"many_shelf":[{"id":1},{"id":"x"}],"many_int32":[1,2,"z"]}'),
    bad("errors_deep", '{"self":{"self":{"many_shelf":[{},{"inner":{"id":[]}}]}}}'),
    bad("last_error_counts", '{"a_int32":"x","a_bool":"maybe"}'),
    echo("twice", '{"a_int32":1,"aInt32":2,"a_int32":3,"shelf":{"id":1},"shelf":{"theme":"x"}}'),
    echo("unknown", '{"nobody":1,"more":{"a":[1,{"b":null}]},"a_int32":1}'),
    bad("oneof_twice", '{"one_text":"a","one_number":1}'),
    bad("oneof_message", '{"one_shelf":{"id":1},"one_text":"x"}'),
    bad("optional_twice", '{"maybe":1,"maybe":2}'),
    echo("oneof_null", '{"one_text":null,"one_number":1}'),
    echo("enum_name", '{"color":"RED","many_color":["DARK_BLUE",1,"2",-1,"MINUS","CRIMSON"]}'),
    echo("enum_unknown_number", '{"color":99}'),
    bad("enum_unknown_name", '{"color":"GREEN"}'),
    bad("enum_lower", '{"color":"dark_blue"}'),
    echo("enum_lower_allowed", '{"color":"dark-blue"}', on="strict"),
    echo("enum_double", '{"color":1.0}'),
    bad("enum_bool", '{"color":true}'),
    echo("bytes_standard", '{"many_bytes":["+/+/","-_-_","aGk","aGk=","a Gk","aGk."]}'),
    bad("bytes_mixed", '{"a_bytes":"+_+_"}'),
    bad("bytes_bad", '{"a_bytes":"a"}'),
    bad("bytes_bad_padding", '{"a_bytes":"aGk=="}'),
    echo("bytes_surplus_bits", '{"a_bytes":"aGl"}'),
    echo("maps", '{"by_name":{"a":{"id":1},"":{}},"byNumber":{"5":"x","-1":"y"},"by_flag":{"true":"3","false":4}}'),
    bad("map_key_twice", '{"by_number":{"1":"a","1":"b"}}'),
    bad("map_bad_key", '{"by_number":{"x":"a"}}'),
    echo("map_of_nulls", '{"by_name":{"a":null},"by_number":{"1":null},"values":{"n":null}}'),
    bad("map_list", '{"by_number":[1]}'),
    bad("map_list_inside", '{"by_number":{"1":["a"]}}'),
    bad("map_scalar", '{"by_number":5}'),
    echo("map_values", '{"values":{"a":1,"b":"x","c":[true],"d":{"e":null},"f":null}}'),
    echo("struct", '{"struct":{"a":1,"b":"x","c":[1,"2",[],{}],"d":{"e":{"f":null}},"g":true}}'),
    echo("values", '{"value":[1,{"a":2}],"many_value":[1,"a",null,true,[2],{"b":3}],"list":[1,[2],{"a":[]}]}'),
    echo("value_scalar", '{"value":1.25,"many_list":[[1],[]]}'),
    echo("wrappers", '{"box_double":1,"boxFloat":"2","box_int64":"3","box_uint64":4,"box_int32":5,"box_uint32":6,'
         '"box_bool":true,"box_string":"s","box_bytes":"aGk"}'),
    echo("wrapper_object", '{"box_int32":{"value":5}}'),
    bad("wrapper_bad", '{"box_int32":"x"}'),
    echo("times", '{"when":"2020-02-29T12:30:45.123456789Z","lasts":"-1.5s","many_when":["1970-01-01T00:00:00+01:30"]}'),
    bad("time_bad", '{"when":"2020-02-30T12:30:45Z"}'),
    bad("time_words", '{"when":"yesterday"}'),
    bad("time_number", '{"when":5}'),
    bad("time_no_zone", '{"when":"2020-02-20T12:30:45"}'),
    echo("time_short", '{"when":"2020-2-3T4:5:6Z"}'),
    bad("time_early", '{"when":"0000-12-31T00:00:00Z"}'),
    bad("time_many_digits", '{"when":"2020-02-20T12:30:45.1234567891Z"}'),
    bad("duration_bad", '{"lasts":"5"}'),
    bad("duration_digits", '{"lasts":"1.x s"}'),
    bad("duration_long", '{"lasts":"315576000001s"}'),
    echo("duration_plus", '{"lasts":"+5s"}'),
    echo("mask", '{"mask":"aB,cD.eF(gH,iJ)"}'),
    bad("mask_bad", '{"mask":"a)"}'),
    echo("any", '{"any":{"@type":"type.googleapis.com/lib.Shelf","id":1,"tags":["x"]}}'),
    echo("any_late_type", '{"any":{"id":1,"inner":{"id":2},"@type":"type.googleapis.com/lib.Shelf"}}'),
    echo("any_known", '{"many_any":[{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"},'
         '{"value":{"a":1},"@type":"type.googleapis.com/google.protobuf.Struct"},'
         '{"@type":"type.googleapis.com/google.protobuf.Value","value":[1]},{}]}'),
    echo("any_in_any", '{"any":{"@type":"type.googleapis.com/google.protobuf.Any","value":'
         '{"@type":"type.googleapis.com/lib.Shelf","id":1}}}'),
    bad("any_unknown", '{"any":{"@type":"type.googleapis.com/lib.Nobody"}}'),
    bad("any_other_url", '{"any":{"@type":"example.com/lib.Shelf"}}'),
    bad("any_no_type", '{"any":{"id":1}}'),
    bad("any_not_value", '{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","seconds":"1s"}}'),
    echo("any_strict_bytes", '{"any":{"@type":"type.googleapis.com/lib.Everything","a_bytes":"aGl"}}'),
    echo("odd_names", '{"Capital":"a","lowerCamelCase9x":"b","empty":{}}'),
    echo("other_name", '{"other \\"name\\"":"a"}'),
    echo("renamed", '{"renamed":"a"}', path="/echo?other%20%22name%22=b"),
    echo("lenient", "{a_int32:1,'a_string':'x\\'y',\"many_int32\":[1,],}"),
    echo("escapes", '{"a_string":"\\u0041\\ud83d\\ude00\\/\\b\\v\\q\\u0000"}'),
    bad("lone_surrogate", '{"a_string":"\\ud83dx"}'),
    bad("bad_escape", '{"a_string":"\\u12g4"}'),
    bad("low_surrogate", '{"a_string":"\\udc00"}'),
    echo("raw_controls", b'{"a_string":"a\x01\x7f\nb"}'),
    bad("not_utf8", b'{"a_string":"a\xffb"}'),
    echo("utf8", '{"a_string":"äß😀"}'),
    bad("bom", b'\xef\xbb\xbf{}'),
    echo("blanks", " \t\r\n { } \n"),
    bad("only_blanks", "  "),
    bad("list_at_the_root", "[]"),
    bad("scalar_at_the_root", "5"),
    bad("garbage_behind", "{} x"),
    bad("unfinished", '{"a_int32":1'),
    bad("unfinished_string", '{"a_string":"abc'),
    bad("unfinished_word", '{"a_bool":tru'),
    bad("missing_colon", '{"a_int32" 1}'),
    bad("missing_comma", '{"a_int32":1 "a_bool":true}'),
    bad("missing_value", '{"a_int32":}'),
    bad("leading_zero", '{"a_int32":01}'),
    bad("plus", '{"a_int32":+1}'),
    bad("two_points", '{"a_double":1.2.3}'),
    bad("hexadecimal", '{"a_int32":0x10}'),
    bad("word_key", "{true:1}"),
    bad("number_key", "{1:1}"),
    bad("deep", '{"self":' * 101 + "{}" + "}" * 101),
    bad("deep_list", '{"value":' + "[" * 120 + "]" * 120 + "}"),
    bad("long_context", '{"a_string":"' + "x" * 60 + '","a_int32":@,"a_bool":true,"b":1}'),
    echo("body_of_list", '[{"id":1},{"id":2}]', path="/many"),
    echo("body_of_string", '"text"', path="/text"),
    echo("body_of_numbers", "[1,2]", path="/numbers"),
    echo("body_of_map", '{"1":"a"}', path="/map?a_int32=3"),
    echo("body_of_value", "[null]", path="/value"),
    echo("body_of_value_number", "5", path="/value"),
    echo("body_of_time", '"1970-01-01T00:00:01Z"', path="/when?a_int32=1"),
    to("in_root_bool", "POST /flag", "true", gives=answer(new("google.protobuf.Value", number_value=2.5))),
    refused("in_root_number", "POST /flag", "1", gives=answer(b"")),
    to("in_root_time", "POST /time", '"1970-01-01T00:00:01Z"', gives=answer(new("google.protobuf.Duration", nanos=5000000))),
    to("in_root_value", "POST /anything", '{"a":[1]}', gives=answer(b"")),
    to("in_root_value_list", "POST /anything", "[1,null]", gives=answer(b"")),
    to("in_older", "POST /older", '{"id":1,"numbers":[1,2],"item":{"id":2},"rest":{"text":"x"}}', gives=answer(new("old.Item", id=1))),
    refused("in_older_missing", "POST /older", '{"text":"x"}'),
    refused("in_older_missing_inside", "POST /older", '{"id":1,"items":[{"id":1},{}]}'),
    refused("in_older_error", "POST /older", '{"id":1,"numbers":[1,2,"x"]}'),
    in_chunks("in_pieces", "POST /echo", b'{"a_string":"', b"a\\u", b'0041",', b'"a_int32":', b"1", b"2}", gives=EMPTY),
    in_chunks("in_pieces_not_utf8", "POST /echo", b'{"a_string":"\xc3', b"\xa4\xff", b'"}', ignore=(UPSTREAM,)),
    in_chunks("in_trailers", "POST /echo", b'{"a_int32":12}', trailers=b"x-a: b\r\n", gives=EMPTY),
    in_chunks("in_trailers_unfinished", "POST /echo", b'{"a_int32":12', trailers=b"x-a: b\r\n", gives=EMPTY),
]  # fmt: skip

JSON_OUT = [
    everything("empty"),
    everything("scalars", a_double=1.5, a_float=0.1, a_int64=-5, a_uint64=2**64 - 1, a_int32=-1, a_fixed64=3, a_fixed32=4,
               a_bool=True, a_string="x", a_bytes=b"\xff\xfe\xfd", a_uint32=5, a_sfixed32=-6, a_sfixed64=-7, a_sint32=-8,
               a_sint64=-9),
    everything("doubles", many_double=[0.1, 1e10, 1e15, 1e16, 1e21, 1e-7, 5e-324, 123456789.123, 1 / 3, 100.0, -0.0,
                                       float("nan"), float("inf"), float("-inf"), 1.7976931348623157e308]),
    everything("floats", many_float=[0.1, 1e10, 16777216.0, 1e-7, 3.4028235e38, 1.1754944e-38, 7.712747e-41, 1e-45, 1 / 3, 123456.789,
                                     float("nan"), float("-inf")]),
    everything("lists", many_int32=[0, 1], many_string=["", "a"], many_bool=[False], many_bytes=[b"", b"a"]),
    everything("strings", a_string="\"\\/<>\b\f\n\r\t\x00\x1f\x7f\x80\u00ad\u2028\ufeff😀\U000e0001ä&'"),
    everything("enums", color=2, many_color=[1, -1, 77, 0]),
    everything("messages", shelf=new("lib.Shelf"), many_shelf=[SHELF, new("lib.Shelf")], one_shelf=SHELF, maybe=0),
    everything("oneof", one_text=""),
    everything("times", when={"seconds": 1582979445, "nanos": 120000000}, lasts={"seconds": -1, "nanos": -500}),
    everything("first_time", when={"seconds": -62135596800}, many_when=[{"seconds": 253402300799, "nanos": 1}]),
    everything("time_too_late", when={"seconds": 253402300800}),
    everything("time_bad_nanos", when={"nanos": -1}),
    everything("duration_signs", lasts={"seconds": 1, "nanos": -1}),
    everything("duration_too_long", lasts={"seconds": 315576000001}),
    everything("duration_zero", lasts={}),
    everything("mask", mask={"paths": ["a_b.c_d", "e"]}),
    everything("mask_odd", mask={"paths": ["aB", "c__d", "e_1", "f_"]}),
    everything("wrappers", box_double={"value": 1}, box_float={"value": 2.5}, box_int64={"value": 3}, box_uint64={},
               box_int32={}, box_uint32={"value": 6}, box_bool={"value": True}, box_string={}, box_bytes={"value": b"x"}),
    everything("struct", struct={"a": 1}, value=new("google.protobuf.Value", string_value="x"),
               list=[1, "a", None, [True]], nothing=0),
    everything("empty_value", value=new("google.protobuf.Value"),
               many_value=[new("google.protobuf.Value"), new("google.protobuf.Value", null_value=0)]),
    everything("nan_value", value=new("google.protobuf.Value", number_value=float("nan"))),
    everything("any", new("lib.Everything", any={"type_url": "type.googleapis.com/lib.Shelf", "value": SHELF.SerializeToString()})),
    everything("any_known", new("lib.Everything", any={"type_url": "type.googleapis.com/google.protobuf.Duration", "value": b"\x08\x05"})),
    everything("any_unknown", new("lib.Everything", any={"type_url": "type.googleapis.com/lib.Nobody"})),
    everything("any_other_url", new("lib.Everything", any={"type_url": "lib.Shelf"})),
    everything("any_empty", new("lib.Everything", any={})),
    everything("any_no_type", new("lib.Everything", any={"value": b"x"})),
    everything("any_empty_inside", new("lib.Everything", any={"type_url": "type.googleapis.com/lib.Shelf"})),
    everything("odd_names", Capital="a", lower_camelCase_9x="b", empty={}, renamed="c"),
    everything("odd_names_kept", on="lenient", Capital="a", lower_camelCase_9x="b", color=1, many_color=[5]),
    everything("map_order", b"".join(b"\xa2\x03\x05\x08%c\x12\x01a" % key for key in (9, 3, 5))),
    everything("defaults_on_the_wire", b"\x28\x00\x4a\x00\x40\x00"),
    everything("twice_on_the_wire", b"\x28\x01\x28\x02"),
    everything("unpacked", b"\xc8\x01\x01\xc8\x01\x02"),
    everything("unknown_fields", b"\xf8\x3f\x01\x28\x05\xfa\x3f\x01x"),
    everything("unknown_group", b"\xfb\x3f\x28\x05\xfc\x3f"),
    everything("bad_bool", b"\x40\x02"),
    everything("not_utf8", b"\x4a\x01\xff"),
    everything("cut_string", b"\x4a\x05a"),
    everything("cut_number", b"\x28\x80"),
    everything("wrong_wire_type", b"\x2a\x01\x05"),
    everything("wrong_wire_type_fixed", b"\x2d\x01\x05\x05\x05"),
    everything("wide_number", b"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    everything("printed", on="printed", a_int32=1, shelf=SHELF, many_int32=[1, 2], struct={"a": [1]}),
    everything("printed_empty", on="printed"),
    to("out_printed_shelf", "GET /shelves/1", on="printed", gives=answer(new("lib.Shelf", inner=SHELF, tags=["a"]))),
    to("out_older_defaults", "POST /older", '{"id":1}', on="printed", gives=answer(new("old.Item", id=1, rest={}))),
    to("out_older_not_utf8", "POST /older", '{"id":1}', gives=answer(b"\x08\x01\x12\x03a\xffb")),
    to("out_wrapper_empty", "POST /flag", "true", gives=answer(b"")),
    to("out_value_null", "POST /flag", "true", gives=answer(b"\x08\x00")),
    to("out_root_any", "POST /anything", "1", gives=answer(new("google.protobuf.Any", type_url="type.googleapis.com/lib.Shelf"))),
]  # fmt: skip

ANSWERS = [
    to("status_not_found", "GET /shelves/1", gives=answer(status="5", text="no%20shelf %C3%A4"), contains=("404 Not Found",)),
    *(to(f"status_{code}", "GET /shelves/1", gives=trailers_only(str(code))) for code in (0, 1, 2, 3, 4, 6, 8, 12, 14, 16, 17, 99)),
    to("status_words", "GET /shelves/1", gives=answer(SHELF, status="x")),
    to("status_missing", "GET /shelves/1", gives=answer(SHELF, status=None)),
    to("status_behind_a_message", "GET /shelves/1", gives=answer(SHELF, status="13", text="late")),
    to("no_message", "GET /shelves/1", gives=answer()),
    to("two_messages", "GET /shelves/1", gives=answer(SHELF, SHELF)),
    to("compressed", "GET /shelves/1", gives=answer(frame(SHELF, 1), framed=False), contains=("502 Bad Gateway",)),
    to("cut_head", "GET /shelves/1", gives=answer(b"\0\0", framed=False)),
    to("cut_message", "GET /shelves/1", gives=answer(b"\0\0\0\0\x09abc", framed=False)),
    to("nested", "GET /shelves/1", gives=answer(nested(100))),
    to("nested_too_deep", "GET /shelves/1", gives=answer(nested(101))),
    to("bad_message", "GET /shelves/1", gives=answer(b"\x08")),
    to("not_grpc", "GET /shelves/1", gives=(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",)),
    to("not_200", "GET /shelves/1", gives=answer(SHELF, line="503 Service Unavailable")),
    to("grpc_web_type", "GET /shelves/1", gives=answer(SHELF, head="content-type: application/grpc-web")),
    to("grpc_proto_type", "GET /shelves/1", gives=answer(SHELF, head="content-type: application/grpc+proto\r\nx-up: 1")),
    to("without_trailers", "GET /shelves/1", gives=(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: %d\r\n\r\n" % len(frame(SHELF)) + frame(SHELF),)),
    to("upstream_fails", "GET /shelves/1", gives=(b"HTTP/1.1 200 OK\r\nbad\r\n\r\n",)),
    to("converted", "GET /shelves/1", on="converted", gives=trailers_only("5", "no%20shelf")),
    to("converted_without_text", "GET /shelves/1", on="converted", gives=trailers_only("99")),
    to("converted_text_not_utf8", "GET /shelves/1", on="converted", gives=trailers_only("5", "no %FF shelf %zz")),
    to("converted_odd_text", "GET /shelves/1", on="converted", gives=trailers_only("5", "%C3%A4 100% <%22>")),
    to("converted_large_code", "GET /shelves/1", on="converted", gives=trailers_only("4294967301", "x")),
    to("converted_larger_code", "GET /shelves/1", on="converted", gives=trailers_only("3000000000", "x")),
    to("status_too_large", "GET /shelves/1", on="converted", gives=trailers_only("18446744073709551616", "x")),
    to("status_largest", "GET /shelves/1", on="converted", gives=trailers_only("18446744073709551615", "x")),
    to("status_signed", "GET /shelves/1", on="converted", gives=trailers_only("+5", "x")),
    to("status_negative", "GET /shelves/1", on="converted", gives=trailers_only("-1", "x")),
    to("status_leading_zeros", "GET /shelves/1", gives=trailers_only("0005", "x")),
    to("converted_of_trailers", "GET /shelves/1", on="converted", gives=answer(status="7", text="not you")),
    to("converted_details", "GET /shelves/1", on="converted", gives=trailers_only("9", "x", details(SHELF))),
    to("converted_details_in_trailers", "GET /shelves/1", on="converted", gives=answer(status="9", details=details(SHELF).rstrip("="))),
    to("converted_details_unknown", "GET /shelves/1", on="converted", gives=trailers_only("9", "x", details(status_pb2.Status()))),
    to("converted_details_bad", "GET /shelves/1", on="converted", gives=trailers_only("9", "x", "###")),
    to("converted_behind_a_message", "GET /shelves/1", on="converted", gives=answer(SHELF, status="9")),
    to("converted_ok", "GET /shelves/1", on="converted", gives=answer(SHELF)),
    to("converted_stream", "GET /watch", on="converted", gives=trailers_only("5", "gone")),
    Case(
        "limit_of_requests",
        request(b"PUT /v2/shelves/1 HTTP/1.1\r\nHost: a\r\ncontent-length: 99\r\n\r\n" + b'{"shelf":{"theme":"' + b"x" * 40),
        config="transcoder", listener="limited", ignore=(LEAKS, ENDS_LATER, UPSTREAM), status=413,
    ),
    to("limit_of_responses", "GET /shelves/1", on="limited", gives=answer(new("lib.Shelf", theme="y" * 60))),
    to("limit_of_responses_as_json", "GET /shelves/1", on="limited", gives=answer(new("lib.Shelf", theme="y" * 31, tags=["a"]))),
    to("limits_kept", "PUT /v2/shelves/1", '{"pageSize":3}', on="limited"),
]  # fmt: skip

STREAMS = [
    to("watch", "GET /watch?id=3", gives=answer(SHELF, new("lib.Shelf"), SHELF)),
    to("watch_nothing", "GET /watch", gives=answer()),
    to("watch_trailers_only", "GET /watch", gives=trailers_only("0")),
    to("watch_fails_at_once", "GET /watch", gives=trailers_only("7", "no")),
    to("watch_fails_later", "GET /watch", gives=answer(SHELF, status="13")),
    to("watch_breaks", "GET /watch", gives=answer(SHELF, b"\x08")),
    to("watch_lines", "GET /watch", on="lines", gives=answer(SHELF, SHELF)),
    to("watch_lines_nothing", "GET /watch", on="lines", gives=answer()),
    to("watch_events", "GET /watch", on="events", gives=answer(SHELF, SHELF)),
    to("watch_events_trailers_only", "GET /watch", on="events", gives=trailers_only("0")),
    to("unary_beside_events", "GET /shelves/1", on="events"),
    to("watch_printed", "GET /watch", on="printed", gives=answer(SHELF, SHELF)),
    to("upload", "POST /upload?id=1", '[{"id":"1"},{"shelf":{"id":3}},{}]'),
    to("upload_nothing", "POST /upload", "[]"),
    refused("upload_object", "POST /upload", "{}"),
    refused("upload_scalar", "POST /upload", "1"),
    refused("upload_scalars", "POST /upload", "[1]"),
    refused("upload_lists", "POST /upload", "[[1]]"),
    refused("upload_without_a_body", "GET /upload"),
    refused("upload_bad", "POST /upload", '[{"id":1},{"id":"x"}]'),
    refused("upload_cut", "POST /upload", '[{"id":1},'),
    refused("upload_garbage", "POST /upload", '[{"id":1}] x'),
    to("upload_parts", "POST /upload/5", '[{"id":1},{"id":2}]'),
    refused("upload_collision", "POST /upload?page_size=1", '[{"page_size":2,"color":"red"}]', on="strict"),
    to("chat", "POST /chat", '[{"id":1},{"id":2}]', gives=answer(SHELF, SHELF)),
    in_chunks("upload_in_pieces", "POST /upload", b'[{"id":1},', b'{"id"', b":2}]"),
    to("file", "POST /files/a%2Fb?note=n", b"\x00\xffraw", gives=answer(SHELF)),
    to("file_empty", "POST /files/a", b""),
    to("file_bound_inside", "POST /files/a?file.content_type=x&name=y", b"raw"),
    to("file_unknown_parameter", "POST /files/a?nobody=1", b"raw"),
    to("file_captured", "POST /files/a?nobody=1&nobody=2&note=x", b"raw", on="captured"),
    to("captured_elsewhere", "GET /shelves/1?nobody=1&page_size=2", on="captured"),
    refused("file_bad_binding", "POST /raw?nobody=x", b"raw", on="strict"),
    to("raw", "POST /raw", b"raw", gives=answer(new("google.api.HttpBody", content_type="text/x", data=b"back"))),
    to("raw_without_a_body", "GET /raw", gives=answer(new("google.api.HttpBody", data=b"back"))),
    to("files", "PUT /files/a?note=n", b"all of it"),
    to("files_nothing", "PUT /files/a", b""),
    in_chunks("files_in_a_chunk", "PUT /files/a", b"hello", headers="Host: a\r\ncontent-type: text/y"),
    in_chunks("files_in_trailers", "PUT /files/a", b"hello", trailers=b"x-a: b\r\n"),
    in_chunks("file_in_pieces", "POST /files/a", b"hello", b"again"),
    to("load", "GET /files/a", gives=answer(new("google.api.HttpBody", content_type="image/png", data=b"\x89PNG"))),
    to("load_nothing", "GET /files/a", gives=answer()),
    to("load_fails", "GET /files/a", gives=answer(status="5", text="none")),
    to("load_empty", "GET /files/a", gives=answer(b"")),
    to("load_two", "GET /files/a", gives=answer(new("google.api.HttpBody", data=b"1"), new("google.api.HttpBody", data=b"2"))),
    to("load_part", "GET /parts/a", gives=answer(new("lib.FileRequest", note="n", file={"content_type": "a/b", "data": b"part"}))),
    to("load_all", "GET /all/a", gives=answer(new("google.api.HttpBody", content_type="a/b", data=b"1"), new("google.api.HttpBody", content_type="c/d", data=b"2"))),
    to("load_all_nothing", "GET /all/a", gives=answer()),
]  # fmt: skip

CASES = [*grouped(*ROUTES), *grouped(*JSON_IN), *grouped(*JSON_OUT), *grouped(*ANSWERS), *grouped(*STREAMS)]
# Those come last whose requests may still be on their way to the upstream when they were answered: it would take the
# head of one for a request of the next case.
CASES.sort(key=lambda case: UPSTREAM in case.ignore)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_transcoder(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
