"""Files that are no model, broken, or of another kind: each gives its error, and the process lives."""

from __future__ import annotations

import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from llamacpp_core import (
    InvalidParameterError,
    Llama,
    LlamaCppError,
    ModelError,
    ModelLoadError,
    ModelNotFoundError,
)
from llamacpp_core.engine import threads


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        Llama(tmp_path / "nothing.gguf")
    assert isinstance(caught.value, FileNotFoundError)
    assert "nothing.gguf" in str(caught.value)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ModelNotFoundError, match="smollm2-135m-instruct"):
        Llama("smollm2-135m-instrct")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="directory"):
        Llama(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"GGUF", b"not a model", b"\0" * 5000, b"{}", b"GGUF" + b"\xff" * 400]
)
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        Llama(path)
    assert "bad.gguf" in str(caught.value)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("version", [0, 1, 4, 99, 0x03000000])
def test_version(tmp_path: Path, smollm2_path: Path, version: int) -> None:
    path = tmp_path / "future.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", version) + smollm2_path.read_bytes()[8:100_000])
    with pytest.raises(ModelLoadError):
        Llama(path)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.999, 0.9999999])
def test_truncated(tmp_path: Path, smollm2_path: Path, part: float) -> None:
    path = tmp_path / "short.gguf"
    size = smollm2_path.stat().st_size
    with smollm2_path.open("rb") as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
        target.truncate(int(size * part))
    with pytest.raises(ModelLoadError):
        Llama(path)


def test_unreadable(tmp_path: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.gguf"
    shutil.copy(smollm2_path, path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything: let the system refuse in another way
        real = Path.open

        def refuse(self: Path, *arguments: Any, **settings: Any) -> Any:
            if self == path:
                raise PermissionError(13, "Permission denied", str(path))
            return real(self, *arguments, **settings)

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match="locked"):
        Llama(path)


def test_a_dangling_link(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "gone.gguf")
    with pytest.raises(ModelNotFoundError):
        Llama(link)


def test_a_device_is_no_model() -> None:
    with pytest.raises(ModelError):
        Llama("/dev/null")


def test_the_path_may_hold_spaces_and_other_scripts(tmp_path: Path, smollm2_path: Path) -> None:
    folder = tmp_path / "mein Ordner, 模型 = 'x'"
    folder.mkdir()
    path = folder / "модель 1,5.gguf"
    path.symlink_to(smollm2_path)
    with Llama(path, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm.info.path == str(path)
        assert llm("The capital of France is", max_tokens=1, temperature=0)["choices"][0]["text"] == " Paris"


def write(path: Path, architecture: str, fill: Callable[[gguf.GGUFWriter], None]) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def some_tensor(writer: gguf.GGUFWriter) -> None:
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))


def adapter(writer: gguf.GGUFWriter) -> None:
    writer.add_type("adapter")
    some_tensor(writer)


