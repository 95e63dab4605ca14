"""One function that shows anything this package returns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from llamacpp_core.display.chat import chat_html
from llamacpp_core.display.facts import info_html
from llamacpp_core.display.live import jupyter_display
from llamacpp_core.display.markup import Html, escape, fragment, join, terminal_text
from llamacpp_core.display.timings import timings_html
from llamacpp_core.display.tokens import tokens_html
from llamacpp_core.display.vectors import embedding_html, rerank_html
from llamacpp_core.errors import InvalidParameterError

__all__ = ["picture", "show"]


def show(*values: Any) -> None:
    """Shows values: in a notebook as pictures, elsewhere as text on stdout.

    Args:
        values: Responses of completions, chat completions and embeddings, ranked documents, chat messages,
            arrays of vectors, a ``Llama`` or its ``info``, and what the ``*_html`` functions return.

    Raises:
        InvalidParameterError: A value is something else.
    """
    display = jupyter_display()
    for html in [picture(value) for value in values]:
        if display is None:
            sys.stdout.write(html.text + "\n")
        else:
            display(html)


def picture(value: Any) -> Html:
    """The fragment that shows a value; see :func:`show`.

    Raises:
        InvalidParameterError: There is none for it.
    """
    from llamacpp_core.engine.info import ModelInfo

    if isinstance(value, Html):
        return value
    if isinstance(value, ModelInfo):
        return info_html(value)
    if isinstance(getattr(value, "info", None), ModelInfo):  # a Llama
        return info_html(value.info, closed=bool(getattr(value, "_closed", False)))
    if isinstance(value, Mapping):
        return _mapping(value)
    if hasattr(value, "__array__"):
        return embedding_html(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        first = value[0]
        if isinstance(first, Mapping) and "relevance_score" in first:
            return rerank_html(value)
        if isinstance(first, Mapping) and "role" in first:
            return chat_html(value)
        if not isinstance(first, str | Mapping):
            return embedding_html(value)
    raise InvalidParameterError(
        f"there is no picture of this {type(value).__name__}: show takes responses, messages, embeddings, "
        "ranked documents and models",
        parameter="values",
    )


def _mapping(value: Mapping[str, Any]) -> Html:
    kind = value.get("object")
    if kind == "list":
        return embedding_html(value)
    if kind in ("chat.completion", "text_completion"):
        return _completion(value)
    if "role" in value:
        return chat_html(value)
    if "predicted_n" in value:
        return timings_html(value)
    raise InvalidParameterError(f"there is no picture of this dict: object={kind!r}", parameter="values")


def _completion(response: Mapping[str, Any]) -> Html:
    if response["object"] == "chat.completion":
        parts = [chat_html(response)]
    else:
        texts = [choice["text"] for choice in response["choices"]]
        body = "".join(f'<div class="lcpp-msg lcpp-text" dir="auto">{escape(text)}</div>' for text in texts)
        parts = [fragment(body, terminal_text("\n\n".join(texts)))]
    parts += [
        tokens_html(response, index=choice["index"])
        for choice in response["choices"]
        if any((choice.get("logprobs") or {}).get(key) for key in ("content", "tokens"))
    ]
    if (response.get("timings") or {}).get("predicted_n") is not None:
        parts.append(timings_html(response))
    return join(*parts)
