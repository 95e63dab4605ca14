"""A conversation as a transcript."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llamacpp_core.display.markup import Html, escape, fragment, terminal_text
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError

__all__ = ["chat_html", "message_parts"]

_ROLE = re.compile(r"[a-z]{1,12}")
# An image that is in the message itself. Addresses are not loaded: showing must not tell anybody.
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")


def chat_html(messages: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Html:
    """A transcript of a conversation.

    Args:
        messages: OpenAI chat messages, one message, or the response of ``create_chat_completion``.

    Raises:
        InvalidMessageError: A message is not a dict.
        InvalidParameterError: Something else was given.
    """
    blocks, lines = [], []
    for message, note in _messages(messages):
        block, text = message_parts(message, note)
        blocks.append(block)
        lines.append(text)
    return fragment("".join(blocks), "\n\n".join(lines))


def _messages(given: Any) -> list[tuple[Mapping[str, Any], str]]:
    if isinstance(given, Mapping) and "choices" in given:
        several = len(given["choices"]) > 1
        out = []
        for choice in given["choices"]:
            if "message" not in choice:
                raise InvalidParameterError(
                    "this response holds no message: chat_html takes chat messages and whole chat responses",
                    parameter="messages",
                )
            note = f"answer {choice['index'] + 1}" if several else ""
            out.append((choice["message"], ", ".join(filter(None, (note, _reason(choice))))))
        return out
    given = [given] if isinstance(given, Mapping) else given
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidParameterError(
            f"messages must be a list of chat messages, got {type(given).__name__}", parameter="messages"
        )
    for index, message in enumerate(given):
        if not isinstance(message, Mapping):
            raise InvalidMessageError(
                f"messages[{index}] must be a dict, got {type(message).__name__}",
                parameter=f"messages[{index}]",
                index=index,
            )
    return [(message, "") for message in given]


def _reason(choice: Mapping[str, Any]) -> str:
    return "cut off: the limit of tokens was reached" if choice.get("finish_reason") == "length" else ""


def message_parts(message: Mapping[str, Any], note: str = "") -> tuple[str, str]:
    """A message as HTML without the style sheet, and as text.

    Args:
        message: An OpenAI chat message.
        note: What to say about it.
    """
    role = str(message.get("role") or "assistant")
    name = message.get("name") or message.get("tool_call_id")
    label = f"{role} {name}" if name else role
    body, lines = [], []
    if reasoning := message.get("reasoning_content"):
        body.append(
            f'<details><summary>thinking</summary><div class="lcpp-text lcpp-dim" dir="auto">'
            f"{escape(reasoning)}</div></details>"
        )
        lines.append(f"(thinking) {reasoning}")
    for part in _content(message.get("content")):
        html, text = _part(part)
        body.append(html)
        lines.append(text)
    for function in _calls(message):
        html, text = _call(function)
        body.append(html)
        lines.append(text)
    if note:
        body.append(f'<div class="lcpp-dim">{escape(note)}</div>')
        lines.append(f"({note})")
    style = f" lcpp-{role}" if _ROLE.fullmatch(role) else ""
    html = f'<div class="lcpp-msg{style}"><div class="lcpp-role">{escape(label)}</div>{"".join(body)}</div>'
    indented = "\n".join("  " + line for line in terminal_text("\n".join(lines)).split("\n"))
    return html, f"{terminal_text(label)}\n{indented}"


def _content(content: Any) -> list[Any]:
    if content is None or content == "":
        return []
    return list(content) if isinstance(content, Sequence) and not isinstance(content, str) else [content]


def _part(part: Any) -> tuple[str, str]:
    if isinstance(part, Mapping) and part.get("type") == "image_url":
        image = part.get("image_url")
        url = image.get("url", "") if isinstance(image, Mapping) else image
        if isinstance(url, str) and _IMAGE.fullmatch(url):
            return f'<img class="lcpp-img" alt="image" src="{escape(url)}">', "[image]"
        return f'<div class="lcpp-dim">[image: {escape(url)}]</div>', f"[image: {url}]"
    if isinstance(part, Mapping) and part.get("type") in ("input_audio", "audio"):
        return '<div class="lcpp-dim">[audio]</div>', "[audio]"
    text = part["text"] if isinstance(part, Mapping) and isinstance(part.get("text"), str) else part
    if not isinstance(text, str):
        text = json.dumps(text, ensure_ascii=False, indent=2, default=str)
    return f'<div class="lcpp-text" dir="auto">{escape(text)}</div>', text


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    if message.get("function_call") and not calls:  # the older form; a response may hold both
        calls.append(message["function_call"])
    return calls


def _call(function: Mapping[str, Any]) -> tuple[str, str]:
    name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
        pretty = json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, TypeError, RecursionError):
        pretty = str(arguments)  # a call that was cut off
    return (
        f'<div><span class="lcpp-chip">call</span><b>{escape(name)}</b></div>'
        f'<pre class="lcpp-code" dir="ltr">{escape(pretty)}</pre>',
        f"call {name}({arguments if isinstance(arguments, str) else pretty})",
    )
