"""LoRA adapters for SmolLM2-135M: tiny, and each makes the model say something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

N_EMBD, RANK = 576, 4


def write_adapter(path: Path, seed: int, n_embd: int = N_EMBD) -> Path:
    """Writes an adapter that adds noise to the output projections of the first layers."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(RANK))
    random = np.random.default_rng(seed)
    for layer in range(4):
        name = f"blk.{layer}.attn_output.weight"
        for part, shape in (("lora_a", (RANK, n_embd)), ("lora_b", (n_embd, RANK))):
            writer.add_tensor(f"{name}.{part}", (0.3 * random.standard_normal(shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters, called "adapter0" and "adapter1" by their files."""
    folder = tmp_path_factory.mktemp("lora")
    return [write_adapter(folder / f"adapter{i}.gguf", i) for i in range(2)]
