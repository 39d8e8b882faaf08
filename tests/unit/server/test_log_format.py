"""spdlog patterns, against lines that Envoy printed for the same patterns."""

import logging
import re

import pytest

from proxeny.server.components import component_of
from proxeny.server.log_format import compile_format


def record(message: str = "hello", level: int = logging.INFO, name: str = "proxeny.upstream") -> logging.LogRecord:
    made = logging.LogRecord(name, level, "/x/src/proxeny/server/server.py", 42, message, (), None, "serve")
    made.created = 1795423175.202437
    return made


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%v", "hello"),
        ("[%l][%L][%n] %v", "[info][I][upstream] hello"),
        ("%g:%# %s %@ %!", "proxeny/server/server.py:42 server.py proxeny/server/server.py:42 serve"),
        ("%8l|%-8l|%=10l|%3!l|", "    info|info    |   info   |inf|"),
        ("%e %f %E %% %q", "202 202437 1795423175 % %q"),
        ("%^%v%$", "hello"),
        ("100%", "100%"),
    ],
)
def test_flags(pattern: str, text: str) -> None:
    assert compile_format(pattern)(record()) == text


def test_times() -> None:
    line = compile_format("[%Y-%m-%d %T.%e] %D %R %r %z %C")(record())
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.202\] \d\d/\d\d/\d\d \d\d:\d\d \d\d:\d\d:\d\d [AP]M [+-]\d\d:\d\d \d\d",
        line,
    )


def test_a_traceback_is_part_of_the_entry() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        made = record()
        made.exc_info = (ValueError, error, error.__traceback__)
    text = compile_format("%v")(made)
    assert text.startswith("hello\nTraceback")
    assert text.endswith("ValueError: boom")


@pytest.mark.parametrize(
    ("logger", "component"),
    [("proxeny.upstream.hosts", "upstream"), ("proxeny.listener", "conn_handler"), ("proxeny", "main"),
     ("proxeny.network.connection", "connection"), ("asyncio", "misc"), ("proxeny.http", "http")],
)  # fmt: skip
def test_components(logger: str, component: str) -> None:
    assert component_of(logger) == component
