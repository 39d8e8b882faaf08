"""One walk over a message tree that checks all that can be checked without compiling it.

For every message type a plan is made once: per field the visitor of a set value (PGV rules, durations, deprecation,
class of support, the messages below), and the checks that concern unset fields (required ones, required oneofs, zero
values that break a rule). Only fields that need a visit have a visitor, so a walk costs little more than listing what
is set. The walk goes into Any contents as Envoy's factories do when they unpack them. It changes one thing:
TypedStructs become the messages that they describe.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message
from validate import validate_pb2

from proxeny.config import field_path, pgv
from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError, UnknownExtensionError, UnsupportedFieldError
from proxeny.config.extra_rules import EXTRA_RULES, ExtraRule
from proxeny.config.inspector import Inspector, Step
from proxeny.config.message_types import type_name_of
from proxeny.config.notes import Note, deprecated_default, field_notes, unfinished_message
from proxeny.config.support import is_extension, support_of
from proxeny.config.support.table import FieldClass
from proxeny.event.slices import Steps

Visitor = Callable[[Inspector, Any, Any], None]  # (inspector, value of the field, message it is in)
_STEPPED_LEVELS: Final = 2

# Their compile steps say which of the extensions below them they take (a list of policies: the first known one).
_CHOOSING: Final = frozenset(
    ("envoy.config.cluster.v3.LoadBalancingPolicy", "envoy.config.cluster.v3.Cluster.CustomClusterType")
)
_FILTER_CONFIG: Final = "envoy.config.route.v3.FilterConfig"
_SPECIFIER_PLUGIN: Final = "envoy.config.route.v3.ClusterSpecifierPlugin"
# Envoy computes with nanoseconds in 64 bits.
_MAX_SECONDS: Final = (2**63 - 1) // 10**9 - 1
_WRAPPED: Final = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_SPECIAL: Final = frozenset(("google.protobuf.Duration", "google.protobuf.Any"))
_OPAQUE: Final = frozenset(
    f"google.protobuf.{kind}" for kind in ("Struct", "Value", "ListValue", "Timestamp", "FieldMask", "Empty")
)


def inspect(message: Message, inspector: Inspector | None = None) -> None:
    """Check `message` and everything below it; raises ConfigError with the field path.

    What is not served is refused last: a fault that Envoy would name goes first.
    """
    inspector = inspector or Inspector()
    plan_of(message.DESCRIPTOR).inspect(inspector, message)
    _refuse_unsupported(inspector)


def inspect_steps(message: Message, inspector: Inspector) -> Steps[None]:
    """``inspect`` in slices: item by item of what the message has many of, and each of these again."""
    yield from plan_of(message.DESCRIPTOR).inspect_steps(inspector, message, _STEPPED_LEVELS)
    _refuse_unsupported(inspector)


def _refuse_unsupported(inspector: Inspector) -> None:
    findings = inspector.findings
    if findings is not None and findings.unsupported and not findings.accept_unsupported:
        path = findings.unsupported[0]
        field = path.rpartition(".")[2]
        raise UnsupportedFieldError(f"the field '{field}' is not supported by this build of Proxeny", path)


class TypePlan:
    """The checks of one message type."""

    __slots__ = ("_absent", "_compiled", "_descriptor", "_lists", "_visitors")

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor
        self._visitors: dict[int, Visitor] = {}
        self._lists: dict[int, _ListVisitor] = {}
        """Visitors of lists of messages that may be gone through in slices."""
        self._absent: tuple[Note, ...] = ()
        self._compiled = False

    def inspect(self, inspector: Inspector, message: Any) -> None:
        """Check one message of this type."""
        if not self._compiled:
            self._compile()
        for check in self._absent:
            check(inspector, message)
        visitors = self._visitors
        for field, value in message.ListFields():
            visit = visitors.get(field.number)
            if visit is not None:
                visit(inspector, value, message)

    def inspect_steps(self, inspector: Inspector, message: Any, levels: int) -> Steps[None]:
        """``inspect`` in slices; ``levels``: of lists in lists that are gone through item by item."""
        if not self._compiled:
            self._compile()
        for check in self._absent:
            check(inspector, message)
        for field, value in message.ListFields():
            visit_list = self._lists.get(field.number)
            if visit_list is not None and levels:
                yield from visit_list.steps(inspector, value, levels - 1)
                continue
            visit = self._visitors.get(field.number)
            if visit is not None:
                visit(inspector, value, message)

    @property
    def trivial(self) -> bool:
        """Whether nothing of this type is ever checked (known for types without messages in them)."""
        if any(field.message_type is not None for field in self._descriptor.fields):
            return False
        if not self._compiled:
            self._compile()
        return not self._visitors and not self._absent

    def _compile(self) -> None:
        self._compiled = True
        options = self._descriptor.GetOptions()
        ignored = options.Extensions[validate_pb2.disabled] or options.Extensions[validate_pb2.ignored]
        absent: list[Note] = unfinished_message(self._descriptor)
        support = support_of(self._descriptor.full_name)
        for field in self._descriptor.fields:
            rules = None if ignored else _rules_of(field)
            visitor = plain = _field_visitor(field, rules)
            kind = FieldClass.DONE if support is None else support.class_of(field.name)
            visitor = _with_notes(field_notes(field, kind), kind, visitor)
            if self._descriptor.full_name in _CHOOSING:
                visitor = _muted(visitor)
            if self._descriptor.full_name == _SPECIFIER_PLUGIN and visitor is not None:
                visitor = _unless_optional(visitor)
            if visitor is not None:
                self._visitors[field.number] = visitor
            if visitor is plain and isinstance(plain, _ListVisitor):
                self._lists[field.number] = plain
            absent.extend(_absent_checks(field, rules))
        if not ignored:
            oneofs = self._descriptor.oneofs
            required = validate_pb2.required
            absent += [_required_oneof(oneof.name) for oneof in oneofs if oneof.GetOptions().Extensions[required]]
        extra = EXTRA_RULES.get(self._descriptor.full_name)
        if extra is not None:
            absent.append(_extra_check(extra))
        self._absent = tuple(absent)


_PLANS: Final[dict[str, TypePlan]] = {}


def plan_of(descriptor: Any) -> TypePlan:
    """The plan of a message type."""
    name = descriptor.full_name
    plan = _PLANS.get(name)
    if plan is None:
        plan = _PLANS[name] = TypePlan(descriptor)
    return plan


def _rules_of(field: Any) -> Any:
    options = field.GetOptions()
    return options.Extensions[validate_pb2.rules] if options.HasExtension(validate_pb2.rules) else None


def _extra_check(rule: ExtraRule) -> Note:
    def check(inspector: Inspector, message: Any) -> None:
        reason = rule(message)
        if reason is not None:
            raise ConfigError(reason, inspector.path())

    return check


def _required_oneof(name: str) -> Note:
    reason = f'field: "{name}", reason: is required'

    def check(inspector: Inspector, message: Any) -> None:
        if message.WhichOneof(name) is None:
            raise inspector.missing(reason)

    return check


def _absent_checks(field: Any, rules: Any) -> list[Note]:
    """The checks that concern the field when it is not set."""
    name, step = field.name, Step(field)
    checks: list[Note] = []

    def fail(inspector: Inspector, reason: str) -> None:
        inspector.trail.append(step)
        raise inspector.violation(reason)

    def required(inspector: Inspector, message: Any) -> None:
        if not message.HasField(name):
            fail(inspector, "value is required")

    def zero_refused(inspector: Inspector, message: Any) -> None:
        if not getattr(message, name):
            fail(inspector, zero_reason or "")

    in_oneof = field.containing_oneof is not None
    zero_reason = None if rules is None or in_oneof else _zero_reason(field, rules)
    if rules is not None and field.message_type is not None and not field.is_repeated and not in_oneof:
        kind = rules.WhichOneof("type")
        if rules.message.required or (kind in ("duration", "any", "timestamp") and getattr(rules, kind).required):
            checks.append(required)
    if zero_reason is not None:
        checks.append(zero_refused)
    if field.enum_type is not None and not field.is_repeated and not in_oneof:
        checks.extend(deprecated_default(field))
    return checks


def _zero_reason(field: Any, rules: Any) -> str | None:
    """Why the zero value of a field without presence breaks its rules, if it does."""
    if field.is_repeated:
        check = _size_check(field, rules)
        return None if check is None else check(())
    if field.has_presence:
        return None
    check = _value_check(field, rules)
    return None if check is None else check(field.default_value)


def _value_check(field: Any, rules: Any) -> pgv.Check | None:
    """The check of one scalar or enum value of the field.

    Envoy lets undefined enum numbers pass where no rule forbids them; nothing here could give them a meaning.
    """
    if field.enum_type is not None:
        return pgv.enum_check(rules, field.enum_type)
    return None if rules is None else pgv.compile_rules(rules)


def _size_check(field: Any, rules: Any) -> pgv.Check | None:
    if rules.HasField("repeated"):
        size = rules.repeated
        low = size.min_items if size.HasField("min_items") else None
        high = size.max_items if size.HasField("max_items") else None
        return pgv.size_check(low, high, "item(s)")
    if rules.HasField("map"):
        pairs = rules.map
        low = pairs.min_pairs if pairs.HasField("min_pairs") else None
        high = pairs.max_pairs if pairs.HasField("max_pairs") else None
        return pgv.size_check(low, high, "pair(s)")
    return None


def _field_visitor(field: Any, rules: Any) -> Visitor | None:
    """What is checked on a set value of the field."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_visitor(field, rules)
    if field.is_repeated:
        return _repeated_visitor(field, rules)
    inner = _single_visitor(field, rules)
    if inner is None:
        return None
    step = Step(field)

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        trail = inspector.trail
        trail.append(step)
        inner(inspector, value, message)
        trail.pop()

    return visit


