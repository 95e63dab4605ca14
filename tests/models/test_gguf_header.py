from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamacpp_core.errors import ModelLoadError, ModelNotFoundError
from llamacpp_core.models import GGUFArray, read_gguf_header
from llamacpp_core.models.gguf.types import FILE_TYPES, TENSOR_TYPES

from .conftest import write_gguf


def test_reads_what_the_reference_reader_reads(tiny_gguf: Path) -> None:
    header = read_gguf_header(tiny_gguf)
    reference = gguf.GGUFReader(tiny_gguf)

    assert header.version == 3
    assert header.data_offset == reference.data_offset
    assert header.expected_size == header.file_size == tiny_gguf.stat().st_size
    for mine, theirs in zip(header.tensors, reference.tensors, strict=True):
        assert (mine.name, mine.nbytes) == (theirs.name, theirs.n_bytes)
        assert mine.shape == tuple(theirs.shape)
        assert mine.offset + header.data_offset == theirs.data_offset
        assert mine.type == theirs.tensor_type.name
    for key, value in header.metadata.items():
        found = reference.fields[key].contents()
        assert (value.values() if isinstance(value, GGUFArray) else value) == found
    assert len(header.metadata) == len([key for key in reference.fields if not key.startswith("GGUF.")])


def test_properties(tiny_gguf: Path) -> None:
    header = read_gguf_header(tiny_gguf)

    assert (header.architecture, header.name, header.type) == ("llama", "tiny", "model")
    assert (header.context_length, header.embedding_length, header.block_count) == (512, 64, 2)
    assert (header.head_count, header.head_count_kv) == (4, 2)
    assert (header.file_type, header.size_label) == ("F16", "1K")
    assert (header.tokenizer_model, header.vocab_size) == ("gpt2", 40)
    assert header.chat_templates == {"default": "{{ messages }}"}
    assert (header.tensor_count, header.n_params, header.tensor_bytes) == (
        2,
        40 * 64 + 64,
        40 * 64 * 2 + 64 * 4,
    )
    assert (header.split_count, header.split_no, header.truncated) == (1, 0, False)
    assert header.causal
    assert not header.is_embedding


def test_type_tables_agree_with_the_reference() -> None:
    mine = {number: (block, size) for number, (_, block, size) in TENSOR_TYPES.items()}
    # Q8_1 is a type of intermediate results, and the Python package has an old layout of it
    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    assert theirs.items() <= mine.items()
    names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    assert {number: names[number] for number in FILE_TYPES if number in names and number < 1024} == {
        number: name for number, name in FILE_TYPES.items() if number in names
    }


@pytest.mark.parametrize(
    ("pooling", "embedding", "reranker"),
    [(1, True, False), (3, True, False), (4, False, True), (0, False, False)],
)
def test_pooling_decides_what_a_model_is_for(
    tmp_path: Path, pooling: int, embedding: bool, reranker: bool
) -> None:
    path = write_gguf(tmp_path / "m.gguf", extra={"llama.pooling_type": pooling})
    header = read_gguf_header(path)
    assert (header.is_embedding, header.is_reranker) == (embedding, reranker)


