"""llama-cpp-python's constructor arguments, attributes and small methods."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import (
    InvalidParameterError,
    Llama,
    LlamaCache,
    LlamaPromptLookupDecoding,
    LlamaRAMCache,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from llamacpp_core.llama.settings import make_load_options, read_settings

CAPITAL = "The capital of France is"


def text(response: Any) -> str:
    return str(response["choices"][0]["text"])


def test_a_call_as_for_llama_cpp_python_works(smollm2_path: Path) -> None:
    # every argument of its constructor that has a meaning here, at its default there
    with Llama(
        model_path=str(smollm2_path),
        n_gpu_layers=0,
        split_mode=1,
        main_gpu=0,
        tensor_split=None,
        vocab_only=False,
        use_mmap=True,
        use_mlock=False,
        kv_overrides=None,
        seed=0xFFFFFFFF,
        n_ctx=512,
        n_batch=512,
        n_ubatch=512,
        n_threads=None,
        n_threads_batch=None,
        rope_scaling_type=-1,
        pooling_type=-1,
        attention_type=-1,
        rope_freq_base=0.0,
        rope_freq_scale=0.0,
        yarn_ext_factor=-1.0,
        yarn_attn_factor=1.0,
        yarn_beta_fast=32.0,
        yarn_beta_slow=1.0,
        yarn_orig_ctx=0,
        logits_all=False,
        embedding=False,
        offload_kqv=True,
        flash_attn=False,
        op_offload=None,
        swa_full=None,
        no_perf=False,
        last_n_tokens_size=64,
        lora_base=None,
        lora_scale=1.0,
        lora_path=None,
        numa=False,
        chat_format=None,
        chat_handler=None,
        draft_model=None,
        tokenizer=None,
        type_k=None,
        type_v=None,
        spm_infill=False,
        verbose=False,
    ) as llm:
        assert llm.n_ctx() == 512
        assert text(llm(CAPITAL, max_tokens=1, temperature=0)) == " Paris"


@pytest.mark.parametrize(
    ("given", "error", "parameter", "says"),
    [
        ({"lora_base": "x.gguf"}, UnsupportedCapabilityError, "lora_base", "lora_path"),
        ({"tokenizer": object()}, UnsupportedCapabilityError, "tokenizer", "token ids"),
        ({"attention_type": 1}, UnsupportedCapabilityError, "attention_type", "kv_overrides"),
        (
            {"draft_model": lambda ids: ids},
            UnsupportedCapabilityError,
            "draft_model",
            "LlamaPromptLookupDecoding",
        ),
        ({"chat_handler": "chatml"}, InvalidParameterError, "chat_handler", "function"),
        ({"chat_format": 5}, InvalidParameterError, "chat_format", "name"),
        (
            {"chat_format": "chatml", "chat_template": "{{ 1 }}"},
            InvalidParameterError,
            "chat_template",
            "one of",
        ),
        ({"chat_template": "no template"}, InvalidParameterError, "chat_template", "chat_format"),
        ({"chat_template": 5}, InvalidParameterError, "chat_template", "path"),
        ({"vocab_only": 1}, InvalidParameterError, "vocab_only", "True or False"),
        ({"no_perf": "yes"}, InvalidParameterError, "no_perf", "True or False"),
        ({"last_n_tokens_size": -1}, InvalidParameterError, "last_n_tokens_size", "at least 0"),
        ({"numa": 4}, InvalidParameterError, "numa", "one of"),
        ({"lora": ["a.gguf"], "lora_path": "b.gguf"}, InvalidParameterError, "lora_path", "not both"),
        ({"n_contxt": 5}, InvalidParameterError, "n_contxt", "n_ctx"),
        ({"lora_pth": "a.gguf"}, InvalidParameterError, "lora_pth", "lora_path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_says_what_to_use(
    smollm2_path: Path, given: dict[str, Any], error: type[Exception], parameter: str, says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        Llama(smollm2_path, **given)
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def test_missing_files_are_named(smollm2_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="draft_model"):
        Llama(smollm2_path, draft_model="nowhere.gguf")
    with pytest.raises(ModelNotFoundError, match="lora"):
        Llama(smollm2_path, lora_path="nowhere.gguf")
    with pytest.raises(ModelNotFoundError):
        Llama(model_path="nowhere.gguf")
    with pytest.raises(InvalidParameterError, match="one model"):
        Llama()


@pytest.mark.parametrize(("given", "expected"), [(0, False), (1, "distribute"), (2, "isolate"), (True, True)])
def test_numa_takes_ggmls_numbers(given: Any, expected: Any) -> None:
    _, options = read_settings({"numa": given})
    assert make_load_options(options).numa == expected


def test_random_seeds_of_llama_cpp_python_mean_none() -> None:
    for seed in (-1, 0xFFFFFFFF):
        assert make_load_options(read_settings({"seed": seed})[1]).seed is None
    assert make_load_options(read_settings({"seed": 5})[1]).seed == 5


def test_attributes(llm: Llama, smollm2_path: Path) -> None:
    assert llm.model_path == str(smollm2_path)
    assert llm.n_ctx() == 2048
    assert llm.n_vocab() == 49152
    assert llm.n_embd() == 576
    assert (llm.token_bos(), llm.token_eos(), llm.token_nl()) == (1, 2, 198)
    assert llm.metadata["general.architecture"] == "llama"
    assert llm.n_batch == 512
    assert llm.n_threads >= 1
    assert llm.n_threads_batch >= 1
    assert llm.verbose is False
    assert llm.chat_format == "chat_template.default"
    assert llm.chat_handler is None
    assert isinstance(llm.pooling_type(), str)


def test_tokenizer(llm: Llama) -> None:
    tokenizer = llm.tokenizer()
    ids = tokenizer.encode("Hello <|im_end|>")
    assert ids == llm.tokenize(b"Hello <|im_end|>", special=True)
    assert tokenizer.decode(ids) == "Hello "
    assert tokenizer.tokenize(b"Hello") == llm.tokenize(b"Hello")
    assert tokenizer.detokenize(ids, special=True) == b"Hello <|im_end|>"


def test_detokenize_adds_up(llm: Llama) -> None:
    data = "Größe: 漢字 😀, two  spaces\n".encode()
    ids = llm.tokenize(data, add_bos=False)
    assert llm.detokenize(ids) == data
    assert b"".join(llm.detokenize([token]) for token in ids) == data
    assert llm.detokenize(ids[2:], ids[:2]) == llm.detokenize(ids[2:], prev_tokens=ids[:2])
    assert llm.detokenize([1, *ids]) == data
    assert llm.detokenize([1], special=True) == b"<|im_start|>"


def test_set_seed(smollm2_path: Path) -> None:
    settings: dict[str, Any] = {"max_tokens": 8, "temperature": 1.5}
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as llm:
        llm.set_seed(7)
        assert (
            text(llm("My", **settings)) == text(llm("My", **settings)) == text(llm("My", seed=7, **settings))
        )
        messages = [{"role": "user", "content": "Tell me a story."}]
        first = llm.create_chat_completion(messages, **settings)["choices"]
        assert llm.create_chat_completion(messages, **settings)["choices"] == first
        llm.set_seed(-1)
        assert len({text(llm("My", **settings)) for _ in range(5)}) > 1
        with pytest.raises(InvalidParameterError, match="seed"):
            llm.set_seed("x")  # type: ignore[arg-type]


def test_seed_of_the_constructor(smollm2_path: Path) -> None:
    settings: dict[str, Any] = {"max_tokens": 8, "temperature": 1.5}
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, seed=7) as llm:
        assert text(llm("My", **settings)) == text(llm("My", seed=7, **settings))


def test_last_n_tokens_size(smollm2_path: Path) -> None:
    prompt = "x x x x x x x x x x x x"
    settings: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "repeat_penalty": 2.0}
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, last_n_tokens_size=0) as llm:
        assert text(llm(prompt, **settings)) == text(llm(prompt, max_tokens=12, temperature=0))
        assert text(llm(prompt, **settings, repeat_last_n=64)) != text(llm(prompt, **settings))


def test_vocab_only(smollm2_path: Path, llm: Llama) -> None:
    with Llama(smollm2_path, vocab_only=True) as vocab:
        assert vocab.tokenize(b"Hello world") == llm.tokenize(b"Hello world")
        assert vocab.detokenize(vocab.tokenize(b"Hello world")) == b"Hello world"
        assert vocab.count_tokens("Hello world") == 2
        assert (vocab.n_vocab(), vocab.token_eos(), vocab.n_embd()) == (49152, 2, 576)
        assert vocab.metadata["general.architecture"] == "llama"
        assert vocab.info.eos_token == "<|im_end|>"
        calls: list[Any] = [
            lambda: vocab("Hi"),
            lambda: vocab.create_chat_completion([{"role": "user", "content": "Hi"}]),
            lambda: vocab.embed("Hi"),
            lambda: vocab.apply_chat_template([{"role": "user", "content": "Hi"}]),
            lambda: vocab.eval([1]),
        ]
        for call in calls:
            with pytest.raises(UnsupportedCapabilityError, match="vocab_only"):
                call()


def test_prompt_lookup_decoding_changes_speed_only(smollm2_path: Path, llm: Llama) -> None:
    prompt = "a b c d e f g a b c d e f g a b c d e f g a b"
    plain = llm(prompt, max_tokens=24, temperature=0)
    draft = LlamaPromptLookupDecoding(max_ngram_size=2, num_pred_tokens=6)
    with Llama(smollm2_path, n_ctx=512, n_parallel=1, draft_model=draft) as quick:
        response = quick(prompt, max_tokens=24, temperature=0)
        assert text(response) == text(plain)
        assert response["timings"]["draft_n"] > 0
    assert "draft_n" not in plain["timings"]


def test_a_draft_model_changes_speed_only(smollm2_path: Path, llm: Llama) -> None:
    plain = llm(CAPITAL, max_tokens=12, temperature=0)
    with Llama(smollm2_path, n_ctx=512, n_parallel=1, draft_model=smollm2_path) as quick:
        response = quick(CAPITAL, max_tokens=12, temperature=0)
        assert text(response) == text(plain)
        assert response["timings"]["draft_n_accepted"] > 0


def test_set_cache(llm: Llama) -> None:
    cache = LlamaCache(capacity_bytes=1 << 20)
    llm.set_cache(cache)
    assert isinstance(llm.cache, LlamaRAMCache)
    assert text(llm(CAPITAL, max_tokens=1, temperature=0)) == " Paris"
    llm.set_cache(None)
    assert llm.cache is None
    with pytest.raises(UnsupportedCapabilityError, match="cache_ram_mib"):
        llm.set_cache({})


def test_pickling_says_what_to_do(llm: Llama) -> None:
    with pytest.raises(TypeError, match="load it again"):
        pickle.dumps(llm)


def test_verbose_shows_llama_cpps_log(smollm2_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    logger = logging.getLogger("llamacpp_core")
    before = list(logger.handlers), logger.level
    try:
        with Llama(smollm2_path, vocab_only=True, verbose=True) as llm:
            assert llm.verbose is True
            assert any(getattr(handler, "llamacpp_verbose", False) for handler in logger.handlers)
    finally:
        logger.handlers, level = before
        logger.setLevel(level)
    assert capfd.readouterr().out == ""
