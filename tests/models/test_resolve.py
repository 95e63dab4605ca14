from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core.errors import InvalidParameterError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models import load_catalog, remove, resolve_model
from llamacpp_core.models.catalog import HubSource

from .conftest import write_gguf, write_split


@pytest.mark.parametrize("convert", [str, Path, os.fspath])
def test_a_path(tiny_gguf: Path, convert: type) -> None:
    model = resolve_model(convert(tiny_gguf))
    assert (model.path, model.files, model.name, model.source) == (tiny_gguf, (tiny_gguf,), "tiny", "file")
    assert model.header.architecture == "llama"
    assert not model.embedding
    assert model.entry is None


def test_a_path_of_the_home_folder(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_gguf.parent))
    assert resolve_model("~/tiny.gguf").path == tiny_gguf


@pytest.mark.usefixtures("cache")
def test_a_catalog_name_beats_a_file_of_that_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_gguf(tmp_path / "smollm2-135m-instruct")
    assert resolve_model("./smollm2-135m-instruct").source == "file"
    assert resolve_model(Path("smollm2-135m-instruct")).source == "file"
    with pytest.raises(OSError, match="local_files_only"):
        resolve_model("smollm2-135m-instruct", local_files_only=True)


@pytest.mark.parametrize("part", [0, 2])
def test_a_split_model(tmp_path: Path, part: int) -> None:
    parts = write_split(tmp_path, "big", 3)
    model = resolve_model(parts[part])
    assert model.path == parts[0]
    assert model.files == tuple(parts)


def test_a_split_model_with_a_part_missing(tmp_path: Path) -> None:
    parts = write_split(tmp_path, "big", 3)
    parts[1].unlink()
    with pytest.raises(ModelNotFoundError, match=r"big-00002-of-00003\.gguf must lie beside it"):
        resolve_model(parts[0])


def test_a_split_model_with_a_part_truncated(tmp_path: Path) -> None:
    parts = write_split(tmp_path, "big", 3)
    os.truncate(parts[2], 900)
    with pytest.raises(ModelLoadError, match=r"00003-of-00003.*incomplete"):
        resolve_model(parts[0])


def test_a_split_part_under_another_name(tmp_path: Path) -> None:
    part = write_split(tmp_path, "big", 3)[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(ModelLoadError, match="part 1 of a model split into 3"):
        resolve_model(part)


def test_parts_in_the_wrong_order(tmp_path: Path) -> None:
    first, second = write_split(tmp_path, "big", 2)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ModelLoadError, match="says it is part 1 of 2, its name says 2 of 2"):
        resolve_model(first)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("adapter", "LoRA adapter"), ("mmproj", "projector"), ("imatrix", "importance matrix")],
)
def test_gguf_files_that_are_no_models(tmp_path: Path, kind: str, message: str) -> None:
    import gguf

    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(kind)
    writer.add_tensor("t", __import__("numpy").zeros(4, "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelLoadError, match=message):
        resolve_model(path)


def test_a_missing_file_names_near_ones(tiny_gguf: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"did you mean tiny\.gguf\?"):
        resolve_model(tiny_gguf.with_name("tinny.gguf"))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no folder"):
        resolve_model(tmp_path / "a" / "b.gguf")


def test_a_directory_lists_its_models(tiny_gguf: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"is a directory.*it holds tiny\.gguf"):
        resolve_model(tiny_gguf.parent)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolm2", "Did you mean 'smollm2-135m-instruct'"),
        ("all-MiniLM", "Did you mean 'all-minilm-l6-v2'"),
        ("SmolLM2-135M", "Did you mean 'smollm2-135m-instruct'"),
        ("someone/Some-Repo", "'hf:someone/Some-Repo:"),
        ("https://example.org/m.gguf", "Download the file"),
        ("xyzzy", "The catalog has: smollm2-135m-instruct, all-minilm-l6-v2"),
        ("x" * 5000, "no model 'xxx"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        resolve_model(name)


@pytest.mark.parametrize("name", ["", "  ", "a\0b", None, 7, b"x"])
def test_nonsense(name: object) -> None:
    with pytest.raises(InvalidParameterError, match="model="):
        resolve_model(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["hf:", "hf:repo", "hf:a/b/c", "hf:a/b:c:d", "hf:a/b:", "hf:a b/c:x.gguf"]
)
def test_addresses_of_no_form(address: str) -> None:
    with pytest.raises(InvalidParameterError, match="not of the form"):
        resolve_model(address)


def test_dtype_only_where_weights_are_converted(tiny_gguf: Path) -> None:
    with pytest.raises(InvalidParameterError, match="does not apply") as caught:
        resolve_model(tiny_gguf, dtype="f16")
    assert caught.value.parameter == "dtype"
    with pytest.raises(InvalidParameterError, match="not one of bf16"):
        resolve_model("all-minilm-l6-v2", dtype="f8", local_files_only=True)


def test_catalog_is_complete() -> None:
    catalog = load_catalog()
    assert {"smollm2-135m-instruct", "all-minilm-l6-v2"} <= catalog.keys()
    for name, entry in catalog.items():
        assert name == name.lower()
        assert entry.kind in ("chat", "embedding", "rerank")
        assert all((entry.description, entry.license, entry.upstream, entry.parameters, entry.quantization))
        assert entry.size > 1_000_000
        if isinstance(entry.source, HubSource):
            assert entry.source.repo.count("/") == 1
            assert entry.source.file.endswith(".gguf")
        else:
            assert "==" in entry.source.requirement
            assert len(entry.source.wheel_sha256) == len(entry.source.member_sha256) == 64
    assert catalog["nomic-embed-text-v1.5"].query_prefix == "search_query: "
    assert catalog["nomic-embed-text-v1.5"].document_prefix == "search_document: "


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"cache_dir": 5}, "cache_dir"),
        ({"cache_dir": b"/tmp"}, "cache_dir"),
        ({"cache_dir": ""}, "cache_dir"),
        ({"verify": "yes"}, "verify"),
        ({"force_download": 1}, "force_download"),
        ({"local_files_only": None}, "local_files_only"),
        ({"progress": "yes"}, "progress"),
        ({"token": 5}, "token"),
    ],
)
def test_options_of_a_wrong_kind(tiny_gguf: Path, options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name) as caught:
        resolve_model(tiny_gguf, **options)
    assert caught.value.parameter == name


def test_a_home_folder_that_nobody_has() -> None:
    with pytest.raises(ModelNotFoundError, match="no such home folder"):
        resolve_model("~nobody-of-that-name/model.gguf")


def test_many_missing_parts_are_not_all_listed(tmp_path: Path, tiny_gguf: Path) -> None:
    path = tmp_path / "m-00001-of-99999.gguf"
    path.symlink_to(tiny_gguf)
    with pytest.raises(ModelNotFoundError, match="and 99978 more must lie beside it") as caught:
        resolve_model(path)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", [None, 5, "", " "])
def test_what_cannot_be_removed(name: Any) -> None:
    with pytest.raises(InvalidParameterError, match="name"):
        remove(name)
