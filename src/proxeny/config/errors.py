"""The error tree of configuration: everything that makes a configuration unacceptable is a ConfigError."""

from typing import Any


class ConfigError(ValueError):
    """A configuration was refused.

    `message` is Envoy's wording where Envoy has one; `path` is the field path from the root message
    (`static_resources.listeners[0].address`), `file` and `line` (1-based) say where it was written, when known.
    """

    def __init__(self, message: str, path: str | None = None, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message, path, file, line)
        self.message = message
        self.path = path
        self.file = file
        self.line = line
        self.within: Any = None
        """The message in an Any that the fault lies in: Envoy looks at that on its own."""

    def __str__(self) -> str:
        """`file:line: path: message`, without the parts that are not known."""
        where = self.file or ""
        if self.line is not None:
            where = f"{where}:{self.line}" if where else f"line {self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[object, ...]]:
        return type(self), (self.message, self.path, self.file, self.line)

    def at(self, path: str | None = None, file: str | None = None, line: int | None = None) -> "ConfigError":
        """The same error with the parts of its place that were still unknown filled in."""
        self.path = self.path or path
        self.file = self.file or file
        self.line = self.line if self.line is not None else line
        return self


class UnknownFieldError(ConfigError):
    """A field that the message does not have (Envoy: `no such field`)."""


class UnsupportedFieldError(ConfigError):
    """A field that Envoy has and this build of Proxeny does not serve."""


class UnknownExtensionError(ConfigError):
    """An extension (name and type URL) that nothing registered."""
