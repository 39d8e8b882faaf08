"""The path and the parameters of an admin request (Envoy normalises the path before its handlers see it)."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

_UNRESERVED = re.compile(r"%([46][1-9a-fA-F]|[57][0-9aA]|3[0-9]|2[dDeE]|5[fF]|7[eE])")


class Query(NamedTuple):
    """A normalised path, and parameters in order; the first value of a name counts."""

    path: str
    parameters: dict[str, str]
    text: str = ""
    """The query as it came."""


def parse_query(path_and_query: bytes) -> Query:
    """Splits and normalises; bytes that are not UTF-8 become surrogates."""
    text = path_and_query.decode("utf-8", "surrogateescape")
    path, _, query = text.partition("?")
    return Query(normalize(path), parse_parameters(query), query)


def all_values(query: str, name: str) -> list[str]:
    """Every value of a parameter, in order."""
    pairs = [pair.partition("=") for pair in query.split("&")]
    return [_decode(value) for key, _, value in pairs if _decode(key) == name]


def parse_parameters(query: str) -> dict[str, str]:
    """Parameters of a query or of a form; `+` stays, as in Envoy."""
    parameters: dict[str, str] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            parameters.setdefault(_decode(name), _decode(value))
    return parameters


def _decode(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text


def normalize(path: str) -> str:
    """Unreserved characters decoded, dot segments resolved, slashes merged: a guard on a path sees what is served."""
    path = _UNRESERVED.sub(lambda match: chr(int(match.group(1), 16)), path)
    segments: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part != ".":
            segments.append(part)
    if parts and parts[-1] in (".", ".."):
        segments.append("")
    if not any(segments):
        # Envoy's merge leaves "//" as it is, and no handler has that path.
        return "/" if len(segments) <= 1 else "//"
    slash = "" if segments[-1] else "/"
    return "/" + "/".join([segment for segment in segments if segment]) + slash
