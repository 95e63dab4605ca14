"""Log-probabilities beside stop strings: each token by its own name, and none of the stop string's."""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core import Llama

CAPITAL = "The capital of France is"
GREEDY: dict[str, Any] = {"max_tokens": 6, "temperature": 0, "logprobs": 1}


def streamed(llm: Llama, **settings: Any) -> dict[str, list[Any]]:
    """The parallel lists of all chunks, joined."""
    out: dict[str, list[Any]] = {"tokens": [], "text_offset": [], "token_logprobs": [], "top_logprobs": []}
    for chunk in llm(CAPITAL, stream=True, **settings):
        part = chunk["choices"][0]["logprobs"]
        for name, values in out.items():
            values += part[name] if part else []  # type: ignore[literal-required]
    return out


@pytest.mark.parametrize("stop", [[" Paris!"], ["Paris.\n!", "is the"], [" Paris.\n\nThat"]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_that_only_begins_renames_no_token(llm: Llama, stop: list[str], stream: bool) -> None:
    plain = llm(CAPITAL, **GREEDY)["choices"][0]["logprobs"]
    assert plain is not None
    if stream:
        found: Any = streamed(llm, **GREEDY, stop=stop)
    else:
        found = llm(CAPITAL, **GREEDY, stop=stop)["choices"][0]["logprobs"]
    assert plain["tokens"][0] == " Paris"
    assert found["tokens"] == plain["tokens"]
    assert found["text_offset"] == plain["text_offset"]


@pytest.mark.parametrize("stop", [".", "\n", "\n\nThe"])
def test_a_stream_reports_what_the_whole_answer_reports(llm: Llama, stop: str) -> None:
    whole = llm(CAPITAL, **GREEDY, stop=stop)["choices"][0]
    assert whole["finish_reason"] == "stop"
    assert whole["logprobs"] is not None
    found = streamed(llm, **GREEDY, stop=stop)
    assert found["tokens"] == whole["logprobs"]["tokens"]
    assert "".join(found["tokens"]) == whole["text"]
    assert found["token_logprobs"] == pytest.approx(whole["logprobs"]["token_logprobs"], abs=1e-3)


def test_a_streamed_chat_reports_what_the_whole_answer_reports(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 20, "temperature": 0, "logprobs": True, "stop": ["!"]}
    messages = [{"role": "user", "content": "Hi"}]
    whole = llm.create_chat_completion(messages, **settings)["choices"][0]
    assert whole["finish_reason"] == "stop"
    assert whole["logprobs"] is not None
    chunks = llm.create_chat_completion(messages, **settings, stream=True)
    found = [
        entry["token"]
        for chunk in chunks
        for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"] or ()
    ]
    assert found == [entry["token"] for entry in whole["logprobs"]["content"] or ()]


def test_a_character_of_several_tokens_is_one_piece_of_text(llm: Llama) -> None:
    settings: dict[str, Any] = {**GREEDY, "max_tokens": 30, "grammar": 'root ::= "你好世界🎉é漢字🚀"'}
    whole = llm(CAPITAL, **settings)["choices"][0]
    assert whole["logprobs"] is not None
    assert "".join(whole["logprobs"]["tokens"]) == whole["text"] == "你好世界🎉é漢字🚀"
    assert streamed(llm, **settings)["tokens"] == whole["logprobs"]["tokens"]
    assert (
        "".join(chunk["choices"][0]["text"] for chunk in llm(CAPITAL, **settings, stream=True))
        == whole["text"]
    )