def _single_visitor(field: Any, rules: Any) -> Visitor | None:
    """The check of one value whose place is on the trail already."""
    if field.message_type is None:
        return _scalar_visitor(_value_check(field, rules))
    type_name = field.message_type.full_name
    if type_name in _WRAPPED:
        check = None if rules is None else pgv.compile_rules(rules)
        return None if check is None else _scalar_visitor(lambda value: check(value.value))
    if type_name == "google.protobuf.Duration":
        return _duration_visitor(None if rules is None else pgv.compile_rules(rules))
    if type_name == "google.protobuf.Any":
        return _any_visitor(None if rules is None else pgv.compile_rules(rules))
    if not _has_plan(field.message_type, rules):
        return None
    child = plan_of(field.message_type)
    return lambda inspector, value, message: child.inspect(inspector, value)


def _has_plan(message_type: Any, rules: Any) -> bool:
    """Whether messages of the type are checked field by field."""
    type_name = message_type.full_name
    if type_name in _WRAPPED or type_name in _OPAQUE or type_name in _SPECIAL:
        return False
    return not (rules is not None and rules.message.skip) and not plan_of(message_type).trivial


def _scalar_visitor(check: pgv.Check | None) -> Visitor | None:
    if check is None:
        return None

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        reason = check(value)
        if reason is not None:
            raise inspector.violation(reason)

    return visit


