"""LoRA adapters that are loaded and unloaded while a model is in use."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from adapter_files import write_adapter

from llamacpp_core import (
    EngineClosedError,
    InvalidParameterError,
    Llama,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from tests.llama.test_lora import CAPITAL, GREEDY, text

pytestmark = pytest.mark.changes("prefix")

LONG = "A list of the things that one needs for a long walk in the hills, written down with care: " * 4


@pytest.fixture(scope="module")
def shared(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=512, n_parallel=2, cache_ram_mib=64) as loaded:
        yield loaded


@pytest.fixture
def model(shared: Llama) -> Iterator[Llama]:
    yield shared
    for one in shared.loras:
        shared.unload_lora(one.name)
    assert shared.info.lora == ()


def answer(llm: Llama, prompt: str = CAPITAL, **parameters: Any) -> tuple[Any, ...]:
    """A text with the log-probabilities of its tokens: what is the same to the bit."""
    choice = llm(prompt, **{**GREEDY, "logprobs": 3, **parameters})["choices"][0]
    return choice["text"], choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]


def wait_until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_answers_are_those_of_an_adapter_given_at_the_start(
    smollm2_path: Path, model: Llama, adapters: list[Path], scale: float
) -> None:
    plain = answer(model, cache_prompt=False)
    loaded = model.load_lora(adapters[0], scale=scale)
    named = answer(model, lora="adapter0", cache_prompt=False)
    assert answer(model, cache_prompt=False) == plain != named
    assert answer(model, lora={"adapter0": scale}, cache_prompt=False) == named
    assert answer(model, lora=["adapter0"], cache_prompt=False) == named
    assert answer(model, lora=[{"id": 0, "scale": scale}], cache_prompt=False) == named
    with Llama(smollm2_path, n_ctx=512, n_parallel=2, lora=[(adapters[0], scale)]) as at_start:
        assert answer(at_start, cache_prompt=False) == named
        assert answer(at_start, lora="adapter0", cache_prompt=False) == named
        assert answer(at_start, lora={}, cache_prompt=False) == plain
        assert at_start.info.lora_bytes == loaded.size_bytes > 0
    model.unload_lora("adapter0")
    assert answer(model, cache_prompt=False) == plain


def test_what_is_loaded_is_told(model: Llama, adapters: list[Path]) -> None:
    first = model.load_lora(adapters[0], name="law")
    second = model.load_lora(str(adapters[1]), scale=0.5)
    assert [one.name for one in model.loras] == ["law", "adapter1"]
    assert model.info.lora == ((str(adapters[0]), 1.0), (str(adapters[1]), 0.5))
    assert model.info.lora_bytes == first.size_bytes + second.size_bytes
    assert "law" in repr(first)
    model.unload_lora("law")
    assert model.info.lora == ((str(adapters[1]), 0.5),)
    assert model.info.lora_bytes == second.size_bytes


def test_chat_streams_and_python_in_the_loop(model: Llama, adapters: list[Path]) -> None:
    model.load_lora(adapters[0])
    messages = [{"role": "user", "content": "Hi!"}]
    whole = model.create_chat_completion(messages, lora="adapter0", **GREEDY)["choices"][0]["message"][
        "content"
    ]
    chunks = model.create_chat_completion(messages, lora="adapter0", stream=True, **GREEDY)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == whole
    assert whole != model.create_chat_completion(messages, **GREEDY)["choices"][0]["message"]["content"]
    in_python = {"logits_processor": lambda ids, scores: scores}
    assert text(model, lora="adapter0", **in_python) == text(model, lora="adapter0") != text(model)
    assert text(model, **in_python) == text(model)
    rows = model.map([{"prompt": CAPITAL, "lora": "adapter0"}, {"prompt": CAPITAL}], **GREEDY)
    assert [row["choices"][0]["text"] for row in rows] == [text(model, lora="adapter0"), text(model)]


def test_a_name_that_is_given_again_meets_nothing_of_the_first(
    model: Llama, adapters: list[Path], tmp_path: Path
) -> None:
    plain = answer(model, LONG)
    fresh = []
    for file in adapters:
        model.load_lora(file, name="fresh")
        fresh.append(answer(model, LONG, lora="fresh", cache_prompt=False))
        model.unload_lora("fresh")
    assert len({plain[0], fresh[0][0], fresh[1][0]}) == 3
    path = tmp_path / "same.gguf"
    for _ in range(2):
        for file, expected in zip(adapters, fresh, strict=True):
            shutil.copy(file, path)
            model.load_lora(path)
            with_adapter = model(LONG, lora="same", **GREEDY)
            assert with_adapter["choices"][0]["text"] == expected[0]
            assert with_adapter["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0) == 0
            assert answer(model, LONG)[0] == plain[0]
            model.unload_lora("same")


def cached(response: Any) -> int:
    return int(response["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_prompts_are_shared_among_equal_sets_of_adapters_alone(model: Llama, adapters: list[Path]) -> None:
    model("Something else entirely", **GREEDY)
    model(LONG, **GREEDY)
    model.load_lora(adapters[0])
    assert cached(model(LONG, **GREEDY)) > 0, "the base's prompts stay cached when an adapter is loaded"
    assert cached(model(LONG, lora="adapter0", **GREEDY)) == 0
    assert cached(model(LONG, lora="adapter0", **GREEDY)) > 0
    assert cached(model(LONG, lora={"adapter0": 0.5}, **GREEDY)) == 0
    model.load_lora(adapters[1])
    assert cached(model(LONG, lora="adapter1", **GREEDY)) == 0
    assert cached(model(LONG, lora="adapter0", **GREEDY)) > 0
    model.unload_lora("adapter1")
    assert cached(model(LONG, **GREEDY)) > 0


def test_files_of_prompts_and_states_know_no_adapter(
    smollm2_path: Path, adapters: list[Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"n_ctx": 1024, "n_parallel": 1, "prompt_cache_dir": tmp_path}
    prompt = LONG * 4
    with Llama(smollm2_path, **options) as llm:
        llm.load_lora(adapters[0])
        answer(llm, prompt, lora="adapter0")
        with pytest.raises(UnsupportedCapabilityError, match="LoRA"):
            llm.save_state()
        plain = answer(llm, CAPITAL)
        state = llm.save_state()
        llm(LONG, lora="adapter0", **GREEDY)  # leaves the slot with the adapter
        llm.load_state(state)
        assert answer(llm, CAPITAL, lora="adapter0") != plain
        llm.load_state(state)
        assert answer(llm, CAPITAL) == plain
    with Llama(smollm2_path, **options) as llm:
        assert cached(llm(prompt, **GREEDY)) == 0
        llm("Something else", **GREEDY)
    with Llama(smollm2_path, **options) as llm:
        llm.load_lora(adapters[0])
        assert cached(llm(prompt, lora="adapter0", **GREEDY)) == 0
        assert cached(llm(prompt, **GREEDY)) > 0


def test_unloading_lets_running_requests_end(model: Llama, adapters: list[Path]) -> None:
    long: dict[str, Any] = {"temperature": 0, "max_tokens": 120, "ignore_eos": True}
    model.load_lora(adapters[0])
    expected = model(CAPITAL, lora="adapter0", cache_prompt=False, **long)["choices"][0]["text"]
    running = model(CAPITAL, lora="adapter0", stream=True, cache_prompt=False, **long)
    begun = next(running)["choices"][0]["text"]
    model.unload_lora("adapter0")
    with pytest.raises(InvalidParameterError, match="unknown adapter"):
        text(model, lora="adapter0")
    model.load_lora(adapters[1], name="adapter0")
    other = text(model, lora="adapter0")
    assert begun + "".join(chunk["choices"][0]["text"] for chunk in running) == expected
    assert text(model, lora="adapter0", cache_prompt=False) == other != expected[: len(other)]


def test_a_request_that_is_given_up_frees_its_adapter(model: Llama, adapters: list[Path]) -> None:
    for _ in range(3):
        model.load_lora(adapters[0])
        running = model(CAPITAL, lora="adapter0", stream=True, max_tokens=300, ignore_eos=True)
        next(running)
        model.unload_lora("adapter0")
        running.close()
        del running
        gc.collect()
        wait_until(lambda: model.n_active == 0)
        assert text(model) == text(model, cache_prompt=False)


def test_what_cannot_be_loaded(
    model: Llama, adapters: list[Path], smollm2_path: Path, tmp_path: Path, embedder: Llama
) -> None:
    with pytest.raises(ModelNotFoundError):
        model.load_lora(tmp_path / "nothing.gguf")
    with pytest.raises(ModelLoadError, match="LoRA"):
        model.load_lora(smollm2_path)
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(adapters[0].read_bytes()[:-1000])
    with pytest.raises(ModelLoadError):
        model.load_lora(damaged)
    wide = write_adapter(tmp_path / "wide.gguf", 0, n_embd=640)
    with pytest.raises(ModelLoadError, match="shape"):
        model.load_lora(wide)
    with pytest.raises(UnsupportedCapabilityError, match="no text"):
        embedder.load_lora(adapters[0])
    with Llama(smollm2_path, vocab_only=True) as words, pytest.raises(UnsupportedCapabilityError):
        words.load_lora(adapters[0])
    assert model.loras == ()


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"name": "adapter1"}, "name"),
        ({"name": "7"}, "name"),
        ({"name": " "}, "name"),
        ({"name": 7}, "name"),
        ({"scale": 0}, "scale"),
        ({"scale": float("nan")}, "scale"),
    ],
)
def test_arguments_that_cannot_work(
    model: Llama, adapters: list[Path], arguments: dict[str, Any], parameter: str
) -> None:
    model.load_lora(adapters[1])
    with pytest.raises(InvalidParameterError) as raised:
        model.load_lora(adapters[0], **arguments)
    assert raised.value.parameter == parameter
    assert [one.name for one in model.loras] == ["adapter1"]


def test_what_cannot_be_unloaded(smollm2_path: Path, model: Llama, adapters: list[Path]) -> None:
    model.load_lora(adapters[0])
    with pytest.raises(InvalidParameterError, match="did you mean 'adapter0'"):
        model.unload_lora("adapter9")
    with Llama(smollm2_path, n_ctx=256, lora=[adapters[0]]) as at_start:
        with pytest.raises(UnsupportedCapabilityError, match="when the model was loaded"):
            at_start.unload_lora("adapter0")
        with pytest.raises(InvalidParameterError, match="name"):
            at_start.unload_lora(5)  # type: ignore[arg-type]
        at_start.load_lora(adapters[1])
        assert text(at_start, lora="adapter0") == text(at_start) != text(at_start, lora="adapter1")
        assert text(at_start, lora=["adapter0", "adapter1"]) == text(at_start, lora={0: 1.0, 1: 1.0})


@pytest.mark.parametrize(
    "lora", [["adapter0", "adapter0"], {"adapter0": 1.0, 0: 1.0}, [3], [], 5, "x", {"1": 1.0}]
)
def test_requests_that_name_adapters_wrongly(model: Llama, adapters: list[Path], lora: Any) -> None:
    model.load_lora(adapters[0])
    with pytest.raises(InvalidParameterError):
        text(model, lora=lora)


def test_a_changed_file_is_not_read_again(model: Llama, adapters: list[Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(adapters[0], tmp_path / "copy.gguf"))
    model.load_lora(path)
    expected = text(model, lora="copy")
    shutil.copy(adapters[1], path)
    assert text(model, lora="copy", cache_prompt=False) == expected
    with pytest.raises(ModelLoadError, match="has changed"):
        text(model, lora="copy", logits_processor=lambda ids, scores: scores)


def test_a_storm_of_adapters_beside_requests(model: Llama, adapters: list[Path]) -> None:
    short: dict[str, Any] = {"temperature": 0, "max_tokens": 4, "cache_prompt": True}
    prompts = [CAPITAL, LONG]
    expected: dict[tuple[str, int | None], set[str]] = {}
    for prompt in prompts:
        expected[prompt, None] = {model(prompt, **short)["choices"][0]["text"]}
        for i, file in enumerate(adapters):
            model.load_lora(file, name="first")
            expected[prompt, i] = {model(prompt, lora="first", **short)["choices"][0]["text"]}
            model.unload_lora("first")
    stop = threading.Event()

    def ask(worker: int) -> int:
        done = 0
        while not stop.is_set():
            prompt = prompts[(worker + done) % 2]
            which = None if worker == 0 else worker % 2
            try:
                found = model(prompt, **short, **({} if which is None else {"lora": f"storm{which}"}))
            except InvalidParameterError as error:
                if "adapter" not in str(error):
                    raise
                continue
            assert found["choices"][0]["text"] in expected[prompt, which]
            done += 1
        return done

    def change(which: int) -> int:
        for _ in range(25):
            model.load_lora(adapters[which], name=f"storm{which}")
            time.sleep(0.05)
            model.unload_lora(f"storm{which}")
        return 25

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, worker) for worker in range(4)]
        changing = [pool.submit(change, which) for which in range(2)]
        try:
            assert [one.result(timeout=120) for one in changing] == [25, 25]
        finally:
            stop.set()
        assert sum(one.result(timeout=60) for one in asking) > 0
    wait_until(lambda: model.n_active == 0)


def test_closing_in_the_middle(smollm2_path: Path, adapters: list[Path]) -> None:
    llm = Llama(smollm2_path, n_ctx=256, n_parallel=1)
    llm.load_lora(adapters[0])
    running = llm(CAPITAL, lora="adapter0", stream=True, max_tokens=200, ignore_eos=True)
    next(running)
    llm.unload_lora("adapter0")
    llm.close()
    with pytest.raises(EngineClosedError):
        list(running)
    with pytest.raises(EngineClosedError):
        llm.load_lora(adapters[0])
