"""Our prompts equal what the reference, Jinja2 with transformers' helpers, makes of the same conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promises.known_differences import KNOWN_DIFFERENCES, as_markdown
from promises.requests_per_template import TOOLS

from llamacpp_core import Llama
from llamacpp_core.chat_format import Jinja2ChatFormatter
from llamacpp_core.errors import LlamaCppError

SYSTEM = {"role": "system", "content": "You are helpful."}
USER = {"role": "user", "content": "What is the weather in Paris?"}
ANSWER = {"role": "assistant", "content": "Sunny."}
AGAIN = {"role": "user", "content": "And in Łódź?"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}


def calling(call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": call_id, "type": "function", "function": function}


WEATHER_CALL = calling("k7Bq2mX9p", "get_weather", {"city": "Paris", "unit": "celsius"})
CALLS = [
    USER,
    {"role": "assistant", "content": "", "tool_calls": [WEATHER_CALL]},
    {"role": "tool", "tool_call_id": "k7Bq2mX9p", "name": "get_weather", "content": "21 degrees"},
]
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "system": [SYSTEM, USER],
    "turns": [USER, ANSWER, AGAIN],
    "tools": [SYSTEM, USER],
    "calls": CALLS,
    "calls answered": [*CALLS, ANSWER, AGAIN],
    "parts": [PARTS],
    "empty": [{"role": "user", "content": ""}],
    "prefill": [USER, {"role": "assistant", "content": "It is"}],
}
WITH_TOOLS = {"tools", "calls", "calls answered"}


def reference(llm: Llama, source: str, name: str) -> str:
    """The prompt as transformers would make it; an error's message if the template refuses."""
    caps = llm._engine.info["template_caps"]
    messages = json.loads(json.dumps(CONVERSATIONS[name]))
    for message in messages:
        for call in message.get("tool_calls", ()):
            if caps["supports_object_arguments"]:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    formatter = Jinja2ChatFormatter(source, llm.info.eos_token, llm.info.bos_token)
    last = messages[-1]
    prefill = last["role"] == "assistant"
    try:
        text = formatter.format_messages(
            messages,
            tools=TOOLS if name in WITH_TOOLS else None,
            add_generation_prompt=not prefill,
            enable_thinking=True,
        ).prompt
    except LlamaCppError as error:
        return f"refused: {error}"
    if prefill:
        at = text.rfind(last["content"])
        text = text[: at + len(last["content"])]
    return text


def ours(llm: Llama, name: str) -> str:
    try:
        text = llm.apply_chat_template(
            CONVERSATIONS[name],
            TOOLS if name in WITH_TOOLS else None,
            chat_template_kwargs={"enable_thinking": True},
            continue_final_message=name == "prefill",
        )
    except LlamaCppError as error:
        return f"refused: {error}"
    return str(text)


def test_rendering_equals_the_reference(engine: Llama, source: str, template: str) -> None:
    known = KNOWN_DIFFERENCES.get(template, {})
    different = {n for n in CONVERSATIONS if ours(engine, n) != reference(engine, source, n)}
    assert different == set(known), {
        n: (ours(engine, n)[-600:], reference(engine, source, n)[-600:]) for n in different ^ set(known)
    }


def test_the_documentation_lists_every_known_difference() -> None:
    page = Path(__file__).parents[2] / "docs" / "promises.md"
    assert as_markdown() in page.read_text(encoding="utf-8")
