"""eval, sample and generate, as in llama-cpp-python."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacpp_core import (
    ContextOverflowError,
    EngineClosedError,
    EngineError,
    InvalidParameterError,
    Llama,
    UnsupportedCapabilityError,
)

CAPITAL = b"The capital of France is"


@pytest.fixture(scope="module")
def stepping(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as loaded:
        yield loaded


@pytest.fixture
def fresh(stepping: Llama) -> Llama:
    stepping.reset()
    return stepping


def test_eval_and_sample(fresh: Llama) -> None:
    ids = fresh.tokenize(CAPITAL)
    fresh.eval(ids)
    assert fresh.n_tokens == len(ids)
    assert fresh.input_ids.tolist() == ids
    assert list(fresh.eval_tokens) == ids
    assert len(fresh.eval_logits) == 1
    token = fresh.sample(temp=0.0)
    assert fresh.detokenize([token]) == b" Paris"
    assert token == int(np.argmax(fresh.eval_logits[-1]))
    assert fresh.n_tokens == len(ids)
    fresh.eval([token])
    assert fresh.detokenize([fresh.sample(temp=0.0)]) == b"."


def test_reset_forgets(fresh: Llama) -> None:
    fresh.eval(fresh.tokenize(CAPITAL))
    fresh.reset()
    assert fresh.n_tokens == 0
    with pytest.raises(EngineError, match="eval"):
        fresh.sample()


def test_generate_is_the_greedy_completion(fresh: Llama) -> None:
    tokens = list(islice(fresh.generate(fresh.tokenize(CAPITAL), temp=0.0), 12))
    whole = fresh(CAPITAL.decode(), max_tokens=12, temperature=0)
    assert fresh.detokenize(tokens).decode() == whole["choices"][0]["text"]
    seen = fresh.n_tokens
    again = list(islice(fresh.generate(fresh.tokenize(CAPITAL), temp=0.0), 12))
    assert again == tokens
    assert fresh.n_tokens == seen


def test_generate_goes_on_without_reset(fresh: Llama) -> None:
    ids = fresh.tokenize(CAPITAL)
    fresh.eval(ids[:2])
    on = list(islice(fresh.generate(ids[2:], temp=0.0, reset=False), 3))
    fresh.reset()
    assert on == list(islice(fresh.generate(ids, temp=0.0), 3))


def test_generate_takes_tokens_in_between(fresh: Llama) -> None:
    stream = fresh.generate(fresh.tokenize(CAPITAL), temp=0.0)
    assert fresh.detokenize([next(stream)]) == b" Paris"
    stream.send(fresh.tokenize(b" and the capital of Germany is"))
    assert b"Germany" in fresh.detokenize(fresh.input_ids)
    stream.close()


def test_generate_with_processors_criteria_and_a_grammar(fresh: Llama) -> None:
    ids = fresh.tokenize(CAPITAL)
    stopped = list(fresh.generate(ids, temp=0.0, stopping_criteria=lambda seen, logits: len(seen) >= 8))
    assert len(stopped) == 8 - len(ids)
    paris = fresh.tokenize(b" Paris")[0]

    def processor(seen: Any, scores: Any) -> Any:
        scores[paris] = -np.inf
        return scores

    assert next(fresh.generate(ids, temp=0.0, logits_processor=[processor])) != paris
    city = takewhile(
        lambda t: t != fresh.token_eos(), fresh.generate(ids, temp=0.0, grammar='root ::= " Oslo"')
    )
    assert fresh.detokenize(list(city)) == b" Oslo"


def test_sampling_parameters_of_sample(fresh: Llama) -> None:
    fresh.eval(fresh.tokenize(b"Once upon a"))
    open_settings: dict[str, Any] = {"temp": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert len({fresh.sample(**open_settings) for _ in range(12)}) > 1
    for narrow in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temp": 0.0}):
        assert len({fresh.sample(**{**open_settings, **narrow}) for _ in range(6)}) == 1
    with pytest.raises(UnsupportedCapabilityError, match="penalize_nl"):
        fresh.sample(penalize_nl=False)
    with pytest.raises(InvalidParameterError, match="tfs_z"):
        fresh.sample(tfs_z=0.5)


def test_scores_with_logits_all(smollm2_path: Path) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, logits_all=True) as llm:
        ids = llm.tokenize(CAPITAL)
        llm.eval(ids)
        scores = llm.scores
        assert scores.shape == (len(ids), llm.n_vocab())
        assert scores.dtype == np.float32
        assert len(llm.eval_logits) == len(ids)
        assert llm.detokenize([int(scores[-1].argmax())]) == b" Paris"
        assert llm.sample(temp=0.0, idx=1) == int(scores[1].argmax())
        assert llm.sample(temp=0.0, idx=len(ids) - 1) == int(scores[-1].argmax())
        llm.reset()
        assert llm.scores.shape == (0, llm.n_vocab())


def test_scores_need_logits_all(fresh: Llama) -> None:
    fresh.eval(fresh.tokenize(CAPITAL))
    with pytest.raises(UnsupportedCapabilityError, match="logits_all"):
        _ = fresh.scores
    with pytest.raises(UnsupportedCapabilityError, match="logits_all"):
        fresh.sample(idx=0)
    with pytest.raises(InvalidParameterError, match="idx"):
        fresh.sample(idx=99)


def test_a_full_context_is_an_error(fresh: Llama) -> None:
    with pytest.raises(ContextOverflowError):
        fresh.eval([500] * 300)
    with pytest.raises(InvalidParameterError, match=r"tokens\[0\]"):
        fresh.eval([-1])


def test_it_works_beside_the_engine(fresh: Llama) -> None:
    stream = fresh.generate(fresh.tokenize(CAPITAL), temp=0.0)
    first = next(stream)
    assert fresh("1, 2, 3,", max_tokens=2, temperature=0)["choices"][0]["text"]
    assert next(stream) != first
    stream.close()


def test_closing_ends_it(smollm2_path: Path) -> None:
    llm = Llama(smollm2_path, n_ctx=256, n_parallel=1)
    stream = llm.generate(llm.tokenize(CAPITAL))
    next(stream)
    llm.close()
    with pytest.raises(EngineClosedError):
        next(stream)
    with pytest.raises(EngineClosedError):
        llm.eval([5])


@pytest.mark.parametrize("idx", [1.5, True, "0", 7, -7])
def test_places_that_are_none(fresh: Llama, idx: Any) -> None:
    fresh.eval(fresh.tokenize(CAPITAL))
    with pytest.raises(InvalidParameterError, match="idx"):
        fresh.sample(idx=idx)


def test_reset_is_true_or_false(fresh: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="reset"):
        next(fresh.generate(fresh.tokenize(CAPITAL), reset="no"))  # type: ignore[arg-type]


def test_static_helpers() -> None:
    logits = np.array([[1.0, 2.0, -np.inf], [0.0, 0.0, 0.0]], dtype=np.float32)
    found = Llama.logits_to_logprobs(logits)
    assert found.dtype == np.float32
    assert np.exp(found).sum(axis=-1) == pytest.approx([1, 1])
    assert found[1] == pytest.approx([-np.log(3)] * 3)
    assert (Llama.longest_token_prefix([1, 2, 3], [1, 2, 4]), Llama.longest_token_prefix([], [1])) == (2, 0)
