from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Candidates, Context, Model, Sampler

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def logits(model: Model) -> np.ndarray:
    with model.create_context(n_ctx=64, n_threads=1) as context:
        context.decode(model.tokenize(PROMPT))
        return context.logits().copy()


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def applied(sampler: Sampler, logits: np.ndarray) -> Candidates:
    candidates = Candidates.from_logits(logits)
    with sampler:
        sampler.apply(candidates)
    return candidates


def drawn(sampler: Sampler, logits: np.ndarray, times: int) -> Counter[int]:
    with sampler:
        found: Counter[int] = Counter()
        for _ in range(times):
            candidates = Candidates.from_logits(logits)
            sampler.apply(candidates)
            assert candidates.selected is not None
            found[candidates.selected] += 1
        return found


def test_greedy_loop_is_llama_cpp_s_own(model: Model, context: Context) -> None:
    from llamacpp_core.native import lib

    tokens = model.tokenize("Once upon a time")
    context.decode(tokens)
    ours: list[int] = []
    with Sampler(model).greedy() as sampler:
        for _ in range(16):
            ours.append(sampler.sample(context))
            assert ours[-1] == int(context.logits().argmax())
            context.decode(ours[-1:])
    context.memory.clear()
    context.decode(tokens)
    theirs: list[int] = []
    with Sampler(model).greedy() as sampler:
        for _ in range(16):
            theirs.append(lib.llama_sampler_sample(sampler._pointer, context._pointer, -1))
            context.decode(theirs[-1:])
    assert ours == theirs


def test_a_whole_chain_is_llama_cpp_s_own(model: Model, context: Context) -> None:
    from llamacpp_core.native import lib

    context.decode(model.tokenize(PROMPT))

    def chain() -> Sampler:
        return (
            Sampler(model).penalties(64, repeat=1.2).top_k(40).top_p(0.95).min_p(0.05).temp(1.5).dist(seed=7)
        )

    with chain() as ours, chain() as theirs:
        mine = [ours.sample(context) for _ in range(20)]
        assert mine == [lib.llama_sampler_sample(theirs._pointer, context._pointer, -1) for _ in range(20)]
        assert len(set(mine)) > 1


def test_top_k(model: Model, logits: np.ndarray) -> None:
    found = applied(Sampler(model).top_k(5), logits)
    assert sorted(found.ids) == sorted(np.argsort(logits)[-5:])


def test_top_p(model: Model, logits: np.ndarray) -> None:
    found = applied(Sampler(model).top_p(0.7), logits)
    order = np.argsort(-logits)
    expected = int(np.searchsorted(np.cumsum(softmax(logits)[order]), 0.7)) + 1
    assert list(found.ids) == list(order[:expected])
    assert len(applied(Sampler(model).top_p(0.0, min_keep=3), logits)) == 3


def test_min_p(model: Model, logits: np.ndarray) -> None:
    found = applied(Sampler(model).min_p(0.1), logits)
    probs = softmax(logits)
    assert sorted(found.ids) == sorted(np.flatnonzero(probs >= 0.1 * probs.max()))


def test_typical(model: Model, logits: np.ndarray) -> None:
    few, many = (applied(Sampler(model).typical(p), logits) for p in (0.2, 0.9))
    assert 0 < len(few) < len(many) < len(logits)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temp(model: Model, logits: np.ndarray, temperature: float) -> None:
    found = applied(Sampler(model).temp(temperature), logits)
    np.testing.assert_allclose(found.logits, logits / temperature, rtol=1e-5)


def test_temp_zero_leaves_the_best(model: Model, logits: np.ndarray) -> None:
    found = applied(Sampler(model).temp(0.0), logits)
    assert np.flatnonzero(np.isfinite(found.logits)).tolist() == [logits.argmax()]


def test_temp_ext_depends_on_the_entropy(model: Model, logits: np.ndarray) -> None:
    sure = np.zeros_like(logits)
    sure[7] = 50.0
    for values, expected in ((sure, 0.5), (np.zeros_like(logits), 1.5)):
        found = applied(Sampler(model).temp_ext(1.0, 0.5), values + np.float32(1.0))
        ratio = (values + 1.0)[7] / found.logits[np.flatnonzero(found.ids == 7)[0]]
        assert ratio == pytest.approx(expected, rel=0.05)


def test_xtc_drops_the_top(model: Model, logits: np.ndarray) -> None:
    values = np.full_like(logits, -50.0)
    values[[10, 20, 30]] = math.log(0.5), math.log(0.3), math.log(0.2)
    found = applied(Sampler(model).xtc(1.0, 0.25, seed=1), values)
    assert 10 not in found.ids
    assert {20, 30} <= set(found.ids)
    assert len(applied(Sampler(model).xtc(0.0, 0.25, seed=1), values)) == len(values)


