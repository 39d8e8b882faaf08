"""The unified matcher: compiled trees against a reference that reads the message; order, nesting, what is not known."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.common.matcher.v3.matcher_pb2 import Matcher as OlderMatcher
from google.protobuf import json_format, struct_pb2, wrappers_pb2
from xds.type.matcher.v3.matcher_pb2 import Matcher

from proxeny.config.errors import ConfigError
from proxeny.matcher.inputs import NOT_AVAILABLE
from proxeny.matcher.tree_compiler import MatchTreeCompiler
from proxeny.registry import REGISTRY, Extension

Fact = dict[str, Any]


class FactInput:
    """Reads a key of a dictionary."""

    def __init__(self, key: str) -> None:
        self.key = self.name = key

    def get(self, data: Fact) -> Any:
        return data.get(self.key)


class FactFactory:
    def create_input(self, message: Any, context: Any) -> FactInput:
        return FactInput(message.value)


class WordFactory:
    def create_action(self, message: Any, context: Any) -> str:
        return str(message.value)


FACTS, WORDS = FactFactory(), WordFactory()
STRING = "type.googleapis.com/google.protobuf.StringValue"


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    names = [("test_input", "FACTS"), ("test_action", "WORDS")]
    for kind, target in names:
        REGISTRY.add(Extension(kind, kind, f"{__name__}:{target}", ("google.protobuf.StringValue",)))
    yield
    for kind, _ in names:
        REGISTRY._by_name.pop((kind, kind))
        REGISTRY._by_type.pop((kind, "google.protobuf.StringValue"))


def named(value: str) -> dict[str, Any]:
    return {"name": "x", "typed_config": {"@type": STRING, "value": value}}


def word(value: str, keep: bool = False) -> dict[str, Any]:
    return {"action": named(value), "keep_matching": keep}


def single(fact: str, **match: Any) -> dict[str, Any]:
    return {"single_predicate": {"input": named(fact), "value_match": match}}


def compiled(config: dict[str, Any]) -> Any:
    message = json_format.ParseDict(config, Matcher())
    return MatchTreeCompiler(None, "test_input", "test_action").tree(message)  # type: ignore[arg-type]


def a_list(*matchers: tuple[dict[str, Any], dict[str, Any]], rest: dict[str, Any] | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "matcher_list": {"matchers": [{"predicate": predicate, "on_match": then} for predicate, then in matchers]}
    }
    return {**config, "on_no_match": rest} if rest else config


def a_map(kind: str, fact: str, rest: dict[str, Any] | None = None, **children: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {"matcher_tree": {"input": named(fact), kind: {"map": children}}}
    return {**config, "on_no_match": rest} if rest else config


class Notes:
    """An observer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.actions: list[Any] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def skipped(self, action: Any) -> None:
        self.actions.append(action)


# The reference: reads the configuration anew for every match. True/False/None and word/None/NOT_AVAILABLE as there.


def says(predicate: dict[str, Any], data: Fact) -> bool | None:
    ((kind, body),) = predicate.items()
    if kind == "single_predicate":
        value = data.get(body["input"]["typed_config"]["value"])
        if value is NOT_AVAILABLE:
            return None
        if value is None:
            return False
        ((how, wanted),) = body["value_match"].items()
        text = value.decode()
        return {"exact": text == wanted, "prefix": text.startswith(wanted), "contains": wanted in text}[how]
    if kind == "not_matcher":
        inner = says(body, data)
        return None if inner is None else not inner
    answers = [says(part, data) for part in body["predicate"]]
    if kind == "and_matcher":
        return next((answer for answer in answers if not answer), True)
    return True if True in answers else (None if None in answers else False)


def leads(on_match: dict[str, Any] | None, data: Fact) -> Any:
    if on_match is None:
        return None
    if "matcher" in on_match:
        result = decides(on_match["matcher"], data)
    else:
        result = on_match["action"]["typed_config"]["value"]
    return None if on_match.get("keep_matching") and result is not NOT_AVAILABLE else result


def decides(config: dict[str, Any], data: Fact) -> Any:
    rest = config.get("on_no_match")
    if "matcher_list" in config:
        for matcher in config["matcher_list"]["matchers"]:
            answer = says(matcher["predicate"], data)
            if answer is None:
                return NOT_AVAILABLE
            if answer and (result := leads(matcher["on_match"], data)) is not None:
                return result
        return leads(rest, data)
    if "matcher_tree" not in config:
        return leads(rest, data)
    tree = config["matcher_tree"]
    value = data.get(tree["input"]["typed_config"]["value"])
    if value is NOT_AVAILABLE:
        return NOT_AVAILABLE
    if value is not None:
        text = value.decode()
        if "exact_match_map" in tree:
            keys = [key for key in tree["exact_match_map"]["map"] if key == text]
            children = tree["exact_match_map"]["map"]
        else:
            children = tree["prefix_match_map"]["map"]
            keys = sorted((key for key in children if text.startswith(key)), key=len, reverse=True)
        for key in keys:
            if (result := leads(children[key], data)) is not None:
                return result
    return leads(rest, data)


