from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

from llamacpp_core.errors import InvalidParameterError, MissingDependencyError, ModelLoadError
from llamacpp_core.models import GGUFArray, read_gguf_header
from llamacpp_core.models.bert.convert import convert_bert
from llamacpp_core.models.bert.safetensors_file import as_float32, read_safetensors
from llamacpp_core.models.cpu import has_bf16_flag, preferred_dtype

WIDTH, FORWARD, LAYERS, POSITIONS = 32, 64, 2, 16
VOCABULARY = [
    "[PAD]",
    "[unused0]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "##a",
    "b",
    "\u2028",
    "##\u00e9",
]


def bert_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (WIDTH, WIDTH)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (WIDTH,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (WIDTH,)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (WIDTH,)
        shapes[f"encoder.layer.{layer}.intermediate.dense.weight"] = (FORWARD, WIDTH)
        shapes[f"encoder.layer.{layer}.intermediate.dense.bias"] = (FORWARD,)
        shapes[f"encoder.layer.{layer}.output.dense.weight"] = (WIDTH, FORWARD)
        shapes[f"encoder.layer.{layer}.output.dense.bias"] = (WIDTH,)
    numbers = np.random.default_rng(seed)
    return {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    (folder / "1_Pooling").mkdir(parents=True)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "intermediate_size": FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "strip_accents": None})
    write_json(
        folder / "1_Pooling" / "config.json",
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    )
    write_json(folder / "modules.json", [{"type": "sentence_transformers.models.Transformer"}])
    (folder / "vocab.txt").write_bytes("\n".join(VOCABULARY).encode() + b"\n")
    save_file(bert_tensors(), folder / "model.safetensors")
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def edit(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def test_progress_goes_up_to_the_whole(checkpoint: Path, tmp_path: Path) -> None:
    parts: list[float] = []
    convert_bert(checkpoint, tmp_path / "m.gguf", dtype="f16", on_progress=parts.append)
    assert parts == sorted(set(parts))
    assert parts[-1] == 1


def test_metadata_and_vocabulary(checkpoint: Path, tmp_path: Path) -> None:
    path = convert_bert(checkpoint, tmp_path / "m.gguf", dtype="f16", name="tiny bert")
    header = read_gguf_header(path)

    assert (header.architecture, header.name, header.file_type) == ("bert", "tiny bert", "F16")
    assert (header.block_count, header.context_length, header.embedding_length, header.head_count) == (
        2,
        16,
        32,
        4,
    )
    assert (header.pooling_type, header.causal, header.is_embedding) == ("mean", False, True)
    metadata = {
        key: value.values() if isinstance(value, GGUFArray) else value
        for key, value in header.metadata.items()
    }
    tokens = ["[PAD]", "\u2581[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2581a", "a", "\u2581b"]
    assert metadata["tokenizer.ggml.tokens"] == [*tokens, "\u2581\u2028", "\u00e9"]
    assert metadata["tokenizer.ggml.token_type"] == [3, 1, 3, 3, 3, 3, 1, 1, 1, 1, 1]
    ids = {"bos": 3, "cls": 3, "eos": 4, "seperator": 4, "unknown": 2, "padding": 0, "mask": 5}
    assert {role: metadata[f"tokenizer.ggml.{role}_token_id"] for role in ids} == ids
    for key in (
        "add_bos_token",
        "add_eos_token",
        "add_sep_token",
        "normalizer.lowercase",
        "normalizer.strip_accents",
    ):
        assert metadata[f"tokenizer.ggml.{key}"] is True


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 0), ("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 4e-2)])
def test_weights(checkpoint: Path, tmp_path: Path, dtype: str, tolerance: float) -> None:
    path = convert_bert(checkpoint, tmp_path / "m.gguf", dtype=dtype)
    reader = gguf.GGUFReader(path)
    written = {tensor.name: tensor for tensor in reader.tensors}
    source = bert_tensors()

    assert list(written) == sorted(written)
    assert len(written) == 5 + 16 * LAYERS
    pairs = {
        "token_embd.weight": "embeddings.word_embeddings.weight",
        "blk.1.attn_k.weight": "encoder.layer.1.attention.self.key.weight",
        "blk.0.attn_output.weight": "encoder.layer.0.attention.output.dense.weight",
        "blk.1.ffn_up.weight": "encoder.layer.1.intermediate.dense.weight",
        "blk.0.ffn_down.weight": "encoder.layer.0.output.dense.weight",
    }
    for name, origin in pairs.items():
        tensor = written[name]
        assert tensor.tensor_type.name == dtype.upper()
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(source[origin].shape)
        np.testing.assert_allclose(values, source[origin], atol=tolerance, rtol=tolerance)
    exact = {
        "position_embd.weight": "embeddings.position_embeddings.weight",
        "token_types.weight": "embeddings.token_type_embeddings.weight",
        "token_embd_norm.bias": "embeddings.LayerNorm.bias",
        "blk.0.attn_output_norm.weight": "encoder.layer.0.attention.output.LayerNorm.weight",
        "blk.1.layer_output_norm.bias": "encoder.layer.1.output.LayerNorm.bias",
        "blk.1.attn_q.bias": "encoder.layer.1.attention.self.query.bias",
    }
    for name, origin in exact.items():
        assert written[name].tensor_type.name == "F32"
        np.testing.assert_array_equal(written[name].data.reshape(source[origin].shape), source[origin])


def test_the_same_bytes_every_time(checkpoint: Path, tmp_path: Path) -> None:
    first = convert_bert(checkpoint, tmp_path / "a.gguf", dtype="bf16", name="n").read_bytes()
    assert convert_bert(checkpoint, tmp_path / "b.gguf", dtype="bf16", name="n").read_bytes() == first


def test_the_prefix_of_a_checkpoint_with_heads(checkpoint: Path, tmp_path: Path) -> None:
    plain = convert_bert(checkpoint, tmp_path / "a.gguf", dtype="f16", name="n").read_bytes()
    tensors = {f"bert.{name}": values for name, values in bert_tensors().items()}
    tensors["cls.predictions.bias"] = np.zeros(4, np.float32)
    save_file(tensors, checkpoint / "model.safetensors")
    assert convert_bert(checkpoint, tmp_path / "b.gguf", dtype="f16", name="n").read_bytes() == plain


def add_tensor(folder: Path) -> None:
    save_file(bert_tensors() | {"extra.weight": np.zeros(3, np.float32)}, folder / "model.safetensors")


def lose_tensor(folder: Path) -> None:
    tensors = bert_tensors()
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / "model.safetensors")


