from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Context, Model

gguf = pytest.importorskip("gguf", reason="the models extra is not installed")

RANK = 2
PROMPT = "The capital of France is"


def write_adapter(
    path: Path, model: Model, *, architecture: str = "llama", tensor: str = "blk.0.attn_q.weight"
) -> Path:
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    shape = (RANK, model.n_embd)
    writer.add_tensor(f"{tensor}.lora_a", random.normal(size=shape).astype(np.float32))
    writer.add_tensor(f"{tensor}.lora_b", random.normal(size=shape[::-1]).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(model: Model, context: Context) -> np.ndarray:
    context.memory.clear()
    context.decode(model.tokenize(PROMPT))
    return context.logits().copy()


def test_an_adapter_changes_the_logits_by_its_scale(model: Model, context: Context, tmp_path: Path) -> None:
    plain = logits(model, context)
    with model.load_lora(write_adapter(tmp_path / "a.gguf", model)) as adapter:
        assert adapter.metadata["adapter.type"] == "lora"
        context.set_loras({adapter: 0.1})
        small = np.abs(logits(model, context) - plain).max()
        context.set_loras({adapter: 1.0})
        large = np.abs(logits(model, context) - plain).max()
        assert 0 < small < large
        context.set_loras({})
        np.testing.assert_array_equal(logits(model, context), plain)


def test_a_context_keeps_the_adapters_it_uses(model: Model, context: Context, tmp_path: Path) -> None:
    adapter = model.load_lora(write_adapter(tmp_path / "a.gguf", model))
    context.set_loras({adapter: 1.0})
    changed = logits(model, context)
    adapter.close()
    del adapter
    np.testing.assert_array_equal(logits(model, context), changed)


def test_bad_adapters(model: Model, context: Context, smollm2_path: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        model.load_lora(tmp_path / "nothing.gguf")
    with pytest.raises(errors.ModelLoadError, match="not a LoRA adapter"):
        model.load_lora(smollm2_path)
    with pytest.raises(errors.ModelLoadError, match="arch"):
        model.load_lora(write_adapter(tmp_path / "b.gguf", model, architecture="qwen2"))
    with pytest.raises(errors.ModelLoadError, match="does not exist"):
        model.load_lora(write_adapter(tmp_path / "c.gguf", model, tensor="blk.99.attn_q.weight"))


def test_bad_uses(model: Model, context: Context, smollm2_path: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", model)
    with model.load_lora(path) as adapter, Model(smollm2_path) as other, other.load_lora(path) as foreign:
        for scale in (float("nan"), float("inf"), "1"):
            with pytest.raises(errors.InvalidParameterError, match="scale"):
                context.set_loras({adapter: scale})  # type: ignore[dict-item]
        with pytest.raises(errors.InvalidParameterError, match="another model"):
            context.set_loras({foreign: 1.0})
        with pytest.raises(errors.InvalidParameterError, match="LoraAdapter"):
            context.set_loras({path: 1.0})  # type: ignore[dict-item]
    with pytest.raises(errors.EngineClosedError):
        context.set_loras({adapter: 1.0})