def test_top_n_sigma(model: Model, logits: np.ndarray) -> None:
    found = applied(Sampler(model).top_n_sigma(2.0), logits)
    kept = found.ids[np.isfinite(found.logits)]
    assert sorted(kept) == sorted(np.flatnonzero(logits >= logits.max() - 2.0 * logits.std()))


def test_dist_follows_the_probabilities(model: Model, logits: np.ndarray) -> None:
    values = np.full_like(logits, -100.0)
    values[[1, 2]] = math.log(0.75), math.log(0.25)
    found = drawn(Sampler(model).top_k(10).dist(seed=3), values, 400)
    assert set(found) == {1, 2}
    assert 0.68 < found[1] / 400 < 0.82


@pytest.mark.parametrize(
    "build",
    [
        lambda s, seed: s.dist(seed),
        lambda s, seed: s.mirostat(seed),
        lambda s, seed: s.mirostat_v2(seed),
        lambda s, seed: s.adaptive_p(0.3, seed=seed),
    ],
)
def test_seeds_decide(
    model: Model, logits: np.ndarray, build: Callable[[Sampler, int | None], Sampler]
) -> None:
    def run(seed: int | None) -> list[int]:
        with build(Sampler(model).top_k(100).temp(2.0), seed) as sampler:
            found = []
            for _ in range(12):
                candidates = Candidates.from_logits(logits)
                sampler.apply(candidates)
                found.append(candidates.selected or 0)
                sampler.accept(found[-1])
            return found

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert run(None) != run(None)


@pytest.mark.parametrize("version", ["mirostat", "mirostat_v2"])
def test_mirostat_aims_at_a_surprise(model: Model, logits: np.ndarray, version: str) -> None:
    flat = (logits / 3).astype(np.float32)
    surprise = -np.log2(softmax(flat))
    low, high = (
        np.mean(
            [surprise[t] for t in drawn(getattr(Sampler(model), version)(1, tau, 0.2), flat, 60).elements()]
        )
        for tau in (1.0, 8.0)
    )
    assert low < high


def test_adaptive_p_aims_at_a_probability(model: Model, logits: np.ndarray) -> None:
    values = np.full_like(logits, -100.0)
    values[[1, 2]] = math.log(0.9), math.log(0.1)
    rare = drawn(Sampler(model).min_p(0.05).adaptive_p(0.1, seed=1), values, 100)
    usual = drawn(Sampler(model).min_p(0.05).adaptive_p(0.9, seed=1), values, 100)
    assert rare[2] > usual[2]


def test_penalties(model: Model, logits: np.ndarray) -> None:
    best = int(logits.argmax())
    with Sampler(model).penalties(8, repeat=2.0, frequency=0.5, presence=0.25) as sampler:
        for _ in range(3):
            sampler.accept(best)
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        changed = candidates.logits - logits
        assert np.flatnonzero(changed).tolist() == [best]
        assert candidates.logits[best] == pytest.approx(logits[best] / 2.0 - 3 * 0.5 - 0.25, rel=1e-4)
        sampler.reset()
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        np.testing.assert_array_equal(candidates.logits, logits)


def test_dry(model: Model, logits: np.ndarray) -> None:
    with Sampler(model).dry(1.0, base=2.0, allowed_length=2, last_n=64) as sampler:
        for token in [100, 200, 300, 400, 100, 200, 300]:
            sampler.accept(token)
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        assert np.flatnonzero(candidates.logits != logits).tolist() == [400]
        assert logits[400] - candidates.logits[400] == pytest.approx(1.0 * 2.0 ** (3 - 2), rel=1e-4)


def test_dry_breakers_end_a_repetition(model: Model, logits: np.ndarray) -> None:
    newline = model.tokenize("\n", add_special=False)[0]
    with Sampler(model).dry(1.0, allowed_length=1, last_n=64) as sampler:
        for token in [100, newline, 400, 100, newline]:
            sampler.accept(token)
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        np.testing.assert_array_equal(candidates.logits, logits)


def test_logit_bias(model: Model, logits: np.ndarray) -> None:
    best = int(logits.argmax())
    found = applied(Sampler(model).logit_bias({best: -math.inf, 5: 2.5}), logits)
    assert found.logits[best] == -math.inf
    assert found.logits[5] == pytest.approx(logits[5] + 2.5)


def test_grammar_allows_only_what_it_says(model: Model, context: Context) -> None:
    context.decode(model.tokenize("Is the sky blue?"))
    with Sampler(model).grammar('root ::= "yes" | "no"').greedy() as sampler:
        pieces = b""
        while not model.vocabulary.is_end(token := sampler.sample(context)):
            pieces += model.token_to_piece(token)
            context.decode([token])
        assert pieces in (b"yes", b"no")
        with pytest.raises(errors.GrammarError):
            sampler.accept(model.tokenize(" maybe")[0])