FACT_NAMES = ["a", "b", "c"]
TEXTS = ["x", "xy", "xyz", "yx", "y"]


def random_predicate(rng: random.Random, depth: int) -> dict[str, Any]:
    kind = rng.choice(["single", "single", "and_matcher", "or_matcher", "not"] if depth else ["single"])
    if kind == "single":
        how = rng.choice(["exact", "prefix", "contains"])
        return single(rng.choice(FACT_NAMES), **{how: rng.choice(TEXTS)})
    if kind == "not":
        return {"not_matcher": random_predicate(rng, depth - 1)}
    return {kind: {"predicate": [random_predicate(rng, depth - 1) for _ in range(rng.randint(2, 3))]}}


def random_on_match(rng: random.Random, depth: int) -> dict[str, Any]:
    keep = rng.random() < 0.2
    if depth and rng.random() < 0.5:
        return {"matcher": random_tree(rng, depth - 1), "keep_matching": keep}
    return word(f"w{rng.randint(0, 99)}", keep)


def random_tree(rng: random.Random, depth: int) -> dict[str, Any]:
    rest = random_on_match(rng, depth) if rng.random() < 0.5 else None
    kind = rng.choice(["list", "exact_match_map", "prefix_match_map", "none"])
    if kind == "list":
        items = [(random_predicate(rng, 2), random_on_match(rng, depth)) for _ in range(rng.randint(1, 3))]
        return a_list(*items, rest=rest)
    if kind == "none":
        return {"on_no_match": rest} if rest else {}
    keys = rng.sample(TEXTS, rng.randint(1, 4))
    return a_map(kind, rng.choice(FACT_NAMES), rest, **{key: random_on_match(rng, depth) for key in keys})


@pytest.mark.parametrize("seed", range(60))
def test_compiled_trees_agree_with_the_reference(seed: int) -> None:
    rng = random.Random(seed)
    config = random_tree(rng, 3)
    tree = compiled(config)
    for _ in range(100):
        data = {name: rng.choice([None, NOT_AVAILABLE, *(text.encode() for text in TEXTS)]) for name in FACT_NAMES}
        expected = decides(config, data)
        assert tree.match(data) == expected
        assert tree.match(data, Notes()) == expected


def test_keep_matching_skips_the_action_and_tells_the_observer() -> None:
    tree = compiled(
        a_list(
            (single("a", exact="x"), word("first", keep=True)),
            (single("a", prefix="x"), {"matcher": {"on_no_match": word("nested")}, "keep_matching": True}),
            (single("a", contains="x"), word("last")),
        )
    )
    notes = Notes()
    assert tree.match({"a": b"x"}, notes) == "last"
    assert notes.actions == ["first", "nested"]


def test_what_an_observer_is_told() -> None:
    tree = compiled(
        a_list(
            (single("a", suffix="Z", ignore_case=True), word("w")),
            (
                single("b", safe_regex={"google_re2": {}, "regex": "q.*"}),
                {"matcher": a_map("prefix_match_map", "a", None, x=word("w"), xyz=word("v", keep=True))},
            ),
        )
    )
    notes = Notes()
    assert tree.match({"a": b"xyz1", "b": b"q"}, notes) == "w"
    assert notes.texts == [
        "a 'xyz1' ends in 'Z' (in any case): no",
        "b 'q' matches regex 'q.*': yes",
        "a is 'xyz1'",
        "it fits 'xyz'",
        "it fits 'x'",
    ]


def test_facts_that_are_no_text_match_nothing() -> None:
    data = {"a": wrappers_pb2.StringValue(value="x")}
    assert compiled(a_list((single("a", prefix="x"), word("w")), rest=word("rest"))).match(data) == "rest"
    assert compiled(a_map("exact_match_map", "a", word("rest"), x=word("w"))).match(data) == "rest"
    assert compiled(a_map("prefix_match_map", "a", word("rest"), x=word("w"))).match(data) == "rest"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (a_list((single("a", exact="x"), {})), 'field: "on_match", reason: is required'),
        (
            a_list((single("a", ignore_case=True, safe_regex={"google_re2": {}, "regex": "x"}), word("w"))),
            "ignore_case has no effect for safe_regex.",
        ),
    ],
)
def test_refusals(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(config)
    assert words in refused.value.message


def test_the_older_message_says_the_same() -> None:
    config = a_list((single("a", exact="x"), word("w")), rest=word("rest"))
    message = json_format.ParseDict(config, OlderMatcher())
    tree = MatchTreeCompiler(None, "test_input", "test_action").tree(message)  # type: ignore[arg-type]
    assert [tree.match({"a": value}) for value in (b"x", b"y")] == ["w", "rest"]


def test_an_unknown_extension_is_named() -> None:
    message = Matcher()
    message.on_no_match.action.name = "odd"
    message.on_no_match.action.typed_config.Pack(struct_pb2.Struct())
    with pytest.raises(ConfigError, match=r"implementation for 'odd' with type URL: 'google.protobuf.Struct'"):
        MatchTreeCompiler(None, "test_input", "test_action").tree(message)  # type: ignore[arg-type]
