from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Candidates, Context, Model, PythonSampler, Sampler, python_sampler

PROMPT = "The capital of France is"


class Recorder(PythonSampler):
    name = "recorder"

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.sizes: list[int] = []
        self.resets = 0

    def apply(self, candidates: Candidates) -> None:
        self.sizes.append(len(candidates))

    def accept(self, token: int) -> None:
        self.accepted.append(token)

    def reset(self) -> None:
        self.resets += 1


class Chooser(PythonSampler):
    selects = True

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def apply(self, candidates: Candidates) -> None:
        candidates.select(int(np.argsort(-candidates.logits)[self.rank]))


@pytest.fixture
def decoded(model: Model, context: Context) -> Context:
    context.decode(model.tokenize(PROMPT))
    return context


def test_it_sees_every_step(model: Model, decoded: Context) -> None:
    recorder = Recorder()
    with Sampler(model).python(recorder).top_k(5).python(recorder).greedy() as sampler:
        token = sampler.sample(decoded)
        sampler.sample(decoded, accept=False)
        sampler.reset()
        assert sampler.names == ("recorder", "top-k", "recorder", "greedy")
    assert recorder.sizes == [49152, 5, 49152, 5]
    assert recorder.accepted == [token, token]
    assert recorder.resets == 2


def test_a_function_can_change_logits(model: Model, decoded: Context) -> None:
    best = int(decoded.logits().argmax())

    def forbid(candidates: Candidates) -> None:
        candidates.logits[candidates.ids == best] = -np.inf

    with Sampler(model).python(forbid).greedy() as sampler:
        token = sampler.sample(decoded)
    assert token == int(np.argsort(decoded.logits())[-2])


def test_it_can_choose(model: Model, decoded: Context) -> None:
    order = np.argsort(-decoded.logits())
    for rank in (0, 3):
        with Sampler(model).python(Chooser(rank)) as sampler:
            assert sampler.sample(decoded) == order[rank]


def test_it_can_drop_candidates(model: Model, decoded: Context) -> None:
    seen = Recorder()

    def even_only(candidates: Candidates) -> None:
        candidates.keep(candidates.ids % 2 == 0)
        assert len(candidates) == 49152 // 2

    with Sampler(model).python(even_only).python(seen).greedy() as sampler:
        token = sampler.sample(decoded)
    assert token % 2 == 0
    assert seen.sizes == [49152 // 2]
    logits = decoded.logits().copy()
    logits[1::2] = -np.inf
    assert token == logits.argmax()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_what_it_raises_comes_out(model: Model, decoded: Context, error: BaseException) -> None:
    recorder = Recorder()

    def fail(candidates: Candidates) -> None:
        raise error

    with Sampler(model).python(fail).python(recorder).greedy() as sampler:
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                sampler.sample(decoded)
            assert caught.value is error
        with pytest.raises(type(error)):
            sampler.apply(Candidates.from_logits(decoded.logits()))
    assert recorder.sizes == []
    assert recorder.accepted == []
    with Sampler(model).greedy() as sampler:
        assert sampler.sample(decoded) == decoded.logits().argmax()


@pytest.mark.parametrize("method", ["accept", "reset", "clone"])
def test_every_method_may_raise(model: Model, decoded: Context, method: str) -> None:
    class Failing(Recorder):
        pass

    def fail(self: Failing, *arguments: object) -> None:
        raise RuntimeError(method)

    setattr(Failing, method, fail)
    with Sampler(model).python(Failing()).greedy() as sampler:
        uses = {"accept": lambda: sampler.accept(1), "reset": sampler.reset, "clone": sampler.clone}
        with pytest.raises(RuntimeError, match=method):
            uses[method]()
        if method != "accept":
            assert sampler.sample(decoded) == decoded.logits().argmax()


def test_choosing_nothing_is_an_error(model: Model, decoded: Context) -> None:
    with (
        Sampler(model).python(lambda candidates: None, selects=True) as sampler,
        pytest.raises(errors.InvalidParameterError, match="chooses no token"),
    ):
        sampler.sample(decoded)
    with (
        Sampler(model).python(lambda candidates: None) as sampler,
        pytest.raises(errors.InvalidParameterError, match="chooses no token"),
    ):
        sampler.sample(decoded)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda c: c.keep([]),
        lambda c: c.keep(np.zeros(len(c), dtype=bool)),
        lambda c: c.keep(np.ones(3, dtype=bool)),
        lambda c: c.keep([len(c)]),
        lambda c: c.select(len(c)),
        lambda c: c.select(-1),
    ],
)
def test_candidates_are_checked(model: Model, decoded: Context, misuse: object) -> None:
    with Sampler(model).python(misuse).greedy() as sampler, pytest.raises(errors.InvalidParameterError):  # type: ignore[arg-type]
        sampler.sample(decoded)


def test_a_sampler_may_sample_from_inside(model: Model, decoded: Context) -> None:
    with Sampler(model).top_k(3).greedy() as inner:

        def consult(candidates: Candidates) -> None:
            other = inner.sample(decoded)
            candidates.logits[candidates.ids == other] += 100.0

        with (
            Sampler(model)
            .logit_bias({int(decoded.logits().argmax()): -50.0})
            .python(consult)
            .greedy() as outer
        ):
            assert outer.sample(decoded) == decoded.logits().argmax()


def test_clones_are_independent(model: Model, decoded: Context) -> None:
    original = Recorder()
    with Sampler(model).python(original).greedy() as sampler:
        sampler.sample(decoded)
        with sampler.clone() as twin:
            twin.sample(decoded)
            twin.sample(decoded)
        assert len(original.sizes) == 1


def test_it_lives_as_long_as_its_chain(model: Model, decoded: Context) -> None:
    recorder = Recorder()
    dead = weakref.ref(recorder)
    gc.collect()  # what other tests have left
    before = len(python_sampler._alive)
    with Sampler(model).python(recorder).greedy() as sampler:
        del recorder
        gc.collect()
        assert sampler.sample(decoded) == decoded.logits().argmax()
        assert dead() is not None
    gc.collect()
    assert dead() is None
    assert len(python_sampler._alive) == before


def test_what_is_no_sampler(model: Model) -> None:
    with Sampler(model) as sampler, pytest.raises(errors.InvalidParameterError, match="PythonSampler"):
        sampler.python(42)  # type: ignore[arg-type]
