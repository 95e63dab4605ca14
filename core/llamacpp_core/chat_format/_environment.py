"""The sandbox that chat templates run in.

A template comes with a model file, so it is untrusted code. Jinja's immutable sandbox keeps it away from
Python. The rest of this module bounds what it can use: steps and time are counted, and the operations that
build a big value at once are checked before they do.

Import this module inside functions only: it imports jinja2.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

__all__ = ["MAX_OUTPUT", "MAX_STEPS", "TemplateLimitError", "TemplateRaisedError", "environment", "metered"]

MAX_OUTPUT = 16 * 1024 * 1024
"""Most characters that one rendering may write, and that one value inside it may hold."""

MAX_STEPS = 1_000_000
"""Most loop iterations and calls of one rendering."""

MAX_SECONDS = 10.0
"""Most seconds that one rendering may take."""

_MAX_INTEGER_BITS = 1024
_MAX_WIDTH = 10_000
_UNUSED_GLOBALS = ("lipsum", "cycler", "joiner")
_WIDTH_TAKING = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "to_bytes"}
    | {"tojson", "truncate", "wordwrap", "zfill"}
)
_STRINGIFYING_FILTERS = frozenset({"string", "join", "pprint", "tojson", "urlencode"})


class TemplateRaisedError(Exception):
    """The template called ``raise_exception``."""


class TemplateLimitError(Exception):
    """The template passed a limit of this module."""


class _Meter:
    """What one rendering has used so far."""

    def __init__(self) -> None:
        self.steps = 0
        self.written = 0
        self.deadline = time.monotonic() + MAX_SECONDS


_meter: ContextVar[_Meter] = ContextVar("llamacpp_core_template_meter")


@contextmanager
def metered() -> Iterator[None]:
    """Gives the rendering inside this block a budget of its own."""
    token = _meter.set(_Meter())
    try:
        yield
    finally:
        _meter.reset(token)


def _fail(what: str) -> NoReturn:
    raise TemplateLimitError(what)


def _check_size(size: int) -> None:
    if size > MAX_OUTPUT:
        _fail(f"it built a value of more than {MAX_OUTPUT:,} characters or items")


def _check_nested(value: Any) -> None:
    """Refuses a structure that is small in memory and endless in print: lists that share their items."""
    seen, stack = 0, [value]
    while stack:
        item = stack.pop()
        seen += 1
        if seen > MAX_OUTPUT // 16:
            _fail("it printed a structure that is too big")
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _checked(value: Any) -> Any:
    if isinstance(value, (str, bytes, list, tuple, dict)):
        _check_size(len(value))
    elif isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        _fail(f"it built an integer of more than {_MAX_INTEGER_BITS} bits")
    return value


def _check_call(name: str, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuses a function or filter that would build too big a value from these arguments."""
    values = (*args, *kwargs.values())
    if name in _WIDTH_TAKING and any(isinstance(value, int) and abs(value) > _MAX_WIDTH for value in values):
        _fail(f"it passed a number greater than {_MAX_WIDTH:,} to {name}")
    if name in {"format", "format_map"} and isinstance(subject, str):
        _check_format(subject, values)
    if name == "replace" and len(args) >= 2 and isinstance(subject, str):
        _check_size(len(subject) + subject.count(str(args[0])) * len(str(args[1])))


def _check_format(pattern: str, values: tuple[Any, ...]) -> None:
    """Bounds what a format string can write: its widths, and every field holding the longest value."""
    widths = sum(int(digits[:9]) for digits in re.findall(r"[0-9]+", pattern))
    longest = max((len(value) if isinstance(value, str) else 32 for value in values), default=0)
    if "*" in pattern or re.search(r"\{[^{}]*\{", pattern):  # a value gives the width of a field
        longest = max(longest, *(abs(value) for value in values if isinstance(value, int)), 0)
    _check_size(len(pattern) + widths + (pattern.count("{") + pattern.count("%")) * longest)


