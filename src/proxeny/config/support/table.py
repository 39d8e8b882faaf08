"""What one entry of a support table says about a message type."""

from dataclasses import dataclass
from enum import Enum


class FieldClass(Enum):
    """How far a field is served (docs/compatibility.md lists them)."""

    DONE = "done"
    ACCEPTED = "accepted"  # taken and checked, but nothing here differs by it: warned and counted
    REFUSED = "refused"  # by name, when the configuration is loaded


@dataclass(frozen=True, slots=True)
class MessageSupport:
    """The served fields of a message type; every other field of it is refused."""

    done: frozenset[str]
    accepted: frozenset[str]
    extension: bool = False  # may be the content of an Any

    def class_of(self, field: str) -> FieldClass:
        """The class of the field `field`."""
        if field in self.done:
            return FieldClass.DONE
        return FieldClass.ACCEPTED if field in self.accepted else FieldClass.REFUSED


Table = dict[str, MessageSupport]


def fields(done: str = "", accepted: str = "") -> MessageSupport:
    """An entry for a message inside the configuration; field names separated by blanks."""
    return MessageSupport(frozenset(done.split()), frozenset(accepted.split()))


def extension(done: str = "", accepted: str = "") -> MessageSupport:
    """An entry for the configuration message of an extension."""
    return MessageSupport(frozenset(done.split()), frozenset(accepted.split()), True)
