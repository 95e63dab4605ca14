from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Context, Model, Sampler
from tests.models.conftest import write_gguf, write_split


def test_facts_match_the_file(model: Model) -> None:
    metadata = model.metadata
    assert metadata["general.architecture"] == "llama"
    assert model.n_layer == int(metadata["llama.block_count"])
    assert model.n_embd == model.n_embd_out == int(metadata["llama.embedding_length"])
    assert model.n_head == int(metadata["llama.attention.head_count"])
    assert model.n_ctx_train == int(metadata["llama.context_length"])
    assert 130e6 < model.n_params < 140e6
    assert 90e6 < model.size < 100e6
    assert "Q4_1" in model.description
    assert (model.has_encoder, model.has_decoder) == (False, True)
    assert not model.is_recurrent
    assert not model.is_hybrid
    assert model.decoder_start_token is None


def test_metadata_values_longer_than_any_buffer_come_whole(model: Model) -> None:
    assert model.metadata["tokenizer.chat_template"] == model.chat_template()
    assert "<|im_start|>" in (model.chat_template() or "")


def test_unknown_template_name_is_none(model: Model) -> None:
    assert model.chat_template("no_such_template") is None


@pytest.mark.parametrize(
    "text", ["", "Hello, world!", "naïve café 🦙\n\ttabs", "a" * 5000, " spaces around "]
)
def test_text_survives_tokenizing(model: Model, text: str) -> None:
    tokens = model.tokenize(text, add_special=False)
    assert model.detokenize(tokens) == text
    assert b"".join(model.token_to_piece(token) for token in tokens).decode() == text


def test_special_tokens_are_text_unless_asked_for(model: Model) -> None:
    plain = model.tokenize("<|im_end|>")
    special = model.tokenize("<|im_end|>", parse_special=True)
    assert special == [model.vocabulary.eos]
    assert len(plain) > 1
    assert model.detokenize(plain) == "<|im_end|>"
    assert model.detokenize(special) == ""
    assert model.detokenize(special, unparse_special=True) == "<|im_end|>"
    assert model.token_to_piece(special[0]) == b""
    assert model.token_to_piece(special[0], special=True) == b"<|im_end|>"


def test_a_token_may_be_part_of_a_character(model: Model) -> None:
    tokens = model.tokenize("🦙", add_special=False)
    assert len(tokens) > 1
    assert model.detokenize(tokens[:1]) == "\ufffd"
    assert b"".join(map(model.token_to_piece, tokens)).decode() == "🦙"


def test_vocabulary_facts(model: Model) -> None:
    vocabulary = model.vocabulary
    assert len(vocabulary) == 49152
    assert vocabulary.kind == "bpe"
    assert vocabulary.special_tokens["bos"] == vocabulary.bos == 1
    assert vocabulary.is_end(2)
    assert vocabulary.is_control(1)
    assert not vocabulary.is_control(500)
    assert vocabulary.token_text(198) == "Ċ"
    assert vocabulary.score(500) == 0.0
    assert (vocabulary.adds_bos, vocabulary.adds_eos) == (False, False)


@pytest.mark.parametrize("token", [-1, 49152, 2**40])
def test_tokens_outside_of_the_vocabulary_are_refused(model: Model, token: int) -> None:
    for use in (
        model.token_to_piece,
        model.vocabulary.is_end,
        model.vocabulary.token_text,
        model.vocabulary.score,
    ):
        with pytest.raises(errors.InvalidParameterError, match="token"):
            use(token)
    with pytest.raises(errors.InvalidParameterError, match=r"tokens\[1\]"):
        model.detokenize([1, token])


@pytest.mark.parametrize("value", [1.5, "a", None])
def test_tokens_must_be_integers(model: Model, value: object) -> None:
    with pytest.raises(errors.InvalidParameterError, match="whole number"):
        model.token_to_piece(value)  # type: ignore[arg-type]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=r"nothing\.gguf"):
        Model(tmp_path / "nothing.gguf")


def test_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("once upon a time")
    with pytest.raises(errors.ModelLoadError, match="not a GGUF file") as caught:
        Model(path)
    assert caught.value.path == str(path)


def test_truncated_model(tmp_path: Path, smollm2_path: Path) -> None:
    path = tmp_path / "half.gguf"
    with smollm2_path.open("rb") as file:
        path.write_bytes(file.read(8 << 20))
    with pytest.raises(errors.ModelLoadError, match=r"half\.gguf is incomplete"):
        Model(path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_gpu_layers": -2}, "n_gpu_layers"),
        ({"split_mode": "diagonal"}, "split_mode"),
        ({"load_mode": "teleport"}, "load_mode"),
        ({"main_gpu": -1}, "main_gpu"),
        ({"tensor_split": [0.5] * 1000}, "tensor_split"),
        ({"tensor_split": [float("nan")]}, "tensor_split"),
        ({"metadata_overrides": {"k" * 200: 1}}, "metadata_overrides"),
        ({"metadata_overrides": {"key": [1]}}, "metadata_overrides"),
        ({"metadata_overrides": {"key": 2**70}}, "metadata_overrides"),
    ],
)
def test_bad_load_options(smollm2_path: Path, options: dict[str, object], named: str) -> None:
    with pytest.raises(errors.InvalidParameterError, match=named):
        Model(smollm2_path, **options)  # type: ignore[arg-type]


