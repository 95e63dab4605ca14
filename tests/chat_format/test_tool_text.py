"""Reading tool calls out of generated text, whole and in pieces."""

from __future__ import annotations

import json

import pytest

from llamacpp_core.chat_format.named import ToolSyntax
from llamacpp_core.chat_format.written_calls import WrittenCallParser, read_tool_text

NAMES = {"get_weather", "now"}
OSLO = {"city": "Oslo"}

CASES: list[tuple[ToolSyntax, str, str, list[tuple[str, object]]]] = [
    ("message_prefix", "message:\nHello", "Hello", []),
    ("message_prefix", "Hello", "Hello", []),
    (
        "message_prefix",
        'functions.get_weather:\n{"city": "Oslo"}\nfunctions.now:\n{}',
        "",
        [("get_weather", OSLO), ("now", {})],
    ),
    ("message_prefix", "message:\nSee functions.now: it helps", "See functions.now: it helps", []),
    ("functionary", ":\n Hello", "Hello", []),
    ("functionary", ' to=functions.get_weather:\n{"city": "Oslo"}', "", [("get_weather", OSLO)]),
    ("functionary", " to=functions.unknown:\n{}", " to=functions.unknown:\n{}", []),
    ("functionary-v1", "\nHello", "Hello", []),
    (
        "functionary-v1",
        '\n<|START_OF_FUNCTION_CALL|>get_weather:\n{"city": "Oslo"}',
        "",
        [("get_weather", OSLO)],
    ),
    ("functionary-v1", '\nget_weather:\n{"city": "Oslo"}', "", [("get_weather", OSLO)]),
    (
        "functionary-v1",
        '\nLet me see.\n<|START_OF_FUNCTION_CALL|>get_weather:\n{"city": "Oslo"}',
        "Let me see.",
        [("get_weather", OSLO)],
    ),
    ("functionary-v2", "all\n<|content|>Hello", "Hello", []),
    ("functionary-v2", "all\nHello", "Hello", []),
    ("functionary-v2", 'get_weather\n<|content|>{"city": "Oslo"}', "", [("get_weather", OSLO)]),
    ("functionary-v2", 'get_weather\n{"city": "Oslo"}', "", [("get_weather", OSLO)]),
    (
        "functionary-v2",
        "all\n<|content|>Let me see.\n<|from|>assistant\n<|recipient|>get_weather\n<|content|>"
        '{"city": "Oslo"}'
        "\n<|from|>assistant\n<|recipient|>now\n<|content|>{}",
        "Let me see.",
        [("get_weather", OSLO), ("now", {})],
    ),
    ("chatglm3", "\n Hello", "Hello", []),
    ("chatglm3", "get_weather\n ```python\ntool_call(city='Oslo')\n```", "", [("get_weather", OSLO)]),
    ("chatglm3", "now\n ```python\ntool_call(a=true, b=null)\n```", "", [("now", {"a": True, "b": None})]),
    (
        "chatglm3",
        "now\n ```python\ntool_call(open('x'))\n```",
        "now\n ```python\ntool_call(open('x'))\n```",
        [],
    ),
    ("chatglm3", "now\n ```python\ntool_call(\n```", "now\n ```python\ntool_call(\n```", []),
]


@pytest.mark.parametrize(("syntax", "text", "content", "calls"), CASES)
def test_a_text_is_taken_apart(
    syntax: ToolSyntax, text: str, content: str, calls: list[tuple[str, object]]
) -> None:
    parsed = read_tool_text(text, syntax, NAMES)
    assert parsed.content == content
    assert [(name, json.loads(arguments)) for name, arguments in parsed.calls] == calls


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("syntax", "text", "content", "calls"), CASES)
def test_pieces_give_the_same_as_the_whole(
    syntax: ToolSyntax, text: str, content: str, calls: list[tuple[str, object]], size: int
) -> None:
    parser = WrittenCallParser(syntax, NAMES)
    deltas = [d for i in range(0, len(text), size) for d in parser.feed(text[i : i + size])] + parser.finish()
    assert "".join(delta.get("content") or "" for delta in deltas) == content
    found = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [(call["name"], json.loads(call["arguments"])) for call in found] == calls


def test_ids_are_unique() -> None:
    parser = WrittenCallParser("message_prefix", NAMES)
    deltas = parser.feed("functions.now:\n{}\n" * 50) + parser.finish()
    assert len({call["id"] for delta in deltas for call in delta["tool_calls"]}) == 50


@pytest.mark.parametrize(
    "value",
    ["b'x'", "{1, 2}", "1j", "...", "{(1, 2): 3}", "1e999", "-1e999", "[" * 90 + "]" * 90 + ", b=b''"],
)
def test_constants_that_json_does_not_know_stay_text(value: str) -> None:
    text = f"now\n```python\ntool_call(a={value})\n```"
    found = read_tool_text(text, "chatglm3", NAMES)
    assert (found.content, found.calls) == (text, [])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "[" * 990 + "]" * 990])
def test_objects_that_are_no_json_stay_text(value: str) -> None:
    text = f'functions.now: {{"a": {value}}}'
    assert read_tool_text(text, "message_prefix", NAMES).calls == []


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        ("message_prefix", 'functions.now: {"a": "\\ud800"}'),
        ("chatglm3", "now\n```python\ntool_call(a='\\ud800')\n```"),
    ],
)
def test_half_a_pair_of_surrogates_can_be_sent(syntax: ToolSyntax, text: str) -> None:
    [(name, arguments)] = read_tool_text(text, syntax, NAMES).calls
    assert (name, arguments.encode()) == ("now", b'{"a": "\\ud800"}')


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"'\d+'", r"\d+"),
        (r"r'\d+'", r"\d+"),
        (r"'\\d\'\.'", r"\d'\."),
        (r"'''it's \w'''", r"it's \w"),
        (r"'\777\1'", "\u01ff\x01"),
        ("'\\\n\\d'", r"\d"),
        (r"{'\.': ['\-', 1.5]}", {r"\.": [r"\-", 1.5]}),
        ("1  # don't\n", 1),
    ],
)
def test_what_a_model_wrote_is_read_without_warnings(written: str, value: object) -> None:
    """Python's parser warns of escapes that it does not know."""
    found = read_tool_text(f"now\n```python\ntool_call(a={written})\n```", "chatglm3", NAMES)
    assert [json.loads(arguments) for _, arguments in found.calls] == [{"a": value}]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("written", ["1if True else 2", "0xfor 1", r"b'\d'", r"'\d", r"'\d\'"])
def test_what_is_no_constant_is_text_without_warnings(written: str) -> None:
    text = f"now\n```python\ntool_call(a={written})\n```"
    assert read_tool_text(text, "chatglm3", NAMES).content == text
