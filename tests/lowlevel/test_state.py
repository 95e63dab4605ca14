from __future__ import annotations

from pathlib import Path

import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Context, Model, Sampler

PROMPT = "Once upon a time, in a small village by the sea,"


def go_on(model: Model, context: Context, token: int, n_tokens: int = 12) -> list[int]:
    """Decodes ``token`` and what follows it, greedily, in sequence 0."""
    found = [token]
    with Sampler(model).greedy() as sampler:
        for _ in range(n_tokens):
            context.decode(found[-1:])
            found.append(sampler.sample(context))
    return found


@pytest.fixture
def prompt(model: Model) -> list[int]:
    return model.tokenize(PROMPT)


def test_a_restored_context_goes_on_the_same(model: Model, context: Context, prompt: list[int]) -> None:
    context.decode(prompt[:-1])
    state = context.save_state()
    expected = go_on(model, context, prompt[-1])
    with model.create_context(n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1) as other:
        other.load_state(state)
        assert other.memory.seq_pos_max(0) == len(prompt) - 2
        with pytest.raises(errors.InvalidParameterError, match="decode a batch"):
            other.logits()
        assert go_on(model, other, prompt[-1]) == expected
    context.load_state(state)
    assert go_on(model, context, prompt[-1]) == expected


def test_a_sequence_can_be_restored_as_another(model: Model, prompt: list[int]) -> None:
    with model.create_context(n_ctx=512, n_seq_max=2, n_threads=1) as context:
        context.decode(prompt[:-1])
        state = context.save_sequence(0)
        expected = go_on(model, context, prompt[-1])
        context.memory.clear()
        context.load_sequence(state, 1)
        assert (context.memory.seq_pos_max(0), context.memory.seq_pos_max(1)) == (-1, len(prompt) - 2)
        context.memory.seq_cp(1, 0)
        assert go_on(model, context, prompt[-1]) == expected


def test_files(model: Model, context: Context, prompt: list[int], tmp_path: Path) -> None:
    context.decode(prompt[:-1])
    context.save_state_file(tmp_path / "all", prompt[:-1])
    context.save_sequence_file(tmp_path / "one", 0, prompt[:-1])
    expected = go_on(model, context, prompt[-1])
    context.memory.clear()
    assert context.load_state_file(tmp_path / "all") == prompt[:-1]
    assert go_on(model, context, prompt[-1]) == expected
    context.memory.clear()
    assert context.load_sequence_file(tmp_path / "one") == prompt[:-1]
    assert go_on(model, context, prompt[-1]) == expected


def test_a_file_without_tokens(context: Context, tmp_path: Path) -> None:
    context.decode([1, 2, 3])
    context.save_state_file(tmp_path / "state")
    context.memory.clear()
    assert context.load_state_file(tmp_path / "state") == []
    assert context.memory.seq_pos_max(0) == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: b"", "too short"),
        (lambda state: state[:-1], "damaged"),
        (lambda state: state + b"\0", "damaged"),
        (lambda state: state[:500] + b"\xff" + state[501:], "damaged"),
        (lambda state: b"GGUF" + state[4:], "not a saved state"),
        (lambda state: state[:4] + b"\x09\x00" + state[6:], "of this version"),
    ],
)
def test_damaged_states_are_refused(context: Context, spoil: object, message: str) -> None:
    context.decode([1, 2, 3])
    for save, load in (
        (context.save_state, context.load_state),
        (context.save_sequence, context.load_sequence),
    ):
        with pytest.raises(errors.InvalidParameterError, match=message):
            load(spoil(save()))  # type: ignore[operator]
    assert context.memory.seq_pos_max(0) == 2


def test_kinds_of_state_are_told_apart(context: Context) -> None:
    context.decode([1, 2, 3])
    with pytest.raises(errors.InvalidParameterError, match="state is of a whole context"):
        context.load_sequence(context.save_state())
    with pytest.raises(errors.InvalidParameterError, match="state is of one sequence"):
        context.load_state(context.save_sequence())


def test_a_state_that_does_not_fit(model: Model, context: Context) -> None:
    context.decode([500] * 200)
    state, sequence = context.save_state(), context.save_sequence()
    with model.create_context(n_ctx=256, type_k="f32", type_v="f32", n_threads=1) as other_types:
        with pytest.raises(errors.InvalidParameterError, match="does not fit"):
            other_types.load_state(state)
        with pytest.raises(errors.InvalidParameterError, match="does not fit"):
            other_types.load_sequence(sequence)
        assert other_types.memory.seq_pos_max(0) == -1
        other_types.decode([1])


def test_files_are_checked_like_bytes(context: Context, tmp_path: Path) -> None:
    context.decode([1, 2, 3])
    context.save_state_file(tmp_path / "all", [1, 2, 3])
    context.save_sequence_file(tmp_path / "one", 0, [1, 2, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "one"]
    for name, load, other in (
        ("all", context.load_state_file, context.load_sequence_file),
        ("one", context.load_sequence_file, context.load_state_file),
    ):
        with pytest.raises(errors.InvalidParameterError, match="state is of"):
            other(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        for size in (0, 14, len(data) // 2, len(data) - 1):
            (tmp_path / "cut").write_bytes(data[:size])
            with pytest.raises(errors.InvalidParameterError):
                load(tmp_path / "cut")
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "nothing")
    assert context.memory.seq_pos_max(0) == 2


def test_a_file_that_cannot_be_written(context: Context, tmp_path: Path) -> None:
    context.decode([1])
    for save in (context.save_state_file, context.save_sequence_file):
        with pytest.raises(FileNotFoundError):
            save(tmp_path / "no" / "such" / "folder")
        with pytest.raises(IsADirectoryError):
            save(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}-*"))


def test_sequences_are_checked(context: Context) -> None:
    for use in (context.save_sequence, lambda seq_id: context.load_sequence(b"", seq_id)):
        with pytest.raises(errors.InvalidParameterError, match="seq_id"):
            use(1)
