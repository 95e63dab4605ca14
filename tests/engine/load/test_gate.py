"""Every file that llama.cpp opens, and every override, goes through one gate."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, ModelError, ModelLoadError
from llamacpp_core.lowlevel import Model

FATAL: dict[str, Any] = {
    "llama.nextn_predict_layers": 3,
    "llama.expert_used_count": 3,
    "llama.expert_group_count": 5,
    "llama.attention.layer_norm_rms_epsilon": -1.0,
}


@pytest.mark.parametrize("key", FATAL)
def test_overrides_that_llama_cpp_cannot_work_with(smollm2_path: Path, key: str) -> None:
    """They are errors, or llama.cpp takes them; the process goes on."""
    for load in (
        lambda: Llama(smollm2_path, n_ctx=256, n_parallel=1, kv_overrides={key: FATAL[key]}),
        lambda: Model(smollm2_path, metadata_overrides={key: FATAL[key]}),
    ):
        try:
            load().close()
        except (ModelLoadError, InvalidParameterError):
            continue


COMPANIONS: dict[str, Any] = {
    "a draft model": lambda path: {"server_options": {"spec-draft-model": path}},
    "an adapter": lambda path: {"lora": [path]},
    "a projector": lambda path: {"mmproj": path},
    "a control vector": lambda path: {"server_options": {"control-vector": path}},
    "a lookup cache": lambda path: {
        "server_options": {"lookup-cache-static": path, "spec-type": "ngram-cache"}
    },
    "a scaled control vector": lambda path: {"server_options": {"control-vector-scaled": f"{path}:0.5"}},
}


@pytest.mark.parametrize("kind", COMPANIONS)
@pytest.mark.parametrize("content", [b"GGUF" + b"\xff" * 400, b"no model", b""])
def test_damaged_companions(tmp_path: Path, smollm2_path: Path, kind: str, content: bytes) -> None:
    if "lookup" in kind and not content:
        return  # one that knows nothing
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.gguf"):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, **COMPANIONS[kind](str(path)))


SOUND = [1, 2, -1, -1, 2, 3, 1, 4, 5]


@pytest.mark.parametrize(
    "numbers",
    [
        SOUND[:-1],
        SOUND[:3],
        [*SOUND[:4], 0],
        [*SOUND[:4], -1],
        [1, 2, -1, -1, 1, 10**6, 1],
        [1, 2, -1, -1, 1, 3, 0],
    ],
)
def test_damaged_lookup_caches(tmp_path: Path, smollm2_path: Path, numbers: list[int]) -> None:
    path = tmp_path / "lookup.bin"
    path.write_bytes(array("i", numbers).tobytes())
    with pytest.raises(ModelLoadError, match="not a lookup cache for this model"):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, **COMPANIONS["a lookup cache"](str(path)))


def test_a_lookup_cache(tmp_path: Path, smollm2_path: Path) -> None:
    path = tmp_path / "lookup.bin"
    path.write_bytes(array("i", SOUND * 2).tobytes())
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, **COMPANIONS["a lookup cache"](str(path))) as llm:
        assert llm.create_completion("Hello", max_tokens=3)["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    "kind", [kind for kind in COMPANIONS if "draft" not in kind and "lookup" not in kind]
)
def test_a_model_in_the_place_of_a_companion(smollm2_path: Path, kind: str) -> None:
    with pytest.raises(ModelLoadError, match="is not a"):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, **COMPANIONS[kind](str(smollm2_path)))


def test_lowlevel_files_are_checked(tmp_path: Path, smollm2_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(smollm2_path.read_bytes()[:200_000])
    with pytest.raises(ModelLoadError):
        Model(path)


@pytest.mark.parametrize("kind", ["chat", "encoder", "recurrent"])
@pytest.mark.parametrize("load", [Model, Llama])
def test_weights_of_integers(tmp_path: Path, kind: str, load: Any) -> None:
    """An encoder with one ended the process when its graph was put together."""
    from fuzz.files import KINDS

    path, whole = tmp_path / "model.gguf", KINDS[kind]()
    for weight in whole.tensors:
        if weight.name.startswith("blk.1.") and weight.name.endswith((".weight", ".bias")):
            sound, weight.type = weight.type, 26  # GGML_TYPE_I32
            path.write_bytes(whole.pack())
            with pytest.raises(ModelLoadError, match=rf"{weight.name}.* is of type I32"):
                load(path)
            weight.type = sound
