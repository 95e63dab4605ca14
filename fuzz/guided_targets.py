"""What ``fuzz.guided`` tries inputs on: each target takes any bytes, and works or raises a typed error."""

from __future__ import annotations

import contextlib
import json
import random
import re
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz import files, grammars, templates
from llamacpp_core.chat_format.formatter import Jinja2ChatFormatter
from llamacpp_core.chat_format.named import ToolSyntax
from llamacpp_core.chat_format.written_calls import WrittenCallParser
from llamacpp_core.errors import IncompleteOutputError, LlamaCppError
from llamacpp_core.grammar.gbnf import parse_gbnf
from llamacpp_core.grammar.json_schema import json_schema_to_gbnf, load_schema, loose_schema
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.strings import pattern_dfa
from llamacpp_core.grammar.validation import problem_of
from llamacpp_core.llama.saved_state import LlamaState
from llamacpp_core.models.gguf.header import read_gguf_header
from llamacpp_core.models.loadable import check_companion, check_loadable
from llamacpp_core.response.cut_off import MessageSoFar, check_complete
from llamacpp_core.response.parsers import ReasoningSplitter, Tags, Then, WholeJson
from llamacpp_core.response.tool_calls import ForcedCallParser, TaggedCallParser

__all__ = ["TARGETS", "Target"]

Mutate = Callable[[bytes, int], bytes]


@dataclass(frozen=True)
class Target:
    """A part of the package that reads what others wrote.

    Attributes:
        check: Reads one input; raises anything but a typed error where something is wrong.
        seeds: Inputs to begin with.
        words: What inputs are made of.
        mutate: Changes an input, with libFuzzer's own way as the last argument; None for that alone.
    """

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...] = ()
    mutate: Callable[[bytes, int, int, Mutate], bytes] | None = None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# Schemas: a grammar that can be read, or an error; and a loose one, and a validation.

_VALUES = ({}, {"a": 1, "b": [None, "x"]}, [1, 2.5, "a"], "ab", 3, None, True)


def schemas(data: bytes) -> None:
    """Compiles a schema, strictly and loosely, and looks whether values are valid under it."""
    text = _text(data)
    with contextlib.suppress(LlamaCppError):
        parse_gbnf(json_schema_to_gbnf(text))
    parse_gbnf(loose_schema(text).gbnf)
    schema = load_schema(text)
    for value in _VALUES if isinstance(schema, dict) else ():
        problem_of(value, schema)