@pytest.mark.parametrize(
    ("grammar", "root"),
    [
        ("", "root"),
        ("root ::=", "main"),
        ('root ::= "a', "root"),
        ("root ::= " + "(" * 60_000, "root"),
        ("x ::= y", "x"),
    ],
)
def test_grammars_that_cannot_be_used(model: Model, grammar: str, root: str) -> None:
    with Sampler(model) as sampler:
        with pytest.raises(errors.GrammarError):
            sampler.grammar(grammar, root)
        assert len(sampler) == 0


def test_lazy_grammar_waits_for_its_trigger(model: Model, logits: np.ndarray) -> None:
    trigger = model.tokenize("<tool_call>", add_special=False)
    with Sampler(model).grammar_lazy_patterns(
        'root ::= "<tool_call>" "yes"', trigger_patterns=["(<tool_call>)[\\s\\S]*"]
    ) as sampler:
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        np.testing.assert_array_equal(candidates.logits, logits)
        for token in trigger:
            sampler.accept(token)
        sampler.apply(candidates)
        allowed = {model.token_to_piece(int(t)) for t in candidates.ids[np.isfinite(candidates.logits)]}
        assert allowed == {b"y", b"ye", b"yes"}
    with Sampler(model) as sampler:
        for bad in ({}, {"trigger_patterns": "text"}, {"trigger_patterns": [""]}, {"trigger_tokens": [-1]}):
            with pytest.raises(errors.InvalidParameterError, match="trigger"):
                sampler.grammar_lazy_patterns('root ::= "a"', **bad)  # type: ignore[arg-type]
        with pytest.raises(errors.GrammarError, match=r"llama\.cpp"):
            sampler.grammar_lazy_patterns('root ::= "a"', trigger_patterns=["(unclosed"])


def test_infill_joins_common_prefixes(model: Model, logits: np.ndarray) -> None:
    short, long = model.tokenize(" hel", add_special=False)[0], model.tokenize(" hello", add_special=False)[0]
    assert model.token_to_piece(long).startswith(model.token_to_piece(short))
    values = np.full_like(logits, -100.0)
    values[[short, long, 500]] = math.log(0.4), math.log(0.35), math.log(0.25)
    found = applied(Sampler(model).top_k(10).infill(), values)
    assert long not in found.ids[np.isfinite(found.logits)]
    with Sampler(model) as sampler, pytest.raises(errors.InvalidParameterError, match="top_k"):
        sampler.infill()


def test_everything_forbidden_is_an_error(model: Model, context: Context) -> None:
    context.decode([1])
    everything = dict.fromkeys(range(len(model.vocabulary)), -math.inf)
    with (
        Sampler(model).logit_bias(everything).greedy() as sampler,
        pytest.raises(errors.GenerationError, match="no token is left"),
    ):
        sampler.sample(context)


def test_a_chain_must_choose(model: Model, context: Context) -> None:
    context.decode([1])
    with Sampler(model) as sampler:
        with pytest.raises(errors.InvalidParameterError, match="empty"):
            sampler.sample(context)
        sampler.top_k(5)
        with pytest.raises(errors.InvalidParameterError, match="top_k"):
            sampler.sample(context)
        sampler.greedy()
        with pytest.raises(errors.InvalidParameterError, match="greedy already chooses"):
            sampler.dist()
        assert sampler.names == ("top-k", "greedy")
        assert len(sampler) == 2


def test_sampling_without_logits(model: Model, context: Context) -> None:
    with (
        Sampler(model).greedy() as sampler,
        pytest.raises(errors.InvalidParameterError, match="decode a batch"),
    ):
        sampler.sample(context)


def test_accepting_is_optional(model: Model, context: Context) -> None:
    context.decode(model.tokenize(PROMPT))
    with Sampler(model).penalties(8, presence=50.0).greedy() as sampler:
        first = sampler.sample(context, accept=False)
        assert sampler.sample(context) == first
        assert sampler.sample(context) != first
        with pytest.raises(errors.InvalidParameterError, match="token"):
            sampler.accept(len(model.vocabulary))


def test_a_clone_goes_its_own_way(model: Model, logits: np.ndarray) -> None:
    def draw(sampler: Sampler) -> int:
        candidates = Candidates.from_logits(logits)
        sampler.apply(candidates)
        return candidates.selected or 0

    with Sampler(model).temp(3.0).dist(seed=5) as original:
        draw(original)
        with original.clone() as twin:
            assert twin.names == original.names
            assert [draw(twin) for _ in range(10)] == [draw(original) for _ in range(10)]
        assert original.seed == 5
        first = draw(original)
        original.reset()
        again = [draw(original) for _ in range(12)]
        assert first == again[-1]
