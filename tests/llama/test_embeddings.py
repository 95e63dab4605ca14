"""Embeddings: the vectors are those of the checkpoint, whatever the text, its length and its company."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arithmetic import PACKED_BYTES

from llamacpp_core import ContextOverflowError, InvalidParameterError, Llama, UnsupportedCapabilityError
from llamacpp_core.engine.load import loading
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.models import WordPieceTokenizer, read_gguf_header, resolve_model

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "New York",
    "new york",
    "NEW YORK",
    "naïve café résumé",
    "Straße",
    "Füße über Ärger",
    "don't stop",
    "e-mail: a.b@c.de",
    "https://example.org/a?b=c#d",
    "3.14159 and 2,718",
    "C++ & C# > Java",
    "x = y ** 2; // comment",
    "[MASK]",
    "The [MASK] sat on the [SEP] mat.",
    "[CLS] [PAD] [UNK]",
    "한국어 문장입니다",
    "서울은 대한민국의 수도이다",
    "日本語のテキスト",
    "漢字 mixed with English",
    "中文句子。",
    "हिन्दी में एक वाक्य",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "שלום עולם",
    "مرحبا بالعالم",
    "Привет, мир",
    "Γειά Κόσμε",
    "😀",
    "good 👍🏽 job 🎉🎉",
    "👨‍👩‍👧‍👦 family",
    "a" * 120,
    "supercalifragilisticexpialidocious" * 4,
    "tab\tand\nnewline\r\nhere",
    "a\u00a0b\u2003c\u200bd",
    "\u0301combining first",
    "ﬁne ﬂight ½ ①",
    "— “quoted” … \u2018text\u2019",
    "word " * 80,
    "Berlin is the capital of Germany. " * 12,
    "0",
    "...",
    "!?!?",
    "\u2028line\u2029para",
    "ⅣⅤ Ⅻ",
    "ª º ² ³",
]


def load_reference() -> Any:
    spec = importlib.util.spec_from_file_location(
        "bert_reference", Path(__file__).with_name("bert_reference.py")
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def f32_path() -> Path:
    return resolve_model("all-minilm-l6-v2", dtype="f32", progress=False).path


@pytest.fixture(scope="module")
def reference(f32_path: Path) -> dict[str, Any]:
    """The vector of every text, from numpy."""
    bert = load_reference().BertReference(f32_path)
    tokenizer = WordPieceTokenizer.from_gguf(f32_path)
    return {text: bert.mean(tokenizer.encode(text, max_tokens=512)) for text in TEXTS}


@pytest.fixture(scope="module", params=["f32", "f16", "bf16"])
def encoder(request: pytest.FixtureRequest) -> Iterator[tuple[str, Llama]]:
    path = resolve_model("all-minilm-l6-v2", dtype=request.param, progress=False).path
    with Llama(path) as loaded:
        yield request.param, loaded


def test_vectors_are_those_of_the_checkpoint(encoder: tuple[str, Llama], reference: dict[str, Any]) -> None:
    dtype, llama = encoder
    vectors = llama.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    cosines = {text: float(vector @ reference[text]) for text, vector in zip(TEXTS, vectors, strict=True)}
    worst = min(cosines, key=lambda text: cosines[text])
    assert cosines[worst] >= (0.999 if dtype == "bf16" else 0.9999), (worst, cosines[worst])


def test_the_default_promises_four_nines_alone_and_in_company(
    embedder: Llama, reference: dict[str, Any]
) -> None:
    together = embedder.embed(TEXTS * 3)  # micro-batches of another make-up
    for i, text in enumerate(TEXTS):
        for vector in (embedder.embed(text), together[i], together[len(TEXTS) + i]):
            assert float(vector @ reference[text]) >= 0.9999, text


def test_fast_promises_three_nines(f32_path: Path, reference: dict[str, Any]) -> None:
    with Llama("all-minilm-l6-v2", precision="fast") as fast, Llama(f32_path, precision="fast") as of_f32:
        for llama in (fast, of_f32):
            assert llama.info.precision == ("fast" if PACKED_BYTES else "default")
            cosines = [float(v @ reference[t]) for t, v in zip(TEXTS, llama.embed(TEXTS), strict=True)]
            assert min(cosines) >= 0.999
            assert (min(cosines) < 0.9999) is PACKED_BYTES  # it is computed otherwise


def test_fast_without_effect_says_why(smollm2_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "llamacpp_core"):
        with Llama(smollm2_path, precision="fast", n_ctx=256, n_parallel=1) as llama:
            assert llama.info.precision == "default"
        assert "precision='fast' has no effect: it is for encoders" in caplog.text
        caplog.clear()
        with Llama(resolve_model("all-minilm-l6-v2", dtype="q8_0").path, precision="fast") as llama:
            assert llama.info.precision == "default"
        assert "these are in q8_0" in caplog.text.lower()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"changes": ["amx"]}, "our changes"),
        ({"system_info": "CPU : AVX512_VNNI = 1 | AMX_INT8 = 1 | "}, "has AMX"),
        ({"system_info": "CPU : AVX2 = 1 | "}, "AVX-512 VNNI"),
    ],
)
def test_fast_without_effect_says_the_reason_that_holds(
    facts: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {"changes": ["amx", "encoders"], "system_info": "CPU : AVX512_VNNI = 1 | "} | facts
    monkeypatch.setattr(loading, "build_info", lambda: every)
    header = read_gguf_header(resolve_model("all-minilm-l6-v2").path)
    assert reason in loading._why_not_fast(header, True, LoadOptions(n_gpu_layers=0))


def test_single_texts_have_the_same_vectors(encoder: tuple[str, Llama], reference: dict[str, Any]) -> None:
    _, llama = encoder
    for text in TEXTS[::6]:
        assert float(llama.embed(text) @ reference[text]) > 0.999, text


def test_known_similarities(embedder: Llama) -> None:
    cat, kitten, car = embedder.embed(["A cat sleeps.", "A kitten is sleeping.", "The car needs new tyres."])
    assert cat @ kitten > 0.7
    assert cat @ car < 0.3


def test_order_is_kept_over_many_texts(embedder: Llama) -> None:
    texts = [f"{'word ' * (i % 17)}number {i}" for i in range(500)]
    vectors = embedder.embed(texts)
    for i in range(0, 500, 41):
        assert float(vectors[i] @ embedder.embed(texts[i])) > 0.998
    assert len({vector.tobytes() for vector in vectors}) > 490


def test_a_stream_gives_the_vectors_in_order_and_reads_a_bounded_number_ahead(embedder: Llama) -> None:
    texts = [f"{'word ' * (i % 7)}number {i}" for i in range(1100)]
    n_read = 0

    def source() -> Iterator[str]:
        nonlocal n_read
        for text in texts:
            n_read += 1
            yield text

    n = 0
    for vector in embedder.embed_stream(source()):
        assert n_read - n <= 512 + 256
        if n % 97 == 0:
            assert float(vector @ embedder.embed(texts[n])) > 0.999
        n += 1
    assert n == n_read == 1100


def test_arrays_of_iterators_and_lists_are_the_same(embedder: Llama) -> None:
    texts = [f"number {i}" for i in range(300)]
    found = embedder.embed(text for text in texts)
    assert found.shape == (300, 384)
    assert np.all((found * embedder.embed(texts)).sum(1) > 0.999)
    assert embedder.embed(iter([])).shape == (0, 384)
    assert list(embedder.embed_stream([])) == []


def test_a_closed_stream_leaves_nothing_running(embedder: Llama) -> None:
    stream = embedder.embed_stream(f"number {i}" for i in range(5000))
    next(stream)
    stream.close()
    assert embedder.embed("still there").shape == (384,)
    assert embedder._engine.n_active == 0


def test_a_stream_names_the_text_that_is_too_long(embedder: Llama) -> None:
    texts = ["fine"] * 300 + [LONG]
    with pytest.raises(ContextOverflowError) as caught:
        list(embedder.embed_stream(texts))
    assert caught.value.parameter == "input[300]"
    with pytest.raises(InvalidParameterError) as refused:
        embedder.embed_stream("one text")
    assert refused.value.parameter == "input"
    with pytest.raises(InvalidParameterError):
        embedder.embed_stream(["a"], overflow="cut")  # at once, not when it is read


async def test_coroutines_stream_from_any_iterator(embedder: Llama) -> None:
    async def source() -> AsyncIterator[str]:
        for i in range(300):
            yield f"number {i}"

    expected = embedder.embed([f"number {i}" for i in range(300)])
    streamed = [vector async for vector in embedder.aembed_stream(source())]
    assert np.all((np.stack(streamed) * expected).sum(1) > 0.999)
    assert np.all((await embedder.aembed(source()) * expected).sum(1) > 0.999)


def test_shapes(embedder: Llama) -> None:
    assert embedder.embed("one").shape == (384,)
    assert embedder.embed(["one"]).shape == (1, 384)
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.embed(("a", "b")).shape == (2, 384)
    vectors = embedder.embed(["a", "b"])
    vectors += 1  # the caller's own memory


def test_length_one_unless_told_otherwise(embedder: Llama) -> None:
    assert np.allclose(np.linalg.norm(embedder.embed(["a", "some longer text"]), axis=1), 1, atol=1e-5)
    raw = embedder.embed(["a", "some longer text"], normalize=False)
    assert np.all(np.linalg.norm(raw, axis=1) > 1.5)
    cosines = (
        raw / np.linalg.norm(raw, axis=1, keepdims=True) * embedder.embed(["a", "some longer text"])
    ).sum(1)
    assert np.all(cosines > 0.999)


def test_token_ids_as_input(embedder: Llama) -> None:
    ids = WordPieceTokenizer.from_gguf(Path(embedder.info.path)).encode("Hello world")
    assert float(embedder.embed([ids])[0] @ embedder.embed("Hello world")) > 0.999


def test_openai_shape(embedder: Llama) -> None:
    response = embedder.create_embedding(["Hello", "world"], model="mine")
    assert response["object"] == "list"
    assert response["model"] == "mine"
    assert [item["index"] for item in response["data"]] == [0, 1]
    assert {item["object"] for item in response["data"]} == {"embedding"}
    assert all(isinstance(x, float) and math.isfinite(x) for x in response["data"][0]["embedding"])
    assert response["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert len(embedder.create_embedding("Hello")["data"]) == 1


async def test_async_twins(embedder: Llama) -> None:
    expected = embedder.embed(["Hello", "world"])
    assert np.all((await embedder.aembed(["Hello", "world"]) * expected).sum(1) > 0.999)
    assert (await embedder.aembed("Hello")).shape == (384,)
    response = await embedder.acreate_embedding(["Hello", "world"])
    assert len(response["data"]) == 2
    assert float(np.dot(response["data"][1]["embedding"], expected[1])) > 0.999


LONG = " ".join(f"sentence number {i} says something." for i in range(150))


def test_a_text_that_is_too_long_is_named(embedder: Llama) -> None:
    with pytest.raises(ContextOverflowError) as caught:
        embedder.embed(["fine", LONG, "fine"])
    assert caught.value.parameter == "input[1]"
    assert caught.value.n_ctx == 512
    assert caught.value.n_prompt_tokens > 512
    assert "overflow" in str(caught.value)


def test_truncation_keeps_the_beginning_and_the_closing_token(embedder: Llama) -> None:
    tokenizer = WordPieceTokenizer.from_gguf(Path(embedder.info.path))
    ids = tokenizer.encode(LONG, max_tokens=512)
    assert ids[-1] == tokenizer.sep_id
    cut = embedder.embed([LONG], overflow="truncate")[0]
    assert float(cut @ embedder.embed([ids])[0]) > 0.999
    short = embedder.embed([LONG], overflow="truncate", max_tokens=64)[0]
    assert float(short @ embedder.embed([tokenizer.encode(LONG, max_tokens=64)])[0]) > 0.999


def test_chunks_are_averaged(embedder: Llama) -> None:
    tokenizer = WordPieceTokenizer.from_gguf(Path(embedder.info.path))
    body = tokenizer.encode(LONG, add_special_tokens=False)
    pieces = [[tokenizer.cls_id, *body[i : i + 510], tokenizer.sep_id] for i in range(0, len(body), 510)]
    vectors = embedder.embed(pieces)
    expected = np.average(vectors, axis=0, weights=[len(piece) for piece in pieces])
    expected /= np.linalg.norm(expected)
    found = embedder.embed(["before", LONG, "after"], overflow="chunk")
    assert float(found[1] @ expected) > 0.998
    assert float(found[2] @ embedder.embed("after")) > 0.999
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "settings", "parameter"),
    [
        (None, {}, "input"),
        (5, {}, "input"),
        ({"a": 1}, {}, "input"),
        (b"bytes", {}, "input"),
        (["ok", 5], {}, "input[1]"),
        (["ok", None], {}, "input[1]"),
        (["\ud800"], {}, "input[0]"),
        (["ok", "\udfff"], {}, "input[1]"),
        ([[1, -5]], {}, "input[0][1]"),
        ([[10**6]], {}, "input[0][0]"),
        (["ok"], {"overflow": "wrap"}, "overflow"),
        (["ok"], {"overflow": None}, "overflow"),
        (["ok"], {"max_tokens": 0}, "max_tokens"),
        (["ok"], {"max_tokens": "5"}, "max_tokens"),
        (["ok"], {"normalize": "yes"}, "normalize"),
        (["ok"], {"clean": "yes"}, "clean"),
    ],
)
def test_bad_input_is_named(embedder: Llama, texts: Any, settings: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        embedder.embed(texts, **settings)
    assert caught.value.parameter == parameter
    with pytest.raises(InvalidParameterError):
        embedder.create_embedding(texts, **settings)


async def test_bad_input_of_the_async_twins(embedder: Llama) -> None:
    for texts in (None, 5, ["ok", None]):
        with pytest.raises(InvalidParameterError):
            await embedder.aembed(texts)  # type: ignore[arg-type]
        with pytest.raises(InvalidParameterError):
            await embedder.acreate_embedding(texts)  # type: ignore[arg-type]


def test_an_unknown_parameter_is_refused(embedder: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="did you mean 'normalize'"):
        embedder.create_embedding("x", normalise=True)


def test_a_chat_model_embeds_only_when_asked_to(llm: Llama, smollm2_path: Path) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="embedding=True"):
        llm.embed("x")
    with Llama(smollm2_path, n_ctx=256, n_parallel=2, embedding=True, warmup=False) as both:
        assert both.embed(["a b c d", "e"]).shape == (2, 576)
        assert "Paris" in both("The capital of France is", max_tokens=2, temperature=0)["choices"][0]["text"]
