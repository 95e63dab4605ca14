"""Values of a wrong kind, and uses inside of uses: a typed error each, and the process lives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llamacpp_core.errors import EngineError, InvalidParameterError, LlamaCppError
from llamacpp_core.lowlevel import Batch, Candidates, Context, LoraAdapter, Model, Sampler


@pytest.fixture
def decoded(model: Model, context: Context) -> Context:
    context.decode(model.tokenize("The capital of France is"))
    return context


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"vocab_only": "yes"}, "vocab_only"),
        ({"check_tensors": None}, "check_tensors"),
        ({"n_gpu_layers": True}, "n_gpu_layers"),
        ({"tensor_split": 5}, "tensor_split"),
        ({"on_progress": 5}, "on_progress"),
        ({"metadata_overrides": {5: 1}}, "metadata_overrides"),
        ({"metadata_overrides": "general.name"}, "metadata_overrides"),
        ({"metadata_overrides": {"llama.block_count": 0}}, "metadata_overrides"),
        ({"metadata_overrides": {"llama.attention.layer_norm_rms_epsilon": -1.0}}, "metadata_overrides"),
        ({"metadata_overrides": {"llama.rope.scaling.type": "spiral"}}, "metadata_overrides"),
    ],
)
def test_arguments_of_a_model(model: Model, smollm2_path: Any, options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        Model(smollm2_path, **options)
    with pytest.raises(InvalidParameterError, match="name must be text"):
        model.chat_template(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [None, 5, b"model.gguf"])
def test_paths(model: Model, decoded: Context, path: Any) -> None:
    for use in (Model, model.load_lora, decoded.load_state_file, decoded.save_state_file):
        with pytest.raises(InvalidParameterError, match="path must be a path"):
            use(path)


@pytest.mark.parametrize(
    ("option", "value"),
    [("embeddings", "yes"), ("offload_kqv", 1), ("kv_unified", None), ("n_ctx", True), ("n_ctxx", 5)],
)
def test_options_of_a_context(model: Model, option: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=option):
        model.create_context(**{option: value})


USES: dict[str, Callable[[Context], Any]] = {
    "causal": lambda context: context.set_causal_attention("yes"),  # type: ignore[arg-type]
    "embeddings": lambda context: context.set_embeddings(2),  # type: ignore[arg-type]
    "n_threads": lambda context: context.set_threads(True),
    "adapters": lambda context: context.set_loras([LoraAdapter]),  # type: ignore[arg-type]
    "state": lambda context: context.load_state(None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", USES)
def test_arguments_of_a_context(decoded: Context, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        USES[name](decoded)


def test_arguments_of_a_batch() -> None:
    with Batch(4) as batch:
        for arguments in ({"seq_ids": 5}, {"seq_ids": "0"}, {"output": "yes"}):
            with pytest.raises(InvalidParameterError, match=next(iter(arguments))):
                batch.add(1, 0, **arguments)
        assert len(batch) == 0
        batch.add(1, 0)
        with pytest.raises(InvalidParameterError, match="output"):
            batch.set_output(0, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("logits", ["abc", ["a"], None, [object()]])
def test_logits_are_numbers(logits: Any) -> None:
    with pytest.raises(InvalidParameterError, match="logits"):
        Candidates.from_logits(logits)


@pytest.mark.parametrize("change", ["close", "context"])
def test_nothing_in_use_is_closed_from_inside(model: Model, decoded: Context, change: str) -> None:
    with Sampler(model) as sampler:
        used = {"close": sampler, "context": decoded}[change]
        sampler.python(lambda candidates: used.close()).greedy()
        with pytest.raises(EngineError, match="in use by the call that led here"):
            sampler.sample(decoded)
        assert not used.closed
    with Sampler(model).greedy() as plain:
        assert plain.sample(decoded) == decoded.logits().argmax()


def test_a_chain_does_not_grow_from_inside(model: Model, decoded: Context) -> None:
    def grow(candidates: Candidates) -> None:
        sampler.temp(0.5)

    with Sampler(model).python(grow) as sampler:
        with pytest.raises(EngineError, match="in use by the call that led here"):
            sampler.apply(Candidates.from_logits(decoded.logits()))
        assert len(sampler.temp(0.5)) == 2


def test_candidates_are_gone_after_the_call(model: Model, decoded: Context) -> None:
    kept: list[Candidates] = []
    with Sampler(model).python(kept.append).greedy() as sampler:
        sampler.sample(decoded)
    for use in (len, lambda c: c.logits, lambda c: c.ids, lambda c: c.select(0), lambda c: c.softmax()):
        with pytest.raises(EngineError, match="copy what you keep"):
            use(kept[0])
    mine = Candidates.from_logits(np.zeros(3, dtype=np.float32))
    assert mine.softmax() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_mirostat_without_learning(model: Model, decoded: Context, tau: float) -> None:
    with Sampler(model).mirostat_v2(seed=1, eta=0.0) as sampler:
        sampler.sample(decoded)
    with Sampler(model) as sampler, pytest.raises(LlamaCppError, match="tau"):
        sampler.mirostat_v2(tau=tau)
