"""The escape hatch to llama-server's other options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, LoadOptions, ModelNotFoundError
from llamacpp_core.engine.load.server_options import server_flags, server_option_names

SMALL: dict[str, Any] = {"n_ctx": 256, "n_parallel": 1, "warmup": False}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, []),
        ({"context-shift": True}, [["--context-shift"]]),
        ({"context_shift": False}, [["--no-context-shift"]]),
        ({"--no-context-shift": True}, [["--no-context-shift"]]),
        ({"cache-reuse": 64}, [["--cache-reuse", "64"]]),
        ({"slot-prompt-similarity": 0.5}, [["--slot-prompt-similarity", "0.5"]]),
        ({"control-vector-layer-range": (1, 5)}, [["--control-vector-layer-range", "1", "5"]]),
        ({"spec-type": "ngram-simple"}, [["--spec-type", "ngram-simple"]]),
        ({"spec-type": ["ngram-simple", "ngram-mod"]}, [["--spec-type", "ngram-simple,ngram-mod"]]),
    ],
)
def test_flags(options: dict[str, Any], flags: list[list[str]]) -> None:
    assert server_flags(options) == flags


def test_options_take_effect(smollm2_path: Path) -> None:
    options = {"ctx-checkpoints": 3, "cache-reuse": 16, "spec-type": "ngram-simple", "no-cont-batching": True}
    with Llama(smollm2_path, **SMALL, server_options=options) as llama:
        text = "one two three four one two three four one two three four one two"
        answer = llama(text, max_tokens=8, temperature=0)["choices"][0]["text"]
        assert answer.startswith(" three four one two")


REFUSED = [
    "help",
    "h",
    "usage",
    "version",
    "license",
    "cache-list",
    "list-devices",
    "completion-bash",
    "hf-repo",
    "hf-file",
    "hf-token",
    "hf-repo-draft",
    "model",
    "m",
    "model-url",
    "docker-repo",
    "offline",
    "port",
    "host",
    "api-key",
    "api-key-file",
    "ssl-key-file",
    "ssl-cert-file",
    "path",
    "threads-http",
    "timeout",
    "metrics",
    "slots",
    "props",
    "slot-save-path",
    "media-path",
    "log-file",
    "log-disable",
    "log-verbosity",
    "verbose",
    "ui",
    "tools",
    "alias",
    "ctx-size",
    "parallel",
    "batch-size",
    "ubatch-size",
    "threads",
    "gpu-layers",
    "n-gpu-layers",
    "embedding",
    "embeddings",
    "pooling",
    "seed",
    "override-kv",
    "flash-attn",
    "cache-type-k",
    "lora",
    "mmproj",
    "chat-template",
    "jinja",
    "warmup",
    "numa",
    "temp",
    "top-k",
    "predict",
    "samplers",
    "rerank",
    "sleep-idle-seconds",
    "rpc",
]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        LoadOptions(server_options={name: "1"})
    assert name in str(caught.value)


def test_presets_that_download_are_not_offered() -> None:
    assert not [
        name
        for name in server_option_names()
        if "fim" in name or (name.endswith("-default") and name != "spec-default")
    ]


@pytest.mark.parametrize(
    "name", ["fim-qwen-1.5b-default", "fim-qwen-7b-default", "embd-gemma-default", "gpt-oss-20b-default"]
)
def test_presets_that_download_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError):
        LoadOptions(server_options={name: True})


def test_unknown_suggests_the_nearest() -> None:
    with pytest.raises(InvalidParameterError, match="did you mean 'cache-reuse'"):
        LoadOptions(server_options={"cache-reus": 5})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context-shift", "yes"),
        ("context-shift", 1),
        ("spec-default", False),
        ("cache-reuse", None),
        ("cache-reuse", True),
        ("cache-reuse", {"a": 1}),
        ("cache-reuse", [None]),
        ("spec-type", "a\0b"),
    ],
)
def test_values_of_the_wrong_kind(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        LoadOptions(server_options={name: value})
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cache-reuse", "many"),
        ("cache-reuse", "1.5"),
        ("prio", 99),
        ("device", "no-such-gpu"),
        ("spec-type", "nonsense"),
        ("reasoning-format", "nonsense"),
        ("override-tensor", "x"),
        ("cpu-mask", "zz"),
        ("chat-template-kwargs", "{"),
        ("control-vector-layer-range", "5"),
        ("n-cpu-moe", 99_999),
    ],
)
def test_what_llama_cpp_refuses_is_a_parameter_error(smollm2_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError):
        Llama(smollm2_path, **SMALL, server_options={name: value})


@pytest.mark.parametrize(
    "name", ["spec-draft-model", "control-vector", "lookup-cache-static", "chat-template-file"]
)
def test_files_that_are_not_there(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="/no/such"):
        LoadOptions(server_options={name: "/no/such"})


def test_names_are_sorted_and_usable() -> None:
    names = server_option_names()
    assert names == sorted(set(names))
    assert len(names) > 80
    assert {"context-shift", "cache-reuse", "spec-draft-model", "reasoning-format"} <= set(names)
    assert not set(REFUSED) & set(names)


def test_speculation_with_a_draft_model_gives_the_same_text(smollm2_path: Path) -> None:
    prompt = "1, 2, 3, 4, 5, 6,"
    options = {"spec-draft-model": str(smollm2_path), "spec-type": "draft-simple"}
    with (
        Llama(smollm2_path, **SMALL) as plain,
        Llama(smollm2_path, **SMALL, server_options=options) as drafted,
    ):
        expected = plain(prompt, max_tokens=12, temperature=0)["choices"][0]["text"]
        response = drafted(prompt, max_tokens=12, temperature=0)
    assert response["choices"][0]["text"] == expected
    assert response["timings"].get("draft_n", 0) > 0
