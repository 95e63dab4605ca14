"""Plots: what they draw, checked on the axes."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from llamacpp_core.display import plot
from llamacpp_core.errors import InvalidParameterError


@pytest.fixture
def ax() -> Any:
    return Figure().add_subplot()


def completion(*probabilities: float) -> dict[str, Any]:
    n = len(probabilities)
    logprobs = {
        "tokens": [f"$t{i}" for i in range(n)],
        "token_logprobs": [math.log(p) for p in probabilities],
        "top_logprobs": [{}] * n,
        "text_offset": [0] * n,
    }
    return {"choices": [{"index": 0, "text": "", "logprobs": logprobs}]}


def test_token_probabilities(ax: Any) -> None:
    assert plot.token_probabilities(completion(0.9, 0.1), ax=ax) is ax
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.9, 0.1])
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()
    assert [label.get_text() for label in ax.get_xticklabels()] == [r"\$t0", r"\$t1"]
    ax.figure.savefig(io.BytesIO(), format="png")
    with pytest.raises(InvalidParameterError, match="121 tokens"):
        plot.token_probabilities(completion(*[0.5] * 121))


@pytest.mark.parametrize(
    "rows",
    [
        {8: 30.0, 1: 10.0},
        [{"concurrency": 1, "tokens_per_second": 10.0}, {"concurrency": 8, "tokens_per_second": 30.0}],
    ],
)
def test_throughput(rows: Any, ax: Any) -> None:
    plot.throughput(rows, label="a", ax=ax)
    assert ax.lines[0].get_xdata().tolist() == [1, 8]
    assert ax.lines[0].get_ydata().tolist() == [10, 30]
    plot.throughput({1: 50, 2: 60}, label="b", ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "8"]
    assert ax.get_ylim() == (0, pytest.approx(67.2))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize("rows", [{}, [], [{}], {0: 1.0}, None, 5, {"choices": []}, {1: None}])
def test_throughput_refuses_other_rows(rows: Any, ax: Any) -> None:
    with pytest.raises(InvalidParameterError, match="rows"):
        plot.throughput(rows, ax=ax)


def test_similarity_matrix(ax: Any) -> None:
    plot.similarity_matrix(np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]), ["a", "b", "c"], ax=ax)
    shown = ax.images[0].get_array()
    root = math.sqrt(0.5)
    assert np.allclose(shown, [[1, 0, root], [0, 1, root], [root, root, 1]])
    assert [text.get_text() for text in ax.texts][:3] == ["1.00", "0.00", "0.71"]
    with pytest.raises(InvalidParameterError, match="labels"):
        plot.similarity_matrix([[1.0, 2.0]], ["a", "b"], ax=ax)
    with pytest.raises(InvalidParameterError, match="at least one"):
        plot.similarity_matrix([], ax=ax)


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from llamacpp_core import MissingDependencyError\nfrom llamacpp_core.display import plot\n"
        "try:\n    plot.throughput({1: 1.0})\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "llamacpp-integrations[plot]" in done.stdout
