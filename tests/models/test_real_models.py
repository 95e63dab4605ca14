"""The two models of the catalog that travel in packages, as they really are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llamacpp_core.models import (
    WordPieceTokenizer,
    info,
    kv_cache_bytes,
    load_catalog,
    preferred_dtype,
    read_gguf_header,
    resolve_model,
)

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return resolve_model("smollm2-135m-instruct", progress=False).path


def test_smollm2(smollm2: Path) -> None:
    model = resolve_model("SmolLM2-135M-Instruct", local_files_only=True, verify=True)
    entry = load_catalog()["smollm2-135m-instruct"]

    assert model.path == smollm2
    assert (model.license, model.embedding, model.rerank) == ("Apache-2.0", False, False)
    assert smollm2.stat().st_size == entry.size
    header = model.header
    assert (header.architecture, header.file_type, header.size_label) == ("llama", "Q4_1", "135M")
    assert (header.n_params, header.tensor_count, header.vocab_size) == (134_515_008, 272, 49_152)
    assert (header.context_length, header.head_count, header.head_count_kv) == (8192, 9, 3)
    assert header.chat_template is not None
    # 30 layers, 3 key-value heads of 64 elements: the size llama.cpp reports for this model
    assert kv_cache_bytes(header, 8192) == 180 << 20


def test_reading_its_header_is_fast(smollm2: Path) -> None:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        read_gguf_header(smollm2)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.04


def test_minilm() -> None:
    model = resolve_model("all-minilm-l6-v2", progress=False)
    header = model.header

    assert model.path.name == f"all-minilm-l6-v2-{preferred_dtype()}.gguf"
    assert (model.embedding, model.max_tokens, model.query_prefix, model.document_prefix) == (
        True,
        256,
        "",
        "",
    )
    assert (header.tensor_count, header.n_params, header.vocab_size) == (101, 22_565_376, 30_522)
    assert (header.pooling_type, header.embedding_size, header.context_length) == ("mean", 384, 512)
    assert header.file_type == preferred_dtype().upper()
    assert kv_cache_bytes(header, 512) == 0
    tokenizer = WordPieceTokenizer.from_gguf(header)
    assert tokenizer.encode("Hello, world!") == [101, 7592, 1010, 2088, 999, 102]
    assert info("all-minilm-l6-v2").kind == "embedding"
