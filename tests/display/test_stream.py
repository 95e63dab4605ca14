"""Answers that are shown while they come."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from llamacpp_core import Llama
from llamacpp_core.display import Streamed, astream, live, stream
from llamacpp_core.errors import InvalidParameterError

USER = [{"role": "user", "content": "Say hello."}]


class Notebook:
    """IPython inside a kernel, as far as the display protocol goes: keeps every state of every output."""

    def __init__(self) -> None:
        self.outputs: list[list[dict[str, str]]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        states = [bundle]
        self.outputs.append(states)

        def update(bundle: dict[str, str], *, raw: bool) -> None:
            assert raw
            states.append(bundle)

        return types.SimpleNamespace(update=update)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    monkeypatch.setattr(live, "jupyter_display", lambda: made.display)
    monkeypatch.setattr(live, "_REFRESH", 0.0)
    return made


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def test_terminal(llm: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    answer = stream(llm.create_chat_completion(USER, max_tokens=6, stream=True, temperature=0))
    assert capsys.readouterr() == (f"{answer}\n", "")
    whole = llm.create_chat_completion(USER, max_tokens=6, temperature=0)
    assert answer == whole["choices"][0]["message"]["content"]
    assert answer.message == {"role": "assistant", "content": answer}
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage["completion_tokens"] == answer.timings["predicted_n"] == 6


def test_text_completion_and_strings(llm: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    answer = stream(llm.create_completion("Once upon", max_tokens=3, stream=True))
    assert answer.timings is not None
    assert stream(iter(["a", "\x1b[2J", "c"])) == "a\x1b[2Jc"
    assert capsys.readouterr().out == f"{answer}\na␛[2Jc\n"


def test_one_output_of_a_notebook_is_updated(llm: Llama, notebook: Notebook) -> None:
    answer = stream(llm.create_chat_completion(USER, max_tokens=6, stream=True))
    (states,) = notebook.outputs
    assert len(states) > 4
    assert all(set(state) == {"text/plain", "text/html"} for state in states)
    assert "tokens/s" in states[-1]["text/html"]
    assert "…" not in states[-1]["text/html"].replace(str(answer), "")
    assert answer.split()[0] in states[-1]["text/plain"]
    assert answer._ipython_display_() is None  # it is not shown a second time


def test_thinking_and_calls(notebook: Notebook) -> None:
    pieces = [
        delta(role="assistant", content=""),
        delta(reasoning_content="<b>"),
        delta(content="Hi"),
        delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        {"choices": [], "usage": {"total_tokens": 3}},
    ]
    answer = stream(pieces)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    expected = {"role": "assistant", "content": "Hi", "reasoning_content": "<b>", "tool_calls": [call]}
    assert answer.message == expected
    assert answer.usage == {"total_tokens": 3}
    html = notebook.outputs[0][-1]["text/html"]
    assert "&lt;b&gt;" in html
    assert "&quot;a&quot;: 1" in html


def test_thinking_and_calls_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    stream(
        [
            delta(reasoning_content="Hm"),
            delta(reasoning_content="."),
            delta(content="Hi"),
            delta(tool_calls=[call]),
        ]
    )
    assert capsys.readouterr().out == "(thinking) Hm.\n\nHi\ncall f({})\n"


def test_an_interrupted_stream_is_closed_and_says_so(notebook: Notebook) -> None:
    closed = []

    def pieces() -> Iterator[str]:
        try:
            yield "half"
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        stream(pieces())
    assert closed == [True]
    assert "stopped" in notebook.outputs[0][-1]["text/html"]


def test_an_error_frees_the_slot(llm: Llama, notebook: Notebook) -> None:
    chunks = llm.create_chat_completion(USER, max_tokens=200, stream=True, n=2)
    with pytest.raises(InvalidParameterError, match="n=1"):
        stream(chunks)
    assert list(chunks) == []


@pytest.mark.parametrize(
    ("pieces", "match"), [([3], "not int"), ([{"choices": [{"message": {}}]}], "stream=True")]
)
def test_other_pieces_are_refused(pieces: list[Any], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidParameterError, match=match):
        stream(pieces)


async def test_coroutines(llm: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    answer = await astream(await llm.acreate_chat_completion(USER, max_tokens=4, stream=True))
    assert isinstance(answer, Streamed)
    assert capsys.readouterr().out == f"{answer}\n"


def test_a_real_kernel_shows_one_output_and_no_echo(smollm2_path: Any, tmp_path: Any) -> None:
    code = (
        "from llamacpp_core import Llama\nfrom llamacpp_core.display import show, stream\n"
        f"llm = Llama({str(smollm2_path)!r}, n_ctx=256, n_parallel=1)\n"
        "stream(llm.create_completion('Hello', max_tokens=4, stream=True))"
    )
    cells = [nbformat.v4.new_code_cell(text) for text in (code, "show(llm.info)", "llm", "llm.close()")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute(cwd=str(tmp_path))
    kinds = [[output["output_type"] for output in cell["outputs"]] for cell in notebook["cells"]]
    assert kinds == [["display_data"], ["display_data"], ["execute_result"], []]
    for cell in notebook["cells"][:3]:
        assert "lcpp" in cell["outputs"][0]["data"]["text/html"]
        assert "<" not in cell["outputs"][0]["data"]["text/plain"].removeprefix("<Llama")


def test_a_terminal_with_ipython_gets_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert live.jupyter_display() is None
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert live.jupyter_display() is None


@pytest.mark.parametrize(
    "pieces", [None, 5, {"choices": []}, object()], ids=["none", "number", "whole", "object"]
)
async def test_what_is_no_stream_is_left_alone(pieces: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        stream(pieces)
    assert caught.value.parameter == "pieces"
    with pytest.raises(InvalidParameterError):
        await astream(pieces)
    assert capsys.readouterr().out == ""


def test_a_model_is_no_stream_and_stays_open(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="not Llama"):
        stream(llm)  # type: ignore[arg-type]
    assert llm("Hi", max_tokens=1)
