"""The answer that a rehearsal foretells, as logs would show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.explain.rehearsal import Outcome

FORWARDED, REDIRECT, DIRECT, LOCAL_REPLY, WAITS = "forwarded", "redirect", "direct_response", "local_reply", "waits"
MOST_BODY: Final = 200
"""So much of a body is shown."""


@dataclass(slots=True)
class Prediction:
    """``code`` 0: none is known beforehand. ``flags`` as in access logs: ``-`` when there are none."""

    kind: str
    text: str = ""
    code: int = 0
    location: str = ""
    flags: str = "-"
    details: str = ""
    route_name: str = ""
    cluster: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    closes: bool = False
    """Whether the connection ends with the answer."""


def predict(outcome: Outcome) -> Prediction:
    """From what came out of the rehearsal."""
    info, answer = outcome.info, outcome.answer
    cluster = "" if info is None or info.upstream_cluster is None else info.upstream_cluster.name
    if answer is not None:
        prediction = Prediction(LOCAL_REPLY, code=answer.code, headers=answer.headers, closes=outcome.closes)
        prediction.body = answer.body[:MOST_BODY].decode("utf-8", "replace")
        prediction.location = answer.header("location")
        prediction.flags = "-" if info is None else info.flags_short()
        prediction.details = "" if info is None else info.response_code_details
        if prediction.details == "direct_response":
            prediction.kind = REDIRECT if prediction.location else DIRECT
        prediction.text = _answer_text(prediction)
    elif outcome.sent:
        sent = outcome.sent[0]
        host = sent.host.hostname or sent.host.address.as_string()
        prediction = Prediction(FORWARDED, f"forwarded to cluster '{sent.cluster}', for example to {host}")
        cluster = cluster or sent.cluster
    else:
        prediction = Prediction(WAITS, "no answer yet: the request is not complete, or waits for more of it")
    prediction.cluster = cluster
    prediction.route_name = "" if info is None else info.route_name
    return prediction


def _answer_text(prediction: Prediction) -> str:
    parts = [str(prediction.code)]
    if prediction.location:
        parts.append(f"to {prediction.location}")
    flags = f"{prediction.flags}, " if prediction.flags != "-" else ""
    parts.append(f"({flags}{prediction.details})")
    return " ".join(parts)
