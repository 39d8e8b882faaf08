"""HeaderMap against a list of pairs as its model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.kernel.headers import HeaderMap

NAMES = [b":path", b"host", b"cookie", b"x-a", b"x-b", b"x-a-long-name-indeed", b"te"]
names = st.sampled_from(NAMES)
values = st.binary(max_size=40).map(lambda v: v.replace(b"\r", b"a").replace(b"\n", b"b").replace(b"\0", b"c"))


class Model:
    """The contract, written as plainly as possible."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def add(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))

    def remove(self, name: bytes) -> int:
        before = len(self.pairs)
        self.pairs = [pair for pair in self.pairs if pair[0] != name]
        return before - len(self.pairs)

    def index(self, name: bytes) -> int:
        return next((i for i, pair in enumerate(self.pairs) if pair[0] == name), -1)

    def set(self, name: bytes, value: bytes) -> None:
        at = self.index(name)
        if at < 0:
            self.add(name, value)
            return
        self.remove(name)
        self.pairs.insert(at, (name, value))

    def append_value(self, name: bytes, value: bytes) -> None:
        at = self.index(name)
        if at < 0:
            self.add(name, value)
        else:
            old = self.pairs[at][1]
            self.pairs[at] = (name, old + b"," + value if old else value)


operations = st.lists(
    st.tuples(st.sampled_from(["add", "set", "append_value", "remove", "copy", "clear"]), names, values), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(operations)
def test_agrees_with_a_plain_list(script: list[tuple[str, bytes, bytes]]) -> None:
    headers, model = HeaderMap(), Model()
    for operation, name, value in script:
        if operation == "remove":
            assert headers.remove(name) == model.remove(name)
        elif operation == "copy":
            other = headers.copy()
            headers.add(b"x-only-in-the-old", b"1")
            headers = other
        elif operation == "clear":
            if len(value) == 1:
                headers.clear()
                model.pairs.clear()
        else:
            getattr(headers, operation)(name, value)
            getattr(model, operation)(name, value)
        assert headers.items() == model.pairs
        assert headers.byte_size() == sum(len(n) + len(v) for n, v in model.pairs)
    for name in [*NAMES, b"absent"]:
        found = [v for n, v in model.pairs if n == name]
        assert headers.get_all(name) == found
        assert headers.get(name) == (found[0] if found else None)
        assert headers.get_joined(name) == (b",".join(found) if found else None)
        assert (name in headers) is bool(found)


def test_names_are_lower_cased() -> None:
    headers = HeaderMap([(b"X-Forwarded-For", b"1")])
    assert headers.items() == [(b"x-forwarded-for", b"1")]
    assert headers.original_name(0) == b"x-forwarded-for"


def test_nothing_set_here_starts_another_line() -> None:
    headers = HeaderMap()
    headers.add(b"a", b"1\r\nevil: 2")
    headers.set(b"b", b"\x00")
    headers.append_value(b"b", b"\n")
    assert headers.items() == [(b"a", b"1  evil: 2"), (b"b", b" , ")]


@pytest.mark.parametrize("name", [b"", b"a b", b"a\r\n", b"a\xe4", b"a(b"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    headers = HeaderMap()
    with pytest.raises(ValueError, match="header name"):
        headers.add(name, b"1")
    assert len(headers) == 0


def test_removals_of_several_and_by_prefix() -> None:
    headers = HeaderMap((b"x-envoy-%d" % i, b"v") for i in range(10))
    headers.add(b"accept", b"*/*")
    headers.add(b"x-envoy-3", b"again")
    assert headers.remove_many((b"x-envoy-3", b"absent", b"x-envoy-9")) == 3
    assert headers.remove_prefix(b"x-envoy-") == 8
    assert headers.items() == [(b"accept", b"*/*")]


def test_set_if_absent() -> None:
    headers = HeaderMap()
    assert headers.set_if_absent(b"a", b"1") is True
    assert headers.set_if_absent(b"a", b"2") is False
    assert headers.get(b"a") == b"1"


def test_equality_length_and_repr() -> None:
    headers = HeaderMap([(b"a", b"1")])
    assert headers == HeaderMap([(b"a", b"1")])
    assert headers != HeaderMap()
    assert headers != 3
    assert len(headers) == 1 and headers and not HeaderMap()
    assert list(headers) == [(b"a", b"1")]
    assert repr(headers) == "HeaderMap([(b'a', b'1')])"


def test_types_are_checked() -> None:
    headers = HeaderMap()
    for call in (lambda: headers.get("a"), lambda: headers.add(b"a", None), lambda: headers.set(b"a", "1")):
        with pytest.raises(TypeError):
            call()  # type: ignore[no-untyped-call]
