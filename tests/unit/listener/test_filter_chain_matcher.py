"""``filter_chain_matcher``: chains by name."""

from typing import Any

import pytest
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2 as _inputs  # noqa: F401
from google.protobuf import wrappers_pb2 as _wrappers  # noqa: F401
from tests.unit.listener.conftest import ECHO, listener_proto

from proxeny.config.errors import ConfigError
from proxeny.listener.config import ListenerConfig
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

STRING = "type.googleapis.com/google.protobuf.StringValue"
NETWORK = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3"


def an_input(kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": "i", "typed_config": {"@type": f"{NETWORK}.{kind}", **fields}}


def to(chain: str) -> dict[str, Any]:
    return {"action": {"name": "a", "typed_config": {"@type": STRING, "value": chain}}}


def by(an_input: dict[str, Any], **children: str) -> dict[str, Any]:
    mapped = {key.strip("_"): to(chain) for key, chain in children.items()}
    return {"matcher_tree": {"input": an_input, "exact_match_map": {"map": mapped}}}


def chain(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "filters": [ECHO], **fields}


def compiled(context: FactoryContext, matcher: Any, *chains: dict[str, Any], **fields: Any) -> Any:
    message = listener_proto(filter_chains=list(chains), filter_chain_matcher=matcher, **fields)
    return ListenerConfig.compile(message, context).matcher


def connection(port: int) -> ConnectionInfo:
    return ConnectionInfo(ip_address("10.0.0.1", port), ip_address("10.0.0.2", 4000), 1)


def test_chains_by_name(context: FactoryContext) -> None:
    matcher = compiled(
        context,
        by(an_input("DestinationPortInput"), _80="one", _81="missing"),
        chain("one", filter_chain_match={"destination_port": 1}),
        chain("two"),
        default_filter_chain=chain("default"),
    )
    assert matcher.only is None
    assert matcher.find(connection(80)).name == "one"
    assert matcher.find(connection(81)) is None
    assert matcher.find(connection(82)).name == "default"


def test_filter_state_is_seen(context: FactoryContext) -> None:
    matcher = compiled(context, by(an_input("FilterStateInput", key="k"), v="one"), chain("one"))
    info = connection(80)
    assert matcher.find(info) is None
    stream = StreamInfo(info, 0.0, 0)
    stream.filter_state["k"] = "v"
    assert matcher.find(info, stream).name == "one"


def test_a_matcher_without_conditions(context: FactoryContext) -> None:
    assert compiled(context, {"on_no_match": to("one")}, chain("one")).find(connection(1)).name == "one"
    assert compiled(context, {}, chain("one")).find(connection(1)) is None


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def skipped(self, action: Any) -> None:
        self.texts.append(f"{action} is skipped")


def test_a_trace_says_what_was_asked(context: FactoryContext) -> None:
    matcher = compiled(context, by(an_input("DestinationPortInput"), _80="one", _81="missing"), chain("one"))
    notes = Notes()
    action, found = matcher.trace(connection(81), notes)
    assert (str(action), found) == ("filter chain 'missing'", None)
    assert notes.texts == ["destination port is '81'", "it fits '81'"]
    action, found = matcher.trace(connection(80), Notes())
    assert found.name == "one"


@pytest.mark.parametrize(
    ("chains", "matcher", "words"),
    [
        ([{"filters": [ECHO]}], {}, "error adding listener '127.0.0.1:0': \"name\" field is required when using a"),
        (
            [chain("a"), chain("a")],
            {},
            "error adding listener '127.0.0.1:0': \"name\" field is duplicated with value 'a'",
        ),
        (
            [chain("a", filter_chain_match={"address_suffix": "a"})],
            {},
            "filter chain 'a' contains unimplemented fields",
        ),
        (
            [chain("a")],
            {"on_no_match": {"action": {"name": "n", "typed_config": {"@type": f"{NETWORK}.SourceIPInput"}}}},
            "cannot create a filter chain matcher: Didn't find a registered implementation for 'n' with type URL: "
            "'envoy.extensions.matching.common_inputs.network.v3.SourceIPInput'",
        ),
        (
            [chain("a")],
            by({"name": "n", "typed_config": {"@type": STRING, "value": "v"}}, x="a"),
            "cannot create a filter chain matcher: Didn't find a registered implementation for 'n'",
        ),
    ],
)
def test_refusals(context: FactoryContext, chains: list[Any], matcher: Any, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(context, matcher, *chains)
    assert words in refused.value.message