def duration_fault(value: Any) -> str | None:
    """What makes a google.protobuf.Duration one that Envoy does not take (Envoy: ``DurationUtil``)."""
    seconds, nanos = value.seconds, value.nanos
    if seconds < 0 or nanos < 0:
        return "Expected positive duration"
    if nanos > 999_999_999 or seconds > _MAX_SECONDS:
        return "Duration out-of-range"
    return None


def _duration_visitor(check: pgv.Check | None) -> Visitor:
    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        fault = duration_fault(value)
        if fault is not None:
            raise inspector.bad_duration(fault, value)
        reason = None if check is None else check(value)
        if reason is not None:
            raise inspector.violation(reason)

    return visit


def _any_visitor(check: pgv.Check | None) -> Visitor:
    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        reason = None if check is None else check(value)
        if reason is not None:
            raise inspector.violation(reason)
        if message.DESCRIPTOR.full_name == _FILTER_CONFIG and message.is_optional and _is_unknown(value):
            return
        last = inspector.trail[-1]  # the key, in a map of extensions by name
        _inspect_content(inspector, value, last if isinstance(last, str) else getattr(message, "name", ""))

    return visit


def _is_unknown(any_message: Any) -> bool:
    """Whether nothing here takes the content: an optional filter's configuration is then passed over."""
    return not is_extension(type_name_of(any_message.type_url))


def _inspect_content(inspector: Inspector, any_message: Any, name: str) -> None:
    """Check what an Any holds (in Envoy: when the factory of extension `name` unpacks it).

    A TypedStruct is replaced by the message that it describes, so that nobody behind meets one.
    """
    if not any_message.type_url and not any_message.value:
        return
    try:
        content = open_any(any_message)
    except ConfigError as error:
        error.path = field_path.join(inspector.path(), error.path or "")
        raise
    type_name = content.DESCRIPTOR.full_name
    rewrites = inspector.rewrites
    if type_name != type_name_of(any_message.type_url):
        any_message.type_url = f"type.googleapis.com/{type_name}"
        inspector.rewrites += 1
    if inspector.findings is not None and not inspector.muted and not is_extension(type_name):
        raise UnknownExtensionError(
            f"Didn't find a registered implementation for '{name}' with type URL: '{type_name}'", inspector.path()
        )
    root, inspector.root = inspector.root, len(inspector.trail)
    try:
        plan_of(content.DESCRIPTOR).inspect(inspector, content)
    except ConfigError as error:
        error.within = error.within or content
        raise
    inspector.root = root
    if inspector.rewrites != rewrites:
        any_message.value = content.SerializeToString(deterministic=True)


