"""Conversations saved to bytes and files, and restored in this process and in others."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
import subprocess
import sys
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import EngineClosedError, EngineError, InvalidParameterError, Llama, LlamaState

MESSAGES: list[dict[str, str]] = [
    {"role": "system", "content": "You are a helpful assistant who knows a lot about geography. " * 6},
    {"role": "user", "content": "What is the capital of France?"},
]
SHORT: dict[str, Any] = {"max_tokens": 8, "temperature": 0}


def load(path: Path, **options: Any) -> Llama:
    return Llama(path, **{"n_ctx": 512, "n_parallel": 2, "warmup": False, **options})


def cached(response: Any) -> int:
    return int(response["usage"]["prompt_tokens_details"]["cached_tokens"])


def content(response: Any) -> str:
    return str(response["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def saved(smollm2_path: Path) -> tuple[LlamaState, str]:
    """A conversation's state, and how it goes on."""
    with load(smollm2_path) as llm:
        answer = content(llm.create_chat_completion(MESSAGES, **SHORT))
        return llm.save_state(), answer


def test_a_restored_conversation_has_nothing_to_compute_again(
    smollm2_path: Path, saved: tuple[LlamaState, str]
) -> None:
    state, answer = saved
    with load(smollm2_path) as llm:
        llm.load_state(state)
        response = llm.create_chat_completion(MESSAGES, **SHORT)
        assert cached(response) == response["usage"]["prompt_tokens"] - 1
        assert content(response) == answer
        more = [
            *MESSAGES,
            {"role": "assistant", "content": answer},
            {"role": "user", "content": "And of Spain?"},
        ]
        assert cached(llm.create_chat_completion(more, **SHORT)) >= response["usage"]["prompt_tokens"]


def test_what_was_restored_is_what_is_saved_until_the_next_request(smollm2_path: Path) -> None:
    for n_parallel in (1, 2):
        with Llama(smollm2_path, n_ctx=512, n_parallel=n_parallel) as llm:
            llm("The capital of France is", **SHORT)
            first = llm.save_state()
            llm("Once upon a time there was", **SHORT)
            assert llm.save_state().data != first.data
            llm.load_state(first)
            assert llm.save_state().data == first.data
            llm("Once upon a time there was", **SHORT)
            assert llm.save_state().data != first.data


def test_without_it_everything_is_computed(smollm2_path: Path) -> None:
    with load(smollm2_path) as llm:
        assert cached(llm.create_chat_completion(MESSAGES, **SHORT)) == 0