OTHER_KINDS: dict[str, tuple[str, Callable[[gguf.GGUFWriter], None]]] = {
    "adapter": ("llama", adapter),
    "projector": ("clip", some_tensor),
    "unknown architecture": ("brontosaurus", some_tensor),
    "no hyperparameters": ("llama", some_tensor),
    "no tensors": ("llama", lambda writer: writer.add_block_count(1)),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_gguf_of_another_kind(tmp_path: Path, kind: str) -> None:
    architecture, fill = OTHER_KINDS[kind]
    path = write(tmp_path / "other.gguf", architecture, fill)
    with pytest.raises(ModelLoadError) as caught:
        Llama(path)
    assert "other.gguf" in str(caught.value)


def test_a_model_whose_tensors_are_missing(tmp_path: Path, smollm2_path: Path) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        writer.add_block_count(2)
        writer.add_context_length(128)
        writer.add_embedding_length(8)
        writer.add_head_count(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_feed_forward_length(16)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([chr(97 + i) for i in range(8)])
        writer.add_token_types([1] * 8)
        writer.add_token_merges([])
        some_tensor(writer)

    path = write(tmp_path / "hollow.gguf", "llama", fill)
    with pytest.raises(ModelLoadError) as caught:
        Llama(path)
    assert "output_norm" in str(caught.value) or "tensor" in str(caught.value)


def test_the_reason_survives_beside_another_engine(tmp_path: Path, llm: Llama, smollm2_path: Path) -> None:
    """Another engine's delivery thread reads llama.cpp's log too: the reason must still be found."""
    path = write(tmp_path / "other.gguf", "brontosaurus", some_tensor)
    chunks = llm("Once", max_tokens=300, ignore_eos=True, stream=True)
    next(chunks)
    for _ in range(5):
        with pytest.raises(ModelLoadError, match="brontosaurus"):
            Llama(path)
    chunks.close()


@pytest.mark.parametrize("model", ["", "  ", "a\0b", 5, None, b"x.gguf", ["x"]])
def test_what_is_no_name_of_a_model(model: Any) -> None:
    with pytest.raises(LlamaCppError) as caught:
        Llama(model)
    assert isinstance(caught.value, InvalidParameterError | ModelNotFoundError)


def test_model_path_is_the_other_name(smollm2_path: Path) -> None:
    with Llama(model_path=str(smollm2_path), n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm.info.path == str(smollm2_path)
    with pytest.raises(InvalidParameterError, match="one model"):
        Llama("a.gguf", model_path="b.gguf")


def test_loading_can_be_cancelled(smollm2_path: Path) -> None:
    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.load.options import LoadOptions

    def interrupt(fraction: float) -> None:
        raise KeyboardInterrupt

    flags = LoadOptions().flags(str(smollm2_path), n_ctx=256, n_parallel=1, embedding=False)
    with pytest.raises(KeyboardInterrupt):
        Engine(flags, path=str(smollm2_path), on_progress=interrupt)
    seen: list[float] = []
    engine = Engine(flags, path=str(smollm2_path), on_progress=seen.append)
    engine.close()
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_an_interrupt_while_the_loading_thread_starts(
    smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threads.Thread):
        def start(self) -> None:
            super().start()
            if self.name == "llamacpp-load":
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            Llama(smollm2_path, n_ctx=256, n_parallel=1)
    assert not [thread for thread in threading.enumerate() if thread.name == "llamacpp-load"]
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm("Hi", max_tokens=1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # CPython says it, too
@pytest.mark.parametrize("name", ["llamacpp-load", "llamacpp-delivery"])
def test_no_memory_for_a_thread(smollm2_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The thread ends before it can say that it has started, for which CPython would wait for ever."""

    class NoMemory(threads.Thread):
        def _bootstrap_inner(self) -> None:
            if self.name == name:
                raise MemoryError
            super()._bootstrap_inner()  # type: ignore[misc]

    with monkeypatch.context() as patch:
        patch.setattr(threads, "Thread", NoMemory)
        with pytest.raises(MemoryError, match="thread"):
            Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False)
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm("Hi", max_tokens=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 0),
        ("llama.block_count", 513),
        ("llama.context_length", 0),
        ("llama.context_length", 2**32 - 1),
        ("llama.attention.layer_norm_rms_epsilon", -1.0),
        ("llama.attention.layer_norm_rms_epsilon", float("nan")),
        ("llama.rope.scaling.type", "spiral"),
    ],
)
def test_metadata_that_would_end_the_process(tmp_path: Path, key: str, value: Any) -> None:
    def fill(writer: gguf.GGUFWriter) -> None:
        add: dict[type, Callable[[str, Any], None]] = {
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
        }
        add[type(value)](key, value)
        some_tensor(writer)

    path = write(tmp_path / "odd.gguf", "llama", fill)
    with pytest.raises(ModelLoadError, match=f"its {key} is wrong"):
        Llama(path)