def integer_tensor(folder: Path) -> None:
    tensors = bert_tensors()
    tensors["embeddings.LayerNorm.bias"] = np.zeros(WIDTH, np.int64)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: edit(f / "config.json", model_type="roberta"), "model_type = 'roberta'"),
        (lambda f: edit(f / "config.json", hidden_act="relu"), "hidden_act = 'relu'"),
        (
            lambda f: edit(f / "config.json", position_embedding_type="relative_key"),
            "position_embedding_type",
        ),
        (lambda f: edit(f / "config.json", is_decoder=True), "is_decoder = True"),
        (lambda f: edit(f / "config.json", num_hidden_layers=3), "lacks or has too much: blk.2"),
        (lambda f: edit(f / "tokenizer_config.json", tokenize_chinese_chars=False), "tokenize_chinese_chars"),
        (lambda f: edit(f / "tokenizer_config.json", mask_token="<mask>"), "lacks the special tokens <mask>"),
        (
            lambda f: edit(f / "1_Pooling/config.json", pooling_mode_cls_token=True),
            "mean_tokens and pooling_mode_cls",
        ),
        (lambda f: edit(f / "1_Pooling/config.json", pooling_mode_mean_tokens=False), "no pooling mode"),
        (lambda f: (f / "1_Pooling/config.json").unlink(), "cannot read .*1_Pooling"),
        (lambda f: write_json(f / "modules.json", [{"type": "x.Dense"}]), "has the module 'x.Dense'"),
        (lambda f: (f / "vocab.txt").write_text("[CLS]\n[SEP]\n"), "word embeddings have the shape"),
        (
            lambda f: (f / "vocab.txt").write_text("\n".join([*VOCABULARY[:-1], "##a"])),
            "holds a token twice",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "not a sound safetensors file"),
        (lambda f: (f / "config.json").write_text("{"), "cannot read .*config.json"),
        (add_tensor, "has the tensor 'extra.weight'"),
        (lose_tensor, "lacks or has too much: blk.1.ffn_down.bias"),
        (integer_tensor, "has the type I64"),
    ],
)
def test_what_is_refused(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(checkpoint)
    with pytest.raises(ModelLoadError, match=message):
        convert_bert(checkpoint, tmp_path / "m.gguf", dtype="f16")


def test_an_unknown_type(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="dtype='q4_0' is not one of f32, f16, q8_0, bf16"):
        convert_bert(checkpoint, tmp_path / "m.gguf", dtype="q4_0")


def test_a_missing_gguf_package(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingDependencyError, match=r"needs gguf: pip install .*\[models\]"):
        convert_bert(checkpoint, tmp_path / "m.gguf", dtype="f16")


def test_safetensors_of_half_precision(tmp_path: Path) -> None:
    values = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    save_file({"h": values.astype(np.float16)}, tmp_path / "h.safetensors")
    np.testing.assert_array_equal(
        as_float32(*read_safetensors(tmp_path / "h.safetensors")["h"]),
        values.astype(np.float16).astype(np.float32),
    )
    raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"b": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, len(raw)]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + raw)
    found = as_float32(*read_safetensors(tmp_path / "b.safetensors")["b"])
    np.testing.assert_allclose(found, values, rtol=1 / 128)


@pytest.mark.parametrize("cut", [0, 4, 50, 300])
def test_a_truncated_safetensors_file(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"a": np.zeros((10, 10), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelLoadError, match="not a sound safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["processor : 0", "flags\t: fpu avx512f avx512_bf16 amx_tile"], False),
        (["Features\t: fp asimd bf16 i8mm"], True),
        (["Features : fp asimd"], False),
        ([], False),
    ],
)
def test_bf16_by_cpu(lines: list[str], expected: bool) -> None:
    assert has_bf16_flag(lines) is expected


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "f16")])
def test_type_by_cpu(monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: str) -> None:
    monkeypatch.setattr("llamacpp_core.models.cpu.has_bf16", lambda: bf16)
    assert preferred_dtype() == expected