def test_another_process_goes_on_from_a_file(smollm2_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "conversation.state"
    with load(smollm2_path) as llm:
        llm.create_chat_completion(MESSAGES, **SHORT)
        llm.save_state_file(file)
    assert [path.name for path in tmp_path.iterdir()] == ["conversation.state"]
    code = (
        "import json, sys\n"
        "from llamacpp_core import Llama\n"
        "with Llama(sys.argv[1], n_ctx=512, n_parallel=2) as llm:\n"
        "    llm.load_state_file(sys.argv[2])\n"
        "    response = llm.create_chat_completion(json.loads(sys.argv[3]), max_tokens=1)\n"
        "    print(response['usage']['prompt_tokens_details']['cached_tokens'])\n"
    )
    import json

    command = [sys.executable, "-c", code, str(smollm2_path), str(file), json.dumps(MESSAGES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert int(done.stdout) > 50


def test_states_are_bytes_and_can_be_pickled(smollm2_path: Path, saved: tuple[LlamaState, str]) -> None:
    state, _ = saved
    data = state.to_bytes()
    assert LlamaState.from_bytes(data) == state == pickle.loads(pickle.dumps(state))
    assert state.llama_state_size < len(data)
    with load(smollm2_path) as llm:
        llm.load_state(LlamaState.from_bytes(data))
        assert cached(llm.create_chat_completion(MESSAGES, **SHORT)) > 50


def test_two_restored_conversations_live_side_by_side(smollm2_path: Path) -> None:
    others = [{"role": "user", "content": "Tell me about the history of bread in Europe, please. " * 5}]
    states = []
    with load(smollm2_path) as llm:
        for messages in (MESSAGES, others):
            llm.create_chat_completion(messages, **SHORT)
            states.append(llm.save_state())
    with load(smollm2_path) as llm:
        for state in states:
            llm.load_state(state)
        assert cached(llm.create_chat_completion(MESSAGES, **SHORT)) > 50
        assert cached(llm.create_chat_completion(others, **SHORT)) > 50


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty", "version"])
def test_damaged_states_are_refused(saved: tuple[LlamaState, str], damage: str) -> None:
    data = bytearray(saved[0].to_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[-9] ^= 1
    elif damage == "foreign":
        data = bytearray(b"GGUF" + bytes(200))
    elif damage == "empty":
        data = bytearray()
    else:
        data[4] += 1
    with pytest.raises(InvalidParameterError, match="state"):
        LlamaState.from_bytes(bytes(data))


def test_states_of_another_model_or_cache_are_refused(
    smollm2_path: Path, minilm_path: Path, saved: tuple[LlamaState, str]
) -> None:
    state, _ = saved
    with load(smollm2_path, type_k="q8_0", type_v="q8_0") as llm:
        with pytest.raises(InvalidParameterError, match="type_k"):
            llm.load_state(state)
        assert content(llm.create_chat_completion(MESSAGES, **SHORT))
    with Llama(minilm_path) as other, pytest.raises(InvalidParameterError, match="architecture"):
        other.load_state(state)


def test_a_context_that_is_too_small_is_refused_and_survives(
    smollm2_path: Path, saved: tuple[LlamaState, str]
) -> None:
    with load(smollm2_path) as big:
        big("word " * 400, max_tokens=2)
        state = big.save_state()
    with load(smollm2_path, n_ctx=256) as small:
        with pytest.raises(InvalidParameterError, match="n_ctx"):
            small.load_state(state)
        assert content(small.create_chat_completion(MESSAGES, **SHORT)) == saved[1]


def test_eval_state(smollm2_path: Path) -> None:
    with load(smollm2_path) as llm:
        ids = llm.tokenize(b"The capital of France is")
        llm.eval(ids)
        state = pickle.loads(pickle.dumps(llm.save_state()))
        expected = list(islice(llm.generate([], temp=0.0, reset=False), 3))
    with load(smollm2_path) as llm:
        llm.load_state(state)
        assert llm.input_ids.tolist() == ids
        assert list(islice(llm.generate(ids, temp=0.0), 3)) == expected


def test_state_of_a_request_with_a_logits_processor(smollm2_path: Path) -> None:
    settings: dict[str, Any] = SHORT | {"logits_processor": lambda ids, scores: scores}
    with load(smollm2_path) as llm:
        first = llm.create_chat_completion(MESSAGES, **settings)
        state = LlamaState.from_bytes(llm.save_state().to_bytes())
    with load(smollm2_path) as llm:
        llm.load_state(state)
        again = llm.create_chat_completion(MESSAGES, **settings)
        assert cached(again) == again["usage"]["prompt_tokens"] - 1
        assert content(again) == content(first)


def test_there_must_be_something_to_save(smollm2_path: Path, tmp_path: Path) -> None:
    with load(smollm2_path) as llm:
        with pytest.raises(EngineError, match="no conversation"):
            llm.save_state()
        stream = llm("Hello", max_tokens=200, stream=True)
        next(stream)
        with pytest.raises(EngineError, match="stream"):
            llm.save_state()
        stream.close()
        with pytest.raises(InvalidParameterError, match="from_bytes"):
            llm.load_state(b"bytes")  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError):
            llm.load_state_file(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"kind": "eval"},
        {"kind": "eval", "tokens": None, "fingerprint": {}},
        "x",
        {"kind": "eval", "tokens": ["a"], "fingerprint": {}},
        {"kind": "eval", "tokens": [], "fingerprint": None},
    ],
    ids=repr,
)
def test_a_whole_state_with_a_strange_header_is_refused(header: Any) -> None:
    text = json.dumps(header).encode()
    data = struct.pack("<4sHII", b"LCCS", 1, len(text), zlib.crc32(text)) + text
    with pytest.raises(InvalidParameterError, match="damaged"):
        LlamaState.from_bytes(data)


def test_what_is_no_bytes_or_path(smollm2_path: Path, saved: tuple[LlamaState, str]) -> None:
    for value in (None, "state", 5):
        with pytest.raises(InvalidParameterError, match="state must be bytes"):
            LlamaState.from_bytes(value)  # type: ignore[arg-type]
    data = saved[0].to_bytes()
    assert LlamaState.from_bytes(memoryview(data)) == saved[0]  # type: ignore[arg-type]
    with load(smollm2_path) as llm:
        llm("Hi", max_tokens=1)
        for path in (None, 5, b"state.bin", ""):
            with pytest.raises(InvalidParameterError, match="path must be"):
                llm.save_state_file(path)  # type: ignore[arg-type]
            with pytest.raises(InvalidParameterError, match="path must be"):
                llm.load_state_file(path)  # type: ignore[arg-type]
    with pytest.raises(EngineClosedError):
        llm.load_state(saved[0])


@pytest.mark.parametrize("kind", ["engine", "loop", "eval"])
def test_shortened_data_with_a_right_checksum_are_refused(smollm2_path: Path, kind: str) -> None:
    with load(smollm2_path) as llm:
        if kind == "eval":
            llm.eval(llm.tokenize("Hello there, my friend"))
        else:
            processors = [lambda _, logits: logits] if kind == "loop" else None
            llm.create_completion("Hello there, my friend", max_tokens=4, logits_processor=processors)
        state = llm.save_state()
        assert state.kind == kind
        size = len(state.data)
        for cut in {0, 1, 4, 7, 16, 33, 64, 100, size // 3, size // 2, size - 8, size - 1}:
            shortened = dataclasses.replace(state, data=state.data[:cut])
            for way in (LlamaState.from_bytes(shortened.to_bytes()), pickle.loads(pickle.dumps(shortened))):
                with pytest.raises(InvalidParameterError, match="state"):
                    llm.load_state(way)
        llm.load_state(state)


@pytest.mark.parametrize("kind", ["loop", "eval"])
@pytest.mark.parametrize("tokens", [(), (5,) * 300, (-1,) * 9, (10**9,) * 9])
def test_tokens_that_are_not_those_of_the_data(
    smollm2_path: Path, kind: str, tokens: tuple[int, ...]
) -> None:
    with load(smollm2_path) as llm:
        if kind == "eval":
            llm.eval(llm.tokenize("Hello there, my friend"))
        else:
            llm.create_completion("Hello there", max_tokens=2, logits_processor=[lambda _, logits: logits])
        state = dataclasses.replace(llm.save_state(), tokens=tokens)
        with pytest.raises(InvalidParameterError, match="state"):
            llm.load_state(state)
        assert llm.create_completion("Tea is", max_tokens=2)["choices"][0]["text"]
