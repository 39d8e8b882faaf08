"""The state of one walk over a configuration: where it is, what it found, and how its refusals are worded."""

from typing import Any, Final

from proxeny.config import field_path
from proxeny.config.debug_string import debug_string
from proxeny.config.deprecation import DeprecatedUse
from proxeny.config.errors import ConfigError
from proxeny.config.support.table import FieldClass

VIOLATION: Final = "Proto constraint validation failed"
"""How the words about a broken rule begin."""


class Findings:
    """What a walk tells besides errors."""

    __slots__ = ("accept_unsupported", "accepted", "deprecated", "unsupported", "wip")

    def __init__(self, accept_unsupported: bool = False) -> None:
        self.accept_unsupported = accept_unsupported
        self.deprecated: list[DeprecatedUse] = []
        self.accepted: list[str] = []
        self.unsupported: list[str] = []
        self.wip: list[str] = []


class Step:
    """One field on the way down: for field paths (`name`) and PGV's chains (`type_name`, `camel`)."""

    __slots__ = ("camel", "name", "type_name")

    def __init__(self, field: Any) -> None:
        self.name: str = field.name
        self.type_name: str = field.containing_type.name
        self.camel: str = "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))


class Inspector:
    """One walk. Without `findings` only constraints are checked; with them also support and deprecation."""

    __slots__ = ("findings", "muted", "rewrites", "root", "trail")

    def __init__(self, findings: Findings | None = None) -> None:
        self.findings = findings
        self.rewrites = 0  # contents that were replaced so far: whoever holds them has to be packed again
        self.trail: list[Step | int | str] = []
        self.root = 0  # where in the trail the message that PGV validates as a whole begins
        self.muted = 0  # below a field that is not served, nobody asks what is served

    def path(self) -> str:
        """Where the walk is."""
        text = ""
        for item in self.trail:
            if isinstance(item, Step):
                text = field_path.join(text, item.name)
            else:
                text = field_path.join(text, f"[{item}]" if isinstance(item, int) else field_path.key(item))
        return text

    def violation(self, reason: str) -> ConfigError:
        """A broken rule on the field where the walk is, in PGV's words."""
        links: list[str] = []
        for item in self.trail[self.root :]:
            if isinstance(item, Step):
                links.append(f"{item.type_name}ValidationError.{item.camel}")
            elif links:
                links[-1] += f"[{item}]"
        chain = ": embedded message failed validation | caused by ".join(links)
        return self._constraint_error(f"{chain}: {reason}")

    def missing(self, reason: str) -> ConfigError:
        """A message without a required oneof member: `reason` stands for the message itself."""
        chain = self.violation("embedded message failed validation | caused by ").message
        if len(self.trail) == self.root:
            return self._constraint_error(reason)
        return ConfigError(chain[:-1] + reason + ")", self.path())

    def _constraint_error(self, text: str) -> ConfigError:
        return ConfigError(f"{VIOLATION} ({text})", self.path())

    def bad_duration(self, fault: str, value: Any) -> ConfigError:
        """A duration that Envoy refuses before it looks at any rule."""
        return ConfigError(f"Invalid duration: {fault}: {debug_string(value)}", self.path())

    def on_deprecated(self, type_name: str, feature: str, what: str, disallowed: bool) -> None:
        """A deprecated field or value; the runtime judges what is inside extensions, as in Envoy."""
        if self.findings is not None:
            use = DeprecatedUse(type_name, feature, what, self.path(), disallowed, judged=self.root > 0)
            self.findings.deprecated.append(use)

    def on_wip(self, text: str) -> None:
        """A field or message that its authors call unfinished."""
        if self.findings is not None:
            self.findings.wip.append(f"{text} is marked as work-in-progress: not considered stable")

    def on_class(self, field: str, kind: FieldClass) -> None:
        """A set field that is not simply served."""
        findings = self.findings
        if findings is None or self.muted:
            return
        path = field_path.join(self.path(), field)
        (findings.accepted if kind is FieldClass.ACCEPTED else findings.unsupported).append(path)