def change_json(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Changes a JSON text as a tree, so that it stays one; now and then as bytes."""
    numbers = random.Random(seed)
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return mutate(data, most)
    if numbers.random() < 0.2:
        return mutate(data, most)
    for _ in range(numbers.choice((1, 1, 2, 4))):
        tree = _changed(tree, numbers)
    changed = json.dumps(tree).encode()
    return changed if len(changed) <= most else mutate(data, most)


def _changed(tree: Any, numbers: random.Random) -> Any:
    inside = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    if not inside or numbers.random() < 0.2:
        return numbers.choice(
            (grammars.schema(numbers, 2), numbers.choice(grammars.ATOMS), [tree], {"not": tree})
        )
    if isinstance(tree, list):
        out = list(tree)
        at = numbers.randrange(len(out))
        kind = numbers.randrange(4)
        out[at : at + (kind != 0)] = [] if kind == 1 else [_changed(out[at], numbers)]
        return out
    key, kind = numbers.choice(list(tree)), numbers.randrange(5)
    if kind == 0:
        return {name: value for name, value in tree.items() if name != key}
    if kind == 1:
        return {**tree, numbers.choice(grammars.KEYWORDS): numbers.choice((*inside, *grammars.ATOMS))}
    if kind == 2:
        more = grammars.schema(numbers, 1)
        return {**tree, **more} if isinstance(more, dict) else dict(reversed(tree.items()))
    return {**tree, key: _changed(tree[key], numbers)}


# Patterns: what the automaton accepts, Python's re finds too.


def patterns(data: bytes) -> None:
    """Compiles a pattern; what follows the last NUL tells the way of a string through its automaton."""
    first, _, way = data.rpartition(b"\0")
    pattern = _text(first or data)
    try:
        dfa = pattern_dfa(pattern)
        wide = pattern_dfa(pattern, wide=True)
    except PatternError:
        return
    json_schema_to_gbnf({"type": "string", "pattern": pattern, "maxLength": 20})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return
    text, state = "", 0
    for number in way[:12]:
        edges = dfa.edges[state]
        if not edges:
            break
        state = list(edges)[number % len(edges)]
        ranges = edges[state]
        low, high = ranges[number // 16 % len(ranges)]
        text += chr(low if number & 1 else high)
    if dfa.accepts(text):
        assert expression.search(text), f"{pattern!r} does not match {text!r}"
        assert wide.accepts(text), f"{pattern!r} in the wide sense does not match {text!r}"


# Answers: what a model wrote, in one piece or in many.

_SYNTAXES: tuple[ToolSyntax, ...] = (
    "message_prefix",
    "functionary",
    "functionary-v1",
    "functionary-v2",
    "chatglm3",
)
_TAGS = (
    Tags("<think>", ("</think>",), False),
    Tags("<think>", ("</think>", "<end>"), True, ("<tool_call>",)),
)
_PARSERS: tuple[Callable[[], Any], ...] = (
    ForcedCallParser,
    TaggedCallParser,
    WholeJson,
    *(lambda tags=tags: ReasoningSplitter(tags) for tags in _TAGS),
    lambda: Then(ReasoningSplitter(_TAGS[0]), TaggedCallParser()),
    *(lambda syntax=syntax: WrittenCallParser(syntax, ("f", "g.h")) for syntax in _SYNTAXES),
)
_ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"tool_choice": "required"},
    {"response_format": {"type": "json_object"}},
)


def answers(data: bytes) -> None:
    """Reads an answer whole, and cut into pieces as the first bytes say: the message is the same."""
    text, steps = _text(data[2:]), [1 + byte % 9 for byte in data[:2]] or [1]
    pieces, at = [], 0
    while at < len(text):
        pieces.append(text[at : at + steps[len(pieces) % len(steps)]])
        at += len(pieces[-1])
    for make in _PARSERS:
        message = _message(make(), [text])
        assert message == _message(make(), pieces), (
            f"{make().__class__.__name__}: the pieces give another message"
        )
        json.dumps(message, ensure_ascii=False).encode()
        for asked in _ASKED:
            try:
                check_complete(message, "length", asked)
            except IncompleteOutputError:
                continue


def _message(parser: Any, pieces: list[str]) -> dict[str, Any]:
    so_far = MessageSoFar()
    for piece in pieces:
        for delta in parser.feed(piece):
            so_far.add(delta)
        getattr(parser, "complete", None)
    for delta in parser.finish():
        so_far.add(delta)
    message = so_far.message
    for call in message.get("tool_calls", ()):
        del call["id"]
    return message


# Files, states, templates and grammars.


def gguf(data: bytes) -> None:
    """Reads a file's header and lets it through the gates."""
    with tempfile.TemporaryDirectory(dir=_SCRATCH) as folder:
        path = Path(folder, "case.gguf")
        path.write_bytes(b"GGUF" + data)
        header = read_gguf_header(path, allow_truncated=True)
        for name in (
            "head_count_kv",
            "chat_templates",
            "file_type",
            "pooling_type",
            "n_params",
            "vocab_size",
        ):
            getattr(header, name)
        for gate in (
            lambda: check_loadable([header]),
            *(lambda k=k: check_companion(path, k) for k in _COMPANIONS),
        ):
            try:
                gate()
            except LlamaCppError:
                continue


_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None
_COMPANIONS = ("draft model", "LoRA adapter", "projector", "control vector")


def states(data: bytes) -> None:
    """Reads a saved state whose checksum is right: the length of the header, the header, the rest."""
    content = data[2:]
    size = int.from_bytes(data[:2], "little") or len(content)
    head = struct.pack("<4sHII", b"LCCS", 1, size, zlib.crc32(content))
    state = LlamaState.from_bytes(head + content)
    assert LlamaState.from_bytes(state.to_bytes()) == state
    state.check_fits({"n_ctx": 512})


_CONVERSATION = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": []}]


def rendered(data: bytes) -> None:
    """Renders a chat template."""
    Jinja2ChatFormatter(_text(data)).format_messages([*_CONVERSATION], tools=[{"type": "function"}])


def gbnf(data: bytes) -> None:
    """Reads a grammar."""
    parse_gbnf(_text(data))


_CALL = b'{"name": "f", "arguments": {"a": [1, "}"]}}'
_WORDS_OF_ANSWERS = (
    '<think>~</think>~<end>~<tool_call>~</tool_call>~"name"~"arguments"~functions.f:~\\u00e9~tool_call(~```~all~g.h'
    "~to=functions."
)
_WORDS_OF_TEMPLATES = "{{ }} {% %} endfor endif for macro call namespace loop generation set is not"
TARGETS = {
    "answers": Target(
        answers,
        (
            b"\0\0" + _CALL,
            b"\1\2<think>a</think>b<tool_call>" + _CALL + b"</tool_call>",
            b"\3\0[" + _CALL + b", " + _CALL + b"]",
            b"\0\0functions.f:{}",
            b"\0\0f\n```python\ntool_call(a='b', c=[1, {'d': None}])\n```",
            b"\0\0to=functions.f: {}",
            b"\0\0a<|from|>assistant\n<|recipient|>f\n<|content|>{}",
            b"\0\0<|START_OF_FUNCTION_CALL|>f:\n{}",
        ),
        (*_WORDS_OF_ANSWERS.split("~"), "```python\n", "<|from|>assistant\n<|recipient|>", "f\n"),
    ),
    "files": Target(
        gguf,
        tuple(make().pack()[4:2000] for make in files.KINDS.values() if make is not None),
        (
            "general.architecture",
            "general.type",
            "general.alignment",
            "split.count",
            "clip",
            "adapter",
            "llama",
        ),
    ),
    "grammars": Target(
        gbnf,
        (b'root ::= "a" x*\nx ::= [^a-z\\n]{2,3} | (root)? # b', b"root ::= <[1]> !<[2]> ."),
        grammars.PIECES,
    ),
    "patterns": Target(
        patterns,
        (b"^a*b+(c|d){2,3}$\0abc", b"^(?=.*\\d)(?!x)[^\\W_]+$\0abcdef", b"\\u00e9|[\\s-~]\0a"),
        ("(?=", "(?!", "(?:", "{2,}", "\\d", "\\W", "\\s", "[^", "\\u{1F600}", "\\x41", "$", "^", "|", "*?"),
    ),
    "schemas": Target(
        schemas,
        tuple(json.dumps(grammars.schema(random.Random(i), 3)).encode() for i in range(20)),
        tuple(f'"{word}"' for word in grammars.KEYWORDS),
        change_json,
    ),
    "states": Target(
        states,
        (b'\0\0{"kind": "engine", "tokens": [1], "fingerprint": {"n_ctx": 512}}',),
        ("kind", "tokens", "fingerprint"),
    ),
    "templates": Target(
        rendered,
        tuple(templates.template(random.Random(i)).encode() for i in range(20)),
        (*_WORDS_OF_TEMPLATES.split(), *templates.FILTERS, *templates.METHODS),
    ),
}
