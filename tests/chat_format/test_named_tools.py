"""Tools in the named formats that have a syntax for them: declared, called, answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamacpp_core.chat_format import NAMED_FORMATS, NamedChatFormatter, named_format
from llamacpp_core.errors import InvalidMessageError

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City name"},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "days": {"type": "integer", "minimum": 1, "default": 2},
            },
            "required": ["city"],
        },
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
HISTORY = [
    {"role": "user", "content": "Weather in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "12 C"},
]
NAMESPACE = """\
// Supported function definitions that should be called when necessary.
namespace functions {

// Get the weather
type get_weather = (_: {
// City name.
city: string,
unit?: "c" | "f",
// Default=2. Minimum=1
days?: number,
}) => any;

} // namespace functions"""
DEFAULT_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. The assistant calls functions with appropriate "
    "input when necessary"
)
QWEN_TOOLS = f"""\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{json.dumps(TOOL)}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""  # noqa: E501  (the format's own line)
TAGGED_TURNS = """\
<|im_start|>user
Weather in Oslo?<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "get_weather", "arguments": {"city": "Oslo"}}
</tool_call><|im_end|>
<|im_start|>user
<tool_response>
12 C
</tool_response><|im_end|>
<|im_start|>assistant
"""

EXPECTED = {
    "chatml": f"<|im_start|>system\n{QWEN_TOOLS}<|im_end|>\n{TAGGED_TURNS}",
    "qwen": f"<|im_start|>system\nYou are a helpful assistant.\n\n{QWEN_TOOLS}<|im_end|>\n{TAGGED_TURNS}",
    "functionary": (
        f"system:\n{NAMESPACE}\nsystem:\n{DEFAULT_SYSTEM}\nuser:\n</s>Weather in Oslo?</s>\n"
        'assistant to=functions.get_weather:\n{"city": "Oslo"}</s>\n'
        "function name=functions.get_weather:\n12 C\nassistant"
    ),
    "functionary-v1": (
        f"system:\n{NAMESPACE}<|END_OF_SYSTEM|>\nsystem:\n{DEFAULT_SYSTEM}<|END_OF_SYSTEM|>\n"
        "user:\nWeather in Oslo?<|END_OF_USER|>\n"
        'assistant:\n<|START_OF_FUNCTION_CALL|>get_weather:\n{"city": "Oslo"}<|END_OF_FUNCTION_CALL|>\n'
        "function name=get_weather:\n12 C<|END_OF_FUNCTION_RESULT|>\nassistant:"
    ),
    "functionary-v2": (
        f"<|from|>system\n<|recipient|>all\n<|content|>{NAMESPACE}\n"
        f"<|from|>system\n<|recipient|>all\n<|content|>{DEFAULT_SYSTEM}\n"
        "<|from|>user\n<|recipient|>all\n<|content|>Weather in Oslo?\n"
        '<|from|>assistant\n<|recipient|>get_weather\n<|content|>{"city": "Oslo"}<|stop|>\n'
        "<|from|>get_weather\n<|recipient|>all\n<|content|>12 C\n"
        "<|from|>assistant\n<|recipient|>"
    ),
    "chatglm3": (
        "[gMASK]sop<|system|>\n Answer the following questions as best as you can. You have access to the "
        f"following tools:\n{json.dumps([TOOL['function']], indent=4)}"
        "<|user|>\n Weather in Oslo?<|assistant|>get_weather\n ```python\n"
        'tool_call(city="Oslo")\n```<|observation|>\n 12 C<|assistant|>'
    ),
}


def render(name: str, messages: list[Any], **kwargs: Any) -> str:
    return NamedChatFormatter(name)(messages=messages, **kwargs).prompt


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_conversation_with_a_tool(name: str) -> None:
    assert render(name, HISTORY, tools=[TOOL]) == EXPECTED[name]


def test_the_prefixes_of_chatml_function_calling() -> None:
    prompt = render(
        "chatml-function-calling", [*HISTORY, {"role": "assistant", "content": "Mild."}], tools=[TOOL]
    )
    parameters = json.dumps(TOOL["function"]["parameters"])  # type: ignore[index]
    assert f"\nfunctions.get_weather:\nGet the weather\n{parameters}\n" in prompt
    assert '<|im_start|>assistant\nfunctions.get_weather:\n{"city": "Oslo"}<|im_end|>\n' in prompt
    assert "<|im_start|>tool\nfunctions.get_weather:\n12 C<|im_end|>\n" in prompt
    assert "<|im_start|>assistant\nmessage:\nMild.<|im_end|>\n" in prompt


WITH_TOOLS = [name for name in NAMED_FORMATS if named_format(name).tool_syntax is not None]


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_a_tool_message_finds_the_name_of_its_call(name: str) -> None:
    first = {**CALL, "id": "a", "function": {"name": "first", "arguments": "{}"}}
    second = {**CALL, "id": "b", "function": {"name": "second", "arguments": "{}"}}
    history = [
        HISTORY[0],
        {"role": "assistant", "content": "Let me see.", "tool_calls": [first, second]},
        {"role": "tool", "tool_call_id": "b", "content": "RESULT-B"},
        {"role": "tool", "tool_call_id": "a", "content": "RESULT-A"},
    ]
    prompt = render(name, history, tools=[TOOL])
    assert prompt.index("Let me see.") < prompt.index("RESULT-B") < prompt.index("RESULT-A")
    if name in ("functionary", "functionary-v1", "functionary-v2", "chatml-function-calling"):
        header_b, header_a = prompt[: prompt.index("RESULT-B")], prompt[: prompt.index("RESULT-A")]
        assert header_b.rfind("second") > header_b.rfind("first")
        assert header_a.rfind("first") > header_a.rfind("second")


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_the_legacy_messages_render_alike(name: str) -> None:
    legacy = [
        HISTORY[0],
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "function", "name": "get_weather", "content": "12 C"},
    ]
    assert render(name, legacy, tools=[TOOL]) == render(name, HISTORY, tools=[TOOL])


def test_nested_and_unusual_schemas_become_typescript() -> None:
    properties = {
        "tags": {"type": "array", "items": {"type": "string"}},
        "any_list": {"type": "array"},
        "maybe": {"type": ["string", "null"]},
        "free": {},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
        "note": {"type": "string", "description": "Two\nlines.", "format": "date"},
    }
    function = {"name": "f", "parameters": {"type": "object", "properties": properties}}
    bare = {"name": "g", "description": "Nothing"}
    tools = [{"type": "function", "function": function}, {"type": "function", "function": bare}]
    prompt = render("functionary-v2", HISTORY[:1], tools=tools)
    assert "tags?: string[],\nany_list?: any[],\nmaybe?: string | null,\nfree?: any,\n" in prompt
    assert "where?: {\nlat: number,\n},\n// Two lines. Format=date\nnote?: string,\n}) => any;" in prompt
    assert "// Nothing\ntype g = () => any;" in prompt


def test_an_answer_without_its_call_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="which no earlier assistant message made"):
        render("chatml", [HISTORY[0], HISTORY[2]])


def test_arguments_that_are_not_json_are_refused() -> None:
    broken = {**CALL, "function": {"name": "get_weather", "arguments": "{city: Oslo"}}
    messages = [HISTORY[0], {"role": "assistant", "content": "", "tool_calls": [broken]}]
    with pytest.raises(InvalidMessageError, match="must be a JSON object"):
        render("chatml", messages)


def test_functionary_v2_answers_directly_where_no_tool_may_be_called() -> None:
    assert render("functionary-v2", HISTORY, tools=[TOOL], tool_choice="none").endswith("all\n<|content|>")
