from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Model, Sampler


@pytest.mark.parametrize(
    "build",
    [
        lambda s: s.top_k(0),
        lambda s: s.top_k(1.5),
        lambda s: s.top_p(1.5),
        lambda s: s.top_p(float("nan")),
        lambda s: s.top_p("0.9"),
        lambda s: s.min_p(-0.1),
        lambda s: s.min_p(0.1, min_keep=-1),
        lambda s: s.typical(2),
        lambda s: s.temp(-1.0),
        lambda s: s.temp(math.inf),
        lambda s: s.temp_ext(1.0, -1.0),
        lambda s: s.xtc(2.0, 0.1),
        lambda s: s.xtc(0.5, 0.6),
        lambda s: s.top_n_sigma(0.0),
        lambda s: s.mirostat(tau=0.0),
        lambda s: s.mirostat(m=1),
        lambda s: s.mirostat_v2(eta=-1.0),
        lambda s: s.adaptive_p(1.5),
        lambda s: s.adaptive_p(0.5, decay=1.0),
        lambda s: s.penalties(-1),
        lambda s: s.penalties(repeat=0.0),
        lambda s: s.penalties(frequency=math.inf),
        lambda s: s.dry(-1.0),
        lambda s: s.dry(base=0.5),
        lambda s: s.dry(sequence_breakers=["x" * 41]),
        lambda s: s.dry(sequence_breakers=[""]),
        lambda s: s.dry(sequence_breakers="\n"),
        lambda s: s.logit_bias({}),
        lambda s: s.logit_bias({10**9: 1.0}),
        lambda s: s.logit_bias({1: math.nan}),
        lambda s: s.logit_bias({1: math.inf}),
        lambda s: s.dist(seed=-1),
        lambda s: s.dist(seed=2**32 - 1),
    ],
)
def test_bad_arguments(model: Model, build: Callable[[Sampler], Sampler]) -> None:
    with Sampler(model) as sampler:
        with pytest.raises(errors.InvalidParameterError):
            build(sampler)
        assert len(sampler) == 0