def test_named_chat_templates(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", extra={"tokenizer.chat_template.tool_use": "T"})
    assert read_gguf_header(path).chat_templates == {"default": "{{ messages }}", "tool_use": "T"}


def test_heads_that_differ_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_head_count([4, 8, 4])
    writer.add_head_count_kv([0, 2, 1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(path)
    assert (header.head_count, header.head_count_kv) == (8, 2)
    assert header.per_layer("llama.attention.head_count_kv") == [0, 2, 1]


def test_a_big_vocabulary_is_stepped_over_quickly(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token number {number}" for number in range(150_000)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read_gguf_header(path)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        header = read_gguf_header(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.15
    assert header.vocab_size == 150_000
    assert header.metadata["tokenizer.ggml.tokens"].values()[-1] == "token number 149999"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no such model file: .*absent\.gguf"):
        read_gguf_header(tmp_path / "absent.gguf")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is a directory") as caught:
        read_gguf_header(tmp_path)
    assert caught.value.path == str(tmp_path)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions do not bind root: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable(tiny_gguf: Path) -> None:
    tiny_gguf.chmod(0)
    with ordinary_user(), pytest.raises(ModelLoadError, match="Permission denied") as caught:
        read_gguf_header(tiny_gguf)
    assert caught.value.path == str(tiny_gguf)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelLoadError, match="not a regular file"):
        read_gguf_header(tmp_path / "pipe")


HEADER = struct.Struct("<4sIQQ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
        (struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"}}', "safetensors"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"tjgg\x03\0\0\0" + bytes(40), "GGML format"),
        (b'{"error": "no"}', "JSON"),
        (bytes(64), "begins with zeros"),
        (b"\x1f\x8b" + bytes(40), "compressed"),
        (b"hello, world", "begins with b'hello, w'"),
        (b"GG", "is not a GGUF file"),
        (b"GGUF\x03", "incomplete"),
        (HEADER.pack(b"GGUF", 4, 0, 0), "version 4, newer"),
        (HEADER.pack(b"GGUF", 1, 0, 0), "version 1"),
        (HEADER.pack(b"GGUF", 0x03000000, 0, 0), "big-endian"),
        (HEADER.pack(b"GGUF", 3, 1 << 60, 0), "claims 1,152,921,504,606,846,976 tensors"),
        (HEADER.pack(b"GGUF", 3, 0, 1 << 63), "metadata entries"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q", 1 << 62), "text of"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q", 0), "without a name"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sI", 1, b"k", 77), "unknown type 77"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 8, 1 << 50), "array of"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 0, 1 << 62), "incomplete"),
        (HEADER.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 1), "unknown element type 9"),
        (HEADER.pack(b"GGUF", 3, 1, 0) + struct.pack("<Q1sI", 1, b"t", 9), "9 dimensions"),
        (
            HEADER.pack(b"GGUF", 3, 1, 0) + struct.pack("<Q1sI3QIQ", 1, b"t", 3, 1 << 40, 1 << 40, 2, 0, 0),
            "has the shape",
        ),
    ],
)
def test_what_is_not_a_model(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelLoadError, match=message) as caught:
        read_gguf_header(path)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)


def test_truncated_data(tiny_gguf: Path) -> None:
    whole = tiny_gguf.stat().st_size
    os.truncate(tiny_gguf, whole - 100)
    with pytest.raises(ModelLoadError, match=f"needs {whole:,} bytes and has {whole - 100:,}"):
        read_gguf_header(tiny_gguf)
    header = read_gguf_header(tiny_gguf, allow_truncated=True)
    assert header.truncated
    assert header.expected_size == whole


def test_an_array_whose_file_has_changed(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    tokens = read_gguf_header(path).metadata["tokenizer.ggml.tokens"]
    os.truncate(path, tokens.offset + 5)
    with pytest.raises(ModelLoadError, match="shorter than before"):
        tokens.values()


def read_everything(path: Path) -> None:
    header = read_gguf_header(path, allow_truncated=True)
    names = [name for name in dir(type(header)) if isinstance(getattr(type(header), name), property)]
    for name in [*names, "tensor_bytes", "n_params"]:
        getattr(header, name)
    for value in header.metadata.values():
        if isinstance(value, GGUFArray):
            value.values()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("sound") / "tiny.gguf").read_bytes()


@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_gives_only_model_load_errors(sound: bytes, tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray(sound)
    edits = data.draw(
        st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=9)), min_size=1, max_size=6)
    )
    for position, patch in edits:
        broken[position : position + len(patch)] = patch
    end = data.draw(st.integers(0, len(broken)))
    path = tmp_path / "broken.gguf"
    path.write_bytes(broken[:end] if data.draw(st.booleans()) else broken)
    # any other exception fails the test
    with suppress(ModelLoadError):
        read_everything(path)
