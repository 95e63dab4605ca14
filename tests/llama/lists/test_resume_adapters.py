"""``resume=`` and LoRA adapters, which are compared by their content."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama

ROW: dict[str, Any] = {"prompt": "The capital of France is", "temperature": 0, "cache_prompt": False}


@pytest.fixture
def model(llm: Llama) -> Iterator[Llama]:
    yield llm
    for one in llm.loras:
        llm.unload_lora(one.name)


def asked(model: Llama, file: Path, **more: Any) -> tuple[str, str]:
    """An answer's id, which tells whether it was computed again, and its text."""
    (answer,) = model.map([ROW], max_tokens=8, resume=file, **more)
    return answer["id"], answer["choices"][0]["text"]


def test_an_exchanged_adapter_gets_no_old_answer(model: Llama, adapters: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "answers"
    model.load_lora(adapters[0], name="law")
    first = asked(model, file, lora="law")
    assert asked(model, file, lora="law") == first
    model.unload_lora("law")
    with pytest.raises(InvalidParameterError) as raised:
        asked(model, file, lora="law")
    assert raised.value.parameter == "lora"
    model.load_lora(adapters[1], name="law")
    second = asked(model, file, lora="law")
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert asked(model, file)[1] not in (first[1], second[1])


def test_the_content_counts_and_not_the_name(model: Llama, adapters: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "answers"
    model.load_lora(adapters[0])
    first = asked(model, file, lora="adapter0")
    for same in (["adapter0"], {"adapter0": 1}, {0: 1.0}, [{"id": 0, "scale": 1.0}]):
        assert asked(model, file, lora=same) == first
    model.unload_lora("adapter0")
    model.load_lora(shutil.copy(adapters[0], tmp_path / "copy.gguf"))
    assert asked(model, file, lora="copy") == first
    weaker = asked(model, file, lora={"copy": 0.5})
    assert weaker[0] != first[0]
    plain = asked(model, file)
    assert asked(model, file, lora={"copy": 0}) == asked(model, file, lora={}) == plain


def test_adapters_of_the_model_itself(smollm2_path: Path, adapters: list[Path], tmp_path: Path) -> None:
    file, path = tmp_path / "answers", tmp_path / "same.gguf"
    found = []
    for adapter in adapters:
        shutil.copy(adapter, path)
        with Llama(smollm2_path, n_ctx=256, n_parallel=1, lora=[path]) as model:
            found.append(asked(model, file))
            assert asked(model, file) == found[-1]
            assert asked(model, file, lora="same") == found[-1]
            found.append(asked(model, file, lora={}))
    first, plain, second, plain_again = found
    assert len({first[1], plain[1], second[1]}) == 3
    assert plain_again[1] == plain[1]


def test_an_exchange_under_way_keeps_no_answer(model: Llama, adapters: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "answers"
    model.load_lora(adapters[0], name="law")
    first = model(lora="law", max_tokens=8, **ROW)["choices"][0]["text"]
    all_there = threading.Event()

    def exchange(path: Path) -> None:
        model.unload_lora("law")
        model.load_lora(path, name="law")

    def rows() -> Iterator[dict[str, Any]]:
        for _ in range(8):  # as many as there are in the engine at once: the last one waits
            yield {**ROW, "max_tokens": 100, "ignore_eos": True}
        yield {**ROW, "max_tokens": 8, "lora": "law"}
        all_there.set()

    def meanwhile() -> None:
        all_there.wait(30)
        time.sleep(0.3)
        exchange(adapters[1])

    thread = threading.Thread(target=meanwhile)
    thread.start()
    *_, waited = model.map(rows(), resume=file)
    thread.join()
    assert waited["choices"][0]["text"] != first, "it was answered before the exchange"
    exchange(adapters[0])
    *_, again = model.map(rows(), resume=file)
    assert again["choices"][0]["text"] == first


@pytest.mark.parametrize("lora", [5, [3], {"nothing": 1.0}, {0: "x"}, {True: 1.0}])
def test_what_names_no_adapter_is_a_bad_row(
    model: Llama, adapters: list[Path], tmp_path: Path, lora: Any
) -> None:
    model.load_lora(adapters[0])
    rows = [{**ROW, "lora": lora}, ROW]
    bad, good = model.map(rows, max_tokens=1, on_error="return", resume=tmp_path / "answers")
    assert isinstance(bad, InvalidParameterError)
    assert bad.parameter.startswith("lora")
    assert good["choices"]
