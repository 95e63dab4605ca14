"""Fragments: safe against HTML in what models say, self-contained, and readable as text."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from llamacpp_core import Llama, display
from llamacpp_core.display.show import picture
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError

EVIL = "</div></style><script>alert(1)</script><img src=x onerror='y'>\"'&\x1b[31m\ud800"
USER = [{"role": "user", "content": "Say hello."}]


def logprob(token: str, probability: float, **others: float) -> dict[str, Any]:
    top = {token: probability, **others}
    return {
        "token": token,
        "logprob": math.log(probability),
        "bytes": None,
        "top_logprobs": [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in top.items()],
    }


def chat_response(*entries: dict[str, Any], text: str = "x") -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": list(entries)} if entries else None,
        "finish_reason": "stop",
    }
    return {"object": "chat.completion", "choices": [choice]}


TIMINGS = {"prompt_n": 1200, "prompt_ms": 800.0, "predicted_n": 1, "predicted_ms": 1400.0, "cache_n": 7}

FRAGMENTS: dict[str, Callable[[str], display.Html]] = {
    "content": lambda s: display.chat_html([{"role": "user", "content": s}]),
    "role": lambda s: display.chat_html([{"role": s, "content": "x"}]),
    "name": lambda s: display.chat_html([{"role": "user", "name": s, "content": "x"}]),
    "parts": lambda s: display.chat_html(
        {"role": "user", "content": [{"type": "text", "text": s}, {"other": s}]}
    ),
    "image": lambda s: display.chat_html(
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{s}"}}],
        }
    ),
    "reasoning": lambda s: display.chat_html(
        [{"role": "assistant", "reasoning_content": s, "content": None}]
    ),
    "call": lambda s: display.chat_html(
        [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": s, "arguments": s}}]}]
    ),
    "function_call": lambda s: display.chat_html(
        [
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": s, "arguments": json.dumps({s: s})},
            }
        ]
    ),
    "token": lambda s: display.tokens_html(chat_response(logprob(s, 0.5, **{s + "2": 0.25}))),
    "embedding label": lambda s: display.embedding_html([[1.0, 2.0]], [s]),
    "document": lambda s: display.rerank_html([{"index": 0, "relevance_score": 0.5}], [s]),
    "response": lambda s: picture(chat_response(text=s)),
}


class Structure(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def structure(html: str) -> Structure:
    parser = Structure()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("name", FRAGMENTS)
def test_html_in_text_stays_text(name: str) -> None:
    fragment = FRAGMENTS[name](EVIL)
    found, plain = structure(fragment), structure(FRAGMENTS[name]("x"))
    assert found.tags <= plain.tags | {"div"}
    assert "script" not in found.tags
    assert not [a for a, _ in found.attributes if a.startswith("on")]
    assert all(value.startswith("data:image/png;base64,") for a, value in found.attributes if a == "src")
    assert "&lt;script&gt;" in fragment or "script" not in fragment
    for shown in (str(fragment), fragment.text):
        assert "\x1b" not in shown
        shown.encode("utf-8")


@pytest.mark.parametrize("name", FRAGMENTS)
def test_no_text_turns_the_direction_of_writing_round(name: str) -> None:
    evil = "\u202egpj.exe\u202c \u2066x\u2069"
    fragment = FRAGMENTS[name](evil)
    for shown in (str(fragment), fragment.text):
        assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    hebrew = "\u05e9\u05dc\u05d5\u05dd \u200f!"
    assert name == "image" or hebrew in FRAGMENTS[name](hebrew)  # an image's data is no text


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_load_and_run_nothing(name: str) -> None:
    fragment = FRAGMENTS[name]("https://example.org/x.png")
    assert not [a for a, value in structure(fragment).attributes if a in ("src", "href") and "http" in value]
    assert "url(" not in fragment
    assert "@import" not in fragment


def test_a_fragment_shows_itself() -> None:
    fragment = display.chat_html([{"role": "user", "content": "<b>"}])
    assert fragment._repr_mimebundle_() == {"text/plain": "user\n  <b>", "text/html": str(fragment)}
    assert repr(fragment) == "user\n  <b>"
    assert fragment._repr_html_() == str(fragment) == fragment.__html__()


def test_colours_come_from_the_page() -> None:
    """No colour of text or background is fixed, so that dark and light pages both work."""
    style = re.search(r"<style>(.*?)</style>", display.chat_html(USER), re.DOTALL)
    assert style is not None
    assert set(re.findall(r"[^-]color:\s*([^;]+);", style[1])) == {"inherit"}
    assert not re.findall(r"#[0-9a-f]{3,6}\b|\b(?:white|black|gr[ae]y)\b(?!-)", style[1])


def test_transcript_tells_roles_calls_thinking_and_cuts() -> None:
    arguments = '{"city": "Paris"}'
    message = {
        "role": "assistant",
        "content": "Wait.",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        ],
    }
    response = {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    text = display.chat_html(response).text
    assert text == (
        'assistant\n  (thinking) Hm.\n  Wait.\n  call weather({"city": "Paris"})\n'
        "  (cut off: the limit of tokens was reached)"
    )


def test_an_image_of_the_message_is_shown_and_one_from_elsewhere_is_not_loaded() -> None:
    data = "data:image/png;base64," + base64.b64encode(b"x").decode()
    for url, shown in ((data, True), ("https://example.org/a.png", False), ("javascript:alert(1)", False)):
        part = {"type": "image_url", "image_url": {"url": url}}
        html = display.chat_html({"role": "user", "content": [part]})
        assert ("<img" in html) is shown


@pytest.mark.parametrize("messages", [None, "text", 3, [1], [USER]])
def test_chat_refuses_what_is_not_a_conversation(messages: Any) -> None:
    with pytest.raises((InvalidParameterError, InvalidMessageError), match="messages"):
        display.chat_html(messages)


def test_token_strip_tells_probabilities() -> None:
    response = chat_response(logprob(" the", 0.9, a=0.05), logprob("\n", 0.004, cat=0.6))
    html = display.tokens_html(response)
    assert html.text.splitlines() == [
        "2 tokens · perplexity 16.7 · least likely 0.4%",
        "␣the  90.0%  a 5.0%",
        "↵      0.4%  cat 60.0%",
    ]
    assert html.count('class="lcpp-alt"') == 2
    assert len(re.findall("width:60.0%", html)) == 1
    low, high = re.findall(r'class="lcpp-tok[^"]*" style="background:rgba\(var\(--l-(\w+)\)', html)[::-1]
    assert (low, high) == ("low", "high")
    assert html.count("lcpp-first") - html.count(".lcpp-first") == 1  # the least likely one is open


def test_tokens_of_a_text_completion_and_of_chunks(llm: Llama) -> None:
    whole = llm.create_completion("Once upon", max_tokens=3, logprobs=2, echo=True, seed=1)
    tokens = display.token_choices(whole)
    assert tokens[0].logprob is None
    assert tokens[0].probability is None
    assert all(0 < token.probability <= 1 for token in tokens[1:])
    assert "".join(token.token for token in tokens) == whole["choices"][0]["text"]
    asked = {"max_tokens": 3, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    chunks = list(llm.create_chat_completion(USER, stream=True, **asked))
    streamed = display.token_choices(chunks)
    assert len(streamed) == 3
    assert all(len(token.alternatives) == 2 for token in streamed)
    assert display.tokens_html(chunks).text.startswith("3 tokens")


@pytest.mark.parametrize(
    ("response", "index", "match"),
    [
        (chat_response(), 0, "logprobs=True"),
        (chat_response(logprob("a", 1)), 1, "index=1"),
        ([3], 0, "response"),
    ],
)
def test_tokens_refuse_what_holds_none(response: Any, index: int, match: str) -> None:
    with pytest.raises(InvalidParameterError, match=match):
        display.tokens_html(response, index=index)


def test_timings() -> None:
    fragment = display.timings_html({"timings": TIMINGS})
    assert fragment.text.splitlines() == [
        "prompt     1,200 tokens    800 ms  1,500 tokens/s",
        "generated       1 token    1.40 s  1 tokens/s",
        "7 more tokens of the prompt came from the cache",
    ]
    assert "width:36.4%" in fragment
    with pytest.raises(InvalidParameterError, match="timings"):
        display.timings_html({"choices": []})


def test_embedding_strip_is_a_png_with_a_pixel_per_dimension() -> None:
    import io

    from PIL import Image

    fragment = display.embedding_html(np.array([[1.0, -1.0, 0.0, 0.5]]), ["one"])
    source = re.search(r"data:image/png;base64,([^\"]+)", fragment)
    assert source is not None
    image = Image.open(io.BytesIO(base64.b64decode(source[1])))
    assert (image.size, image.mode) == ((4, 1), "RGBA")
    pixels = [image.getpixel((x, 0)) for x in range(4)]
    assert [pixel[3] for pixel in pixels] == [255, 255, 0, 128]
    assert pixels[0][2] > pixels[0][0]
    assert pixels[1][0] > pixels[1][2]


@pytest.mark.parametrize("vectors", ["text", [[1.0], [1.0, 2.0]], np.zeros((1, 1, 1)), {"object": "x"}])
def test_embeddings_refuse_what_are_no_vectors(vectors: Any) -> None:
    with pytest.raises(InvalidParameterError, match="vectors"):
        display.embedding_html(vectors)
    with pytest.raises(InvalidParameterError, match="labels"):
        display.embedding_html([[1.0]], ["a", "b"])


def test_many_embeddings_say_what_is_left_out() -> None:
    fragment = display.embedding_html(np.ones((60, 2)))
    assert fragment.count("<img") == 50
    assert fragment.text.endswith("… and 10 more")
    assert display.embedding_html([]).text == "0 embeddings · 0 dimensions"


def test_real_results_show_themselves(
    llm: Llama, embedder: Llama, capsys: pytest.CaptureFixture[str]
) -> None:
    response = llm.create_chat_completion(USER, max_tokens=4, logprobs=True, top_logprobs=2)
    texts = ["A cat.", "A bank."]
    values = [
        response,
        llm.create_completion("Hi", max_tokens=2, logprobs=1),
        embedder.create_embedding(texts),
        embedder.embed(texts),
        embedder.rerank("cat", texts, return_documents=True),
        USER,
        llm,
        embedder.info,
        response["timings"],
    ]
    for value in values:
        structure(picture(value))
    display.show(*values)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert str(response["choices"][0]["message"]["content"]).split("\n")[0] in shown.out
    assert "2 embeddings · 384 dimensions" in shown.out
    assert "architecture    bert" in shown.out


def test_a_model_shows_itself(smollm2_path: Any) -> None:
    with Llama(smollm2_path, vocab_only=True) as llm:
        assert llm._repr_html_() == str(display.info_html(llm.info))
        structure(llm._repr_html_() or "")
        assert llm.info._repr_mimebundle_()["text/html"] == llm._repr_html_()
        assert llm.info._repr_mimebundle_()["text/plain"].startswith(llm.info.name)
    assert "(closed)" in (llm._repr_html_() or "")
    assert Llama.__new__(Llama)._repr_html_() is None


@pytest.mark.parametrize("value", [3, "text", [], ["a"], {"object": "chat.completion.chunk"}, object()])
def test_show_refuses_what_it_does_not_know(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="no picture"):
        display.show(value)


@pytest.mark.parametrize("value", [None, 5, object(), "text"], ids=["none", "number", "object", "text"])
def test_what_holds_no_results(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="response"):
        display.token_choices(value)
    with pytest.raises(InvalidParameterError, match="results"):
        display.rerank_html(value)