def _repeated_visitor(field: Any, rules: Any) -> Visitor | None:
    size = None if rules is None else _size_check(field, rules)
    items = rules.repeated.items if rules is not None and rules.repeated.HasField("items") else None
    inner = _single_visitor(field, items)
    unique = rules is not None and rules.repeated.unique
    if size is None and inner is None and not unique:
        return None
    if not unique and field.message_type is not None and _has_plan(field.message_type, items):
        return _ListVisitor(Step(field), size, plan_of(field.message_type))
    step = Step(field)

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        trail = inspector.trail
        trail.append(step)
        reason = (size(value) if size is not None else None) or (pgv.unique_check(value) if unique else None)
        if reason is not None:
            raise inspector.violation(reason)
        if inner is not None:
            trail.append(0)
            for index, item in enumerate(value):
                trail[-1] = index
                inner(inspector, item, message)
            trail.pop()
        trail.pop()

    return visit


class _ListVisitor:
    """The visitor of a list of messages that are checked by their plan."""

    __slots__ = ("_plan", "_size", "_step")

    def __init__(self, step: Step, size: pgv.Check | None, plan: TypePlan) -> None:
        self._step = step
        self._size = size
        self._plan = plan

    def __call__(self, inspector: Inspector, value: Any, message: Any) -> None:
        self._begin(inspector, value)
        trail, inspect_item = inspector.trail, self._plan.inspect
        for index, item in enumerate(value):
            trail[-1] = index
            inspect_item(inspector, item)
        del trail[-2:]

    def steps(self, inspector: Inspector, value: Any, levels: int) -> Steps[None]:
        """The same in slices."""
        self._begin(inspector, value)
        trail, inspect_item = inspector.trail, self._plan.inspect_steps
        for index, item in enumerate(value):
            trail[-1] = index
            yield from inspect_item(inspector, item, levels)
            if not index & 7:
                yield
        del trail[-2:]

    def _begin(self, inspector: Inspector, value: Any) -> None:
        inspector.trail.append(self._step)
        reason = None if self._size is None else self._size(value)
        if reason is not None:
            raise inspector.violation(reason)
        inspector.trail.append(0)


def _map_visitor(field: Any, rules: Any) -> Visitor | None:
    size = None if rules is None else _size_check(field, rules)
    entry = field.message_type.fields_by_name
    has_keys = rules is not None and rules.map.HasField("keys")
    has_values = rules is not None and rules.map.HasField("values")
    key_check = _scalar_visitor(_value_check(entry["key"], rules.map.keys if has_keys else None))
    value_check = _single_visitor(entry["value"], rules.map.values if has_values else None)
    if size is None and key_check is None and value_check is None:
        return None
    step = Step(field)

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        trail = inspector.trail
        trail.append(step)
        reason = size(value) if size is not None else None
        if reason is not None:
            raise inspector.violation(reason)
        for key in sorted(value):
            trail.append(key)
            if key_check is not None:
                key_check(inspector, key, message)
            if value_check is not None:
                value_check(inspector, value[key], message)
            trail.pop()
        trail.pop()

    return visit


def _with_notes(notes: list[Note], kind: FieldClass, visitor: Visitor | None) -> Visitor | None:
    """`visitor`, preceded by what a set field is noted for."""
    if not notes:
        return visitor
    below = visitor if kind is FieldClass.DONE else _muted(visitor)

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        for note in notes:
            note(inspector, message)
        if below is not None:
            below(inspector, value, message)

    return visit


def _unless_optional(visitor: Visitor) -> Visitor:
    """An optional plugin that nothing here knows is passed over."""

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        if not (message.is_optional and message.extension.name and _is_unknown(message.extension.typed_config)):
            visitor(inspector, value, message)

    return visit


def _muted(visitor: Visitor | None) -> Visitor | None:
    """Below a field that is not served constraints hold, but nobody asks what is served."""
    if visitor is None:
        return None

    def visit(inspector: Inspector, value: Any, message: Any) -> None:
        inspector.muted += 1
        visitor(inspector, value, message)
        inspector.muted -= 1

    return visit
