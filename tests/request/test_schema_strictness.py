"""``schema_strictness="report"``: what no grammar can hold is validated, and listed on the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamacpp_core import GrammarError, InvalidParameterError, Llama
from llamacpp_core.grammar import loose_schema
from llamacpp_core.request.chat_settings import read_chat_settings
from llamacpp_core.request.validation import call_check, schema_report

ASK = [{"role": "user", "content": "Make something up."}]
ROWS = {"type": "array", "items": {"type": "array", "maxItems": 1}, "uniqueItems": True, "maxItems": 3}
SCHEMA = {
    "type": "object",
    "properties": {"rows": ROWS, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["rows", "count"],
}
FORMAT = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "save", "parameters": SCHEMA}}
LEFT = "$.properties.rows.uniqueItems: "


def _settings(**arguments: Any) -> Any:
    return read_chat_settings(arguments, n_vocab=100)


def _report(text: str, calls: list[dict[str, Any]] | None = None, **arguments: Any) -> dict[str, Any]:
    report = schema_report(_settings(schema_strictness="report", **arguments))
    assert report is not None
    return report.of(text, calls or [])


def _call(arguments: Any) -> dict[str, Any]:
    return {"name": "save", "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}


def test_exact_is_the_default(llm: Llama) -> None:
    assert schema_report(_settings(response_format=FORMAT)) is None
    for arguments in ({"response_format": FORMAT}, {"tools": [TOOL], "tool_choice": "required"}):
        with pytest.raises(GrammarError, match="uniqueItems"):
            llm.create_chat_completion(ASK, max_tokens=1, **arguments)  # type: ignore[call-overload]


@pytest.mark.parametrize("value", ["strict", 1, True, ["report"]])
def test_other_words_are_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"schema_strictness.*'exact', 'report'"):
        _settings(schema_strictness=value)


def test_what_is_left_out_is_listed_with_its_path() -> None:
    found = loose_schema(SCHEMA)
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith(LEFT)
    assert loose_schema({"type": "integer"}).left_out == ()
    with pytest.raises(GrammarError, match="no value"):
        loose_schema(False)


def test_answers_are_validated_in_full() -> None:
    good = _report('{"rows": [[1], [2]], "count": 1}', response_format=FORMAT)
    assert good["error"] is None
    assert [text.startswith(LEFT) for text in good["left_out"]] == [True]
    assert "non-unique" in str(_report('{"rows": [[1], [1]], "count": 1}', response_format=FORMAT)["error"])
    assert "not JSON" in str(_report('{"rows": [[', response_format=FORMAT)["error"])
    held = {"type": "json_schema", "json_schema": {"schema": {"type": "integer"}}}
    assert _report("3", response_format=held) == {"left_out": [], "error": None}


def test_calls_are_validated_in_full() -> None:
    for choice in ("auto", "required"):
        some: dict[str, Any] = {"tools": [TOOL], "tool_choice": choice}
        assert _report("", [_call({"rows": [], "count": 1})], **some)["error"] is None
        bad = _report("", [_call({"rows": [], "count": 1}), _call({"rows": [[1], [1]], "count": 1})], **some)
        assert str(bad["error"]).startswith("tool_calls[1] (save): $.rows")
        assert bad["left_out"][0].startswith(f"save: {LEFT}")
    assert _report("hi", tools=[TOOL], tool_choice="none") == {"left_out": [], "error": None}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "arguments", [{"response_format": FORMAT}, {"tools": [TOOL], "tool_choice": "required"}]
)
def test_the_model_answers_with_a_report(llm: Llama, stream: bool, arguments: dict[str, Any]) -> None:
    some: Any = {"max_tokens": 200, "temperature": 0.8, "seed": 3, "schema_strictness": "report", **arguments}
    answer: Any = llm.create_chat_completion(ASK, stream=stream, **some)
    if stream:
        chunks = [chunk["choices"][0] for chunk in answer]
        last = chunks[-1]
        assert all("schema_report" not in chunk for chunk in chunks[:-1])
        text = "".join(chunk["delta"].get("content") or "" for chunk in chunks)
        calls = [piece for chunk in chunks for piece in chunk["delta"].get("tool_calls", ())]
        text = text or "".join(
            piece["function"].get("arguments", "") for piece in calls if "function" in piece
        )
    else:
        last = answer["choices"][0]
        message = last["message"]
        text = message["content"] or message["tool_calls"][0]["function"]["arguments"]
    report = last["schema_report"]
    assert len(report["left_out"]) == 1
    value = json.loads(text)
    rows = [json.dumps(row) for row in value["rows"]]
    assert (report["error"] is None) is (len(set(rows)) == len(rows))
    assert 1 <= value["count"] <= 9


def test_an_answer_or_a_call(llm: Llama) -> None:
    answer = llm.create_chat_completion(
        ASK, tools=[TOOL], response_format=FORMAT, max_tokens=200, schema_strictness="report", seed=1
    )
    assert len(answer["choices"][0]["schema_report"]["left_out"]) == 2
    with pytest.raises(GrammarError, match="uniqueItems"):
        llm.create_chat_completion(ASK, tools=[TOOL], response_format=FORMAT, max_tokens=1)


def test_a_tool_that_cannot_be_compiled_is_offered_by_templates_with_calls_of_their_own() -> None:
    odd = {
        "type": "function",
        "function": {"name": "odd", "parameters": {"type": "object", "allOf": [False]}},
    }
    check = call_check(_settings(tools=[odd]).use)
    assert check is not None
    assert check({"name": "odd", "arguments": "{}"})
