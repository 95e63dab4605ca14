"""The README's table of llama-cpp-python's chat API: its names exist here."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from llamacpp_core import Llama

README = Path(__file__).resolve().parents[2] / "README.md"
ROWS = re.findall(r"^\| (.+) \| (.+) \| (?:yes|in part) \|$", README.read_text("utf-8"), re.MULTILINE)
PARAMETERS = re.findall(
    r"\w+",
    """
    functions function_call tools tool_choice temperature top_p top_k min_p typical_p stream stop seed
    response_format max_tokens presence_penalty frequency_penalty repeat_penalty tfs_z mirostat_mode
    mirostat_tau mirostat_eta model logits_processor grammar logit_bias
    """,
)


def named(text: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", text)


def test_every_parameter_has_a_row_and_is_taken() -> None:
    taken = list(inspect.signature(Llama.create_chat_completion).parameters)
    assert [name for name in taken if name in PARAMETERS] == PARAMETERS  # in the same order
    told = [name for there, _ in ROWS for name in named(there)]
    assert set(PARAMETERS) <= set(told)
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("there", "module"),
    [(there, found[1]) for there, here in ROWS if (found := re.search("same names in `([^`]+)`", here))],
)
def test_names_are_where_the_row_says(there: str, module: str) -> None:
    for name in named(there):
        if name == "format_messages":
            from llamacpp_core.chat_format import Jinja2ChatFormatter

            assert callable(Jinja2ChatFormatter.format_messages)
        else:
            assert hasattr(importlib.import_module(module), name), name


def test_dotted_names_exist() -> None:
    dotted = [name for _, here in ROWS for name in named(here) if name.startswith("llamacpp_core.")]
    assert len(dotted) > 10
    for name in dotted:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
