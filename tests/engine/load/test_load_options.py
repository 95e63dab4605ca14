"""Load options: what reaches the engine, what is decided for the caller, what is refused."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacpp_core import (
    InvalidParameterError,
    Llama,
    LoadOptions,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from llamacpp_core.engine.load.memory import available_memory, fit_context
from llamacpp_core.models import kv_cache_bytes, read_gguf_header

SMALL: dict[str, Any] = {"n_ctx": 256, "n_parallel": 2, "n_threads": 1, "warmup": False}
Facts = Callable[..., Any]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


NESTED = nested(3000)


@pytest.fixture
def facts(smollm2_path: Path) -> Facts:
    """The info of a model loaded with some options; it has answered a prompt."""

    def load(**options: Any) -> Any:
        with Llama(smollm2_path, **{**SMALL, **options}) as llama:
            answer = llama("The capital of France is", max_tokens=1, temperature=0)
            assert answer["usage"]["completion_tokens"] == 1
            return llama.info

    return load


REACHED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"n_ctx": 512}, {"n_ctx": 512}),
    ({"n_ctx": 300}, {"n_ctx": 512}),
    ({"n_ctx": 1}, {"n_ctx": 256}),
    ({"n_ctx": 1, "n_parallel": 1}, {"n_ctx": 256, "n_parallel": 1}),
    ({"n_ctx": 0, "n_parallel": 1}, {"n_ctx": 8192, "n_ctx_reduced": None}),
    ({"n_parallel": 3}, {"n_parallel": 3, "n_ctx": 256}),
    ({"n_parallel": None}, {"n_parallel": 4}),
    ({"n_batch": 64}, {"n_batch": 64, "n_ubatch": 64}),
    ({"n_batch": 2}, {"n_batch": 2}),
    ({"n_ubatch": 32}, {"n_batch": 512, "n_ubatch": 32}),
    ({"n_threads": 2}, {"n_threads": 2}),
    ({"kv_unified": True, "n_ctx": 512, "n_parallel": 3}, {"n_ctx": 512, "n_parallel": 3}),
    ({"pooling_type": "mean"}, {"pooling": "mean"}),
    ({"pooling_type": 3}, {"pooling": "last"}),
    ({"pooling_type": "cls", "embedding": True}, {"pooling": "cls"}),
    ({"embedding": True}, {"pooling": "mean"}),
    ({"chat_template": "{{ messages[0].content }}"}, {"chat_template": "{{ messages[0].content }}"}),
    ({"rope_scaling_type": "linear", "n_ctx": 16384, "n_parallel": 1}, {"n_ctx": 16384, "n_ctx_train": 8192}),
    ({"rope_freq_scale": 0.5, "n_ctx": 16384, "n_parallel": 1}, {"n_ctx": 16384}),
    ({"use_mmap": False}, {}),
    ({"use_mlock": True}, {}),
    ({"type_k": "q8_0", "type_v": "q8_0"}, {}),
    ({"type_k": 8, "type_v": 1}, {}),
    ({"type_k": "f32", "flash_attn": False}, {}),
    ({"flash_attn": True}, {}),
    ({"offload_kqv": False, "op_offload": False, "swa_full": True}, {}),
    ({"numa": "distribute"}, {}),
    ({"kv_overrides": {"tokenizer.ggml.add_bos_token": True, "general.name": "x"}}, {}),
    ({"seed": 5, "n_threads_batch": 2, "warmup": True}, {}),
    ({"rope_freq_base": 50_000, "yarn_ext_factor": 0.5, "yarn_attn_factor": 1, "yarn_orig_ctx": 4096}, {}),
    ({"yarn_beta_fast": 32, "yarn_beta_slow": 1}, {}),
    ({name: None for name in LoadOptions.__dataclass_fields__ if name not in SMALL}, {"n_batch": 512}),
]


@pytest.mark.parametrize(("options", "expected"), REACHED, ids=repr)
def test_options_reach_the_engine(facts: Facts, options: dict[str, Any], expected: dict[str, Any]) -> None:
    info = facts(**options)
    assert {name: getattr(info, name) for name in expected} == expected


def test_the_cache_is_as_large_as_info_says(facts: Facts, smollm2_path: Path) -> None:
    header = read_gguf_header(smollm2_path)
    for options in ({}, {"type_k": "q8_0", "type_v": "q4_0"}, {"n_ctx": 1024}):
        info = facts(**options)
        types = (options.get("type_k", "f16"), options.get("type_v", "f16"))
        assert info.prompt_cache.slot_tokens == info.n_ctx * info.n_parallel
        assert info.prompt_cache.slot_bytes == kv_cache_bytes(header, info.n_ctx * info.n_parallel, *types)
    assert facts(cache_ram_mib=8).prompt_cache.ram_mib == 8


def test_beyond_the_training_is_reduced_visibly(facts: Facts, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llamacpp_core"):
        info = facts(n_ctx=100_000, n_parallel=1)
    assert info.n_ctx == 8192
    assert "8192" in info.n_ctx_reduced
    assert "100000" in caplog.text


def test_gpu_options_without_a_gpu_are_logged_and_silent(
    facts: Facts, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, "llamacpp_core"):
        facts(n_gpu_layers=-1, main_gpu=0, split_mode="layer", tensor_split=[1.0])
    from llamacpp_core.native import lib

    assert ("n_gpu_layers has no effect" in caplog.text) is not bool(lib.llama_supports_gpu_offload())
    assert capfd.readouterr() == ("", "")


def test_the_default_context_fits_into_memory(smollm2_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = read_gguf_header(smollm2_path)
    need = 4 * kv_cache_bytes(header, 8192)
    for memory, expected in (
        (None, 8192),
        (10 * need, 8192),
        (2 * need, 8192),
        (need, 4096),
        (need // 100, 256),
    ):
        monkeypatch.setattr("llamacpp_core.engine.load.memory.available_memory", lambda memory=memory: memory)
        n_ctx, reason = fit_context(header, 8192, 4, "f16", "f16")
        assert n_ctx == expected
        assert (reason is None) == (expected == 8192)


def test_available_memory_is_a_sensible_number() -> None:
    memory = available_memory()
    assert memory is None or 2**26 < memory < 2**50


BAD: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, name)
        for name in ("n_ctx", "n_batch", "n_ubatch", "main_gpu")
        for value in (-1, "5", 1.5, True)
    ),
    *(
        ({name: value}, name)
        for name in ("n_threads", "n_threads_batch", "n_parallel")
        for value in (0, 10**4, "2")
    ),
    ({"n_batch": 1}, "n_batch"),
    ({"n_batch": 2**31 - 1}, "n_batch"),
    ({"n_parallel": 257}, "n_parallel"),
    ({"n_parallel": 64, "n_batch": 32}, "n_parallel"),
    ({"n_parallel": 6, "embedding": True}, "n_parallel"),
    ({"n_gpu_layers": -2}, "n_gpu_layers"),
    ({"split_mode": "column"}, "split_mode"),
    ({"split_mode": ["row"]}, "split_mode"),
    ({"tensor_split": "1,2"}, "tensor_split"),
    ({"tensor_split": [-1]}, "tensor_split[0]"),
    ({"tensor_split": [math.nan]}, "tensor_split[0]"),
    *(
        ({name: value}, name)
        for name in ("use_mmap", "use_mlock", "warmup", "kv_unified")
        for value in (1, "yes")
    ),
    ({"offload_kqv": 1}, "offload_kqv"),
    ({"embedding": "yes"}, "embedding"),
    ({"flash_attn": "on"}, "flash_attn"),
    ({"flash_attn": 1}, "flash_attn"),
    ({"seed": -2}, "seed"),
    ({"seed": 2**32}, "seed"),
    ({"rope_freq_base": -1}, "rope_freq_base"),
    ({"rope_freq_base": 1e300}, "rope_freq_base"),
    ({"rope_freq_scale": math.inf}, "rope_freq_scale"),
    ({"rope_freq_scale": 1e-300}, "rope_freq_scale"),
    ({"lora_scale": 0.5}, "lora_scale"),
    ({"lora_scale": "x"}, "lora_scale"),
    ({"progress": "yes"}, "progress"),
    ({"rope_scaling_type": "spiral"}, "rope_scaling_type"),
    ({"rope_scaling_type": 9}, "rope_scaling_type"),
    ({"yarn_ext_factor": math.nan}, "yarn_ext_factor"),
    ({"yarn_orig_ctx": -5}, "yarn_orig_ctx"),
    ({"pooling_type": "sum"}, "pooling_type"),
    ({"pooling_type": "rank"}, "pooling_type"),
    ({"pooling_type": "rank", "embedding": False}, "pooling_type"),
    ({"type_k": "q2_k"}, "type_k"),
    ({"type_v": 99}, "type_v"),
    ({"type_v": ["f16"]}, "type_v"),
    ({"type_v": "q8_0", "flash_attn": False}, "type_v"),
    ({"cache_ram_mib": -1}, "cache_ram_mib"),
    ({"numa": "everywhere"}, "numa"),
    ({"chat_template": ""}, "chat_template"),
    ({"chat_template": 5}, "chat_template"),
    ({"chat_template": "a\0b"}, "chat_template"),
    ({"chat_template": "{{ broken"}, "chat_template"),
    ({"chat_template": "{% for x in %}"}, "chat_template"),
    ({"lora": 5}, "lora"),
    ({"lora": [5]}, "lora[0]"),
    ({"lora": [(__file__,)]}, "lora[0]"),
    ({"lora": [(__file__, math.nan)]}, "lora[0] scale"),
    ({"mmproj": 5}, "mmproj"),
    ({"kv_overrides": [1]}, "kv_overrides"),
    ({"kv_overrides": {1: 2}}, "kv_overrides"),
    ({"kv_overrides": {"a": [1]}}, "kv_overrides"),
    ({"kv_overrides": {"a": "b,c"}}, "kv_overrides"),
    ({"kv_overrides": {"a=b": 1}}, "kv_overrides"),
    ({"kv_overrides": {"a" * 200: 1}}, "kv_overrides"),
    ({"kv_overrides": {"a": "b" * 200}}, "kv_overrides"),
    *(
        ({"kv_overrides": {key: value}}, "kv_overrides")
        for key, value in {
            "llama.block_count": -1,
            "llama.context_length": 0,
            "llama.attention.layer_norm_rms_epsilon": -1.0,
            "llama.rope.scaling.type": "spiral",
            "llama.rope.freq_base": 10_000,  # the file has a float: llama.cpp would ignore a whole number
            "general.name": True,
            "a": 2**63,
            "b": math.nan,
        }.items()
    ),
    ({"server_options": 5}, "server_options"),
    ({"server_options": {5: 1}}, "server_options"),
]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LoadOptions)])
@pytest.mark.parametrize("value", [np.array([1, 2, 3]), NESTED], ids=["array", "nested"])
def test_values_of_no_use_are_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        LoadOptions(**{name: value})
    assert str(caught.value.parameter).startswith(name)


@pytest.mark.parametrize(("options", "parameter"), BAD, ids=repr)
def test_bad_options_are_named(smollm2_path: Path, options: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Llama(smollm2_path, **{**SMALL, **options})
    assert caught.value.parameter == parameter
    assert parameter.split("[")[0].split(" ")[0] in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"lora": "/no/such"}, {"mmproj": "/no/such"}, {"lora": [("/no/such", 0.5)]}]
)
def test_missing_files(smollm2_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ModelNotFoundError, match="/no/such"):
        Llama(smollm2_path, **SMALL, **options)


@pytest.mark.parametrize("options", [{"lora": "MODEL"}, {"mmproj": "MODEL"}])
def test_files_of_another_kind(smollm2_path: Path, options: dict[str, str]) -> None:
    from llamacpp_core import ModelLoadError

    with pytest.raises(ModelLoadError):
        Llama(smollm2_path, **SMALL, **dict.fromkeys(options, str(smollm2_path)))


def test_an_unknown_option_suggests_the_nearest(smollm2_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="did you mean 'n_ctx'"):
        Llama(smollm2_path, n_ctxx=5)


def test_load_options_are_frozen_and_comparable() -> None:
    options = LoadOptions(n_ctx=5, seed=-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.n_ctx = 6  # type: ignore[misc]
    assert options == LoadOptions(n_ctx=5)
    assert options.seed is None


def test_no_vector_per_text_without_pooling(smollm2_path: Path) -> None:
    with (
        Llama(smollm2_path, **SMALL, embedding=True, pooling_type="none") as llama,
        pytest.raises(UnsupportedCapabilityError, match="pooling_type"),
    ):
        llama.embed(["several tokens in here"])


@pytest.mark.parametrize("n_parallel", [1, 2, 4, 8, 16, 32, 64, 128])
def test_slots_of_an_encoder_divide_the_batch(minilm_path: Path, n_parallel: int) -> None:
    with Llama(minilm_path, n_parallel=n_parallel) as encoder:
        assert encoder.info.n_parallel == n_parallel
        assert encoder.embed(["a", "b c"]).shape == (2, 384)


@pytest.mark.parametrize("n_parallel", [3, 6, 12, 24, 48, 100])
def test_other_numbers_of_slots_are_refused(minilm_path: Path, n_parallel: int) -> None:
    with pytest.raises(InvalidParameterError, match="n_ubatch"):
        Llama(minilm_path, n_parallel=n_parallel)


@pytest.mark.parametrize(("n_ubatch", "slots"), [(512, 32), (256, 32), (100, 4), (33, 1), (16, 16)])
def test_the_default_number_of_slots_divides_the_batch(minilm_path: Path, n_ubatch: int, slots: int) -> None:
    with Llama(minilm_path, n_ubatch=n_ubatch) as encoder:
        assert encoder.info.n_parallel == slots
        assert encoder.embed(["a b c"]).shape == (1, 384)


def test_overrides_hold_for_a_vocabulary_alone(smollm2_path: Path) -> None:
    with Llama(smollm2_path, vocab_only=True, kv_overrides={"tokenizer.ggml.bos_token_id": 5}) as llm:
        assert llm.token_bos() == 5
    with pytest.raises(InvalidParameterError, match="give a int"):
        Llama(smollm2_path, vocab_only=True, kv_overrides={"tokenizer.ggml.bos_token_id": "5"})