def test_metadata_overrides_reach_llama_cpp(smollm2_path: Path) -> None:
    with Model(
        smollm2_path,
        vocab_only=True,
        metadata_overrides={"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.eos_token_id": 5},
    ) as changed:
        assert changed.vocabulary.adds_bos
        assert changed.vocabulary.eos == 5
        assert changed.tokenize("a")[0] == changed.vocabulary.bos


def test_vocabulary_alone_makes_no_context(smollm2_path: Path) -> None:
    with Model(smollm2_path, vocab_only=True) as vocabulary_only:
        assert vocabulary_only.detokenize(vocabulary_only.tokenize("just words")) == "just words"
        with pytest.raises(errors.UnsupportedCapabilityError, match="vocab_only"):
            vocabulary_only.create_context()
        with pytest.raises(errors.UnsupportedCapabilityError, match="vocab_only"):
            vocabulary_only.load_lora(smollm2_path)


def test_progress_is_told_and_can_give_up(smollm2_path: Path) -> None:
    shares: list[float] = []
    with Model(smollm2_path, on_progress=shares.append):
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    with pytest.raises(errors.ModelLoadError, match="given up"):
        Model(smollm2_path, on_progress=lambda share: share < 0.5)


def test_an_exception_in_the_progress_callback_comes_out(smollm2_path: Path) -> None:
    def fail(share: float) -> None:
        raise KeyboardInterrupt(share)

    with pytest.raises(KeyboardInterrupt):
        Model(smollm2_path, on_progress=fail)


def test_closing_a_model_closes_what_is_built_on_it(smollm2_path: Path) -> None:
    loaded = Model(smollm2_path)
    context = loaded.create_context(n_ctx=64)
    sampler = Sampler(loaded).greedy()
    loaded.close()
    loaded.close()
    assert loaded.closed
    assert context.closed
    assert sampler.closed
    for use in (
        lambda: loaded.n_layer,
        lambda: loaded.tokenize("a"),
        lambda: loaded.vocabulary.is_end(1),
        lambda: context.n_ctx,
        lambda: context.decode([1]),
        lambda: context.memory.clear(),
        lambda: sampler.sample(context),
        lambda: Context(loaded),
        lambda: Sampler(loaded),
    ):
        with pytest.raises(errors.EngineClosedError, match="closed"):
            use()
    with pytest.raises(errors.EngineClosedError), loaded:
        pass


def test_a_context_keeps_its_model(smollm2_path: Path) -> None:
    context = Model(smollm2_path).create_context(n_ctx=64, n_threads=1)
    gc.collect()
    with context.model, context:
        context.decode([1, 2, 3])
        assert context.logits().shape == (49152,)


def test_leaks_are_reported(smollm2_path: Path) -> None:
    with pytest.warns(ResourceWarning, match=r"Model .* was never closed"):
        Model(smollm2_path, vocab_only=True)


def test_a_borrowed_model_is_neither_freed_nor_reported(model: Model) -> None:
    owner = object()
    borrowed = Model._borrow(model._pointer, owner)
    assert borrowed.n_layer == model.n_layer
    with borrowed.create_context(n_ctx=64, n_threads=1) as context:
        context.decode([1])
    assert owner in borrowed._handle._keeps[0]  # type: ignore[union-attr]
    del borrowed
    gc.collect()
    assert model.tokenize("still here")


def test_leaving_the_interpreter_with_everything_open_is_clean(smollm2_path: Path) -> None:
    code = (
        "import sys; from llamacpp_core.lowlevel import *\n"
        "model = Model(sys.argv[1]); context = model.create_context(n_ctx=64)\n"
        "sampler = Sampler(model).python(lambda c: None).greedy()\n"
        "context.decode([1]); logits = context.logits()\n"
        "print(sampler.sample(context))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(smollm2_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) >= 0


@pytest.mark.parametrize("vocab_only", [False, True])
def test_every_part_of_a_split_model_is_checked(tmp_path: Path, vocab_only: bool) -> None:
    parts = write_split(tmp_path, "model", 3)
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:-100])
    with pytest.raises(errors.ModelLoadError, match=r"model-00002-of-00003\.gguf is incomplete"):
        Model(parts[0], vocab_only=vocab_only)
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(errors.ModelLoadError, match="says it is part 3 of 3, its name says 2 of 3"):
        Model(parts[0], vocab_only=vocab_only)
    parts[1].write_bytes(whole)
    with pytest.raises(errors.ModelLoadError, match="is part 2 of a model split into 3"):
        Model(parts[1].rename(tmp_path / "other.gguf"), vocab_only=vocab_only)


def test_parts_cannot_be_claimed_by_an_override(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model-00001-of-00002.gguf")
    write_gguf(tmp_path / "model-00002-of-00002.gguf")
    with pytest.raises(errors.ModelLoadError, match="split into 1 files"):
        Model(path, metadata_overrides={"split.count": 2})