def _check_join(items: Any, separator: Any) -> None:
    if isinstance(items, (list, tuple)):
        _check_size(sum(len(str(item)) for item in items) + len(items) * len(str(separator)))


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox with the limits of this module."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def step(self, static_text: int = 0) -> bool:
        """Counts one step that writes that many characters; True, so that it can be part of a condition."""
        meter = _meter.get()
        meter.steps += 1
        if meter.steps > MAX_STEPS or time.monotonic() > meter.deadline:
            _fail(f"it took more than {MAX_STEPS:,} steps or {MAX_SECONDS:g} seconds: it may loop for ever")
        return self._count_written(static_text)

    def output(self, value: Any) -> Any:
        """Counts what an expression writes: to the prompt, to a macro's value or to a block."""
        if isinstance(value, str):
            self._count_written(len(value))
        elif isinstance(value, (list, tuple, Mapping)):
            _check_nested(value)
        return value

    def joined(self, *values: Any) -> str:
        """The ``~`` operator."""
        for value in values:
            if isinstance(value, (list, tuple, Mapping)):
                _check_nested(value)
        parts = [str(value) for value in values]
        _check_size(sum(map(len, parts)))
        return "".join(parts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Checks what an operator is about to build."""
        if operator == "*":
            for sequence, count in ((left, right), (right, left)):
                if isinstance(sequence, (str, bytes, list, tuple)) and isinstance(count, int):
                    _check_size(len(sequence) * count)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > _MAX_INTEGER_BITS:
                _fail(f"it built an integer of more than {_MAX_INTEGER_BITS} bits")
        elif operator == "%" and isinstance(left, str):
            _check_format(left, right if isinstance(right, tuple) else (right,))
        return _checked(super().call_binop(context, operator, left, right))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Checks the arguments and the result of a call."""
        # Jinja's replacement of str.format hides its owner in the function that it wraps.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if owner is self:
            return obj(*args)
        self.step()
        name = getattr(obj, "__name__", "a function")
        _check_call(name, owner, args, kwargs)
        if name == "join" and args:
            _check_join(args[0], owner)
        return _checked(super().call(context, obj, *args, **kwargs))

    def _count_written(self, characters: int) -> bool:
        meter = _meter.get()
        meter.written += characters
        if meter.written > MAX_OUTPUT:
            _fail(f"it wrote more than {MAX_OUTPUT:,} characters")
        return True

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        _Instrumentation().visit(template)
        return template


class _Instrumentation(NodeTransformer):
    """Adds the counting to a parsed template.

    The calls go through EnvironmentAttribute, which is resolved in Python: a template cannot redefine it.
    """

    def visit_For(self, node: nodes.For) -> nodes.For:
        step = _step(node)
        self.generic_visit(node)
        # In the condition, so that items which it filters out count as well.
        node.test = step if node.test is None else nodes.And(step, node.test, lineno=node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        step = _step(node)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        step = _step(node)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("joined", node.nodes, node.lineno)


def _call(method: str, args: list[nodes.Expr], lineno: int) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), args, [], None, None, lineno=lineno)


def _step(node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Call:
    return _call("step", [nodes.Const(_static_text(node.body))], node.lineno)


def _static_text(body: list[nodes.Node]) -> int:
    """Characters of plain text in a body; the loops and macros inside it count their own."""
    total, stack = 0, list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.TemplateData):
            total += len(node.data)
        elif not isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock)):
            stack.extend(node.iter_child_nodes())
    return total


class GenerationTag(Extension):
    """``{% generation %}...{% endgeneration %}``: marks what transformers trains on; renders its body."""

    tags = {"generation"}  # noqa: RUF012  (declared so by the base class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns the statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers renders it: no HTML escapes, no sorting, text as it is."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: Any) -> NoReturn:
    raise TemplateRaisedError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _guarded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    # Jinja marks filters that want the context or the environment first.
    subject_at = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        subject, rest = args[subject_at], args[subject_at + 1 :]
        _check_call(name, subject, rest, kwargs)
        if name in _STRINGIFYING_FILTERS:
            _check_nested(subject)
        if name == "join":
            _check_join(subject, kwargs.get("d", rest[0] if rest else ""))
        return _checked(function(*args, **kwargs))

    return guarded


@functools.cache
def environment() -> Environment:
    """The environment that all chat templates share."""
    made = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationTag, LoopControlExtension],
    )
    made.finalize = made.output
    made.filters["tojson"] = _tojson
    made.filters = {name: _guarded_filter(name, function) for name, function in made.filters.items()}
    for name in _UNUSED_GLOBALS:
        made.globals.pop(name, None)
    made.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return made
