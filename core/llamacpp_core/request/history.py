"""A conversation in other forms that say the same, for templates that cannot take it as it is."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Sequence
from typing import Any

from llamacpp_core.response.tool_calls import CALL_CLOSE, CALL_OPEN

__all__ = [
    "as_text",
    "calls_apart",
    "generic_history",
    "merged",
    "plain",
    "short_call_ids",
    "told_history",
    "with_instructions",
]

Messages = list[dict[str, Any]]

_ID_CHARACTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9


def as_text(content: Any) -> str:
    """Text content as one string; each part on its own line."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _joined(one: Any, other: Any) -> Any:
    """Both contents in one message."""
    if _is_text(one) and _is_text(other):
        return "\n\n".join(filter(None, (as_text(one), as_text(other))))
    return [*_parts(one), *_parts(other)]


def _is_text(content: Any) -> bool:
    return not isinstance(content, list) or all(part["type"] == "text" for part in content)


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def merged(messages: Messages) -> Messages:
    """For templates that want strictly alternating roles: neighbours of one role become one message."""
    out: Messages = []
    for message in messages:
        if out and out[-1]["role"] == message["role"] and message["role"] != "tool":
            both = out[-1] | {key: value for key, value in message.items() if key != "content"}
            calls = [*out[-1].get("tool_calls", ()), *message.get("tool_calls", ())]
            both["content"] = _joined(out[-1]["content"], message["content"])
            out[-1] = both | ({"tool_calls": calls} if calls else {})
        else:
            out.append(message)
    return out


def short_call_ids(messages: Messages) -> Messages:
    """For templates that take only ids of nine letters and digits: equal ids stay equal."""

    def short(call_id: str) -> str:
        if len(call_id) == _ID_LENGTH and call_id.isascii() and call_id.isalnum():
            return call_id
        digest = hashlib.sha1(call_id.encode(), usedforsecurity=False).digest()
        return "".join(_ID_CHARACTERS[byte % len(_ID_CHARACTERS)] for byte in digest[:_ID_LENGTH])

    out: Messages = []
    for message in messages:
        if message.get("tool_calls"):
            calls = [call | {"id": short(call["id"])} for call in message["tool_calls"]]
            message = message | {"tool_calls": calls}
        if "tool_call_id" in message:
            message = message | {"tool_call_id": short(message["tool_call_id"])}
        out.append(message)
    return out


def calls_apart(messages: Messages) -> Messages:
    """For templates that drop what was said beside a call: that becomes a message of its own."""
    out: Messages = []
    for message in messages:
        if message.get("tool_calls") and as_text(message["content"]):
            out.append({"role": "assistant", "content": message["content"]})
            message = message | {"content": None}
        out.append(message)
    return out


def plain(messages: Messages) -> Messages:
    """For templates that know users and assistants only: all else is written into their turns."""
    out: Messages = []
    for message in generic_history(messages):
        if message["role"] == "system":
            message = {"role": "user", "content": message["content"]}
        out.append(message)
    made = merged(out)
    if made[0]["role"] == "assistant":
        made.insert(0, {"role": "user", "content": ""})
    return made


def generic_history(messages: Sequence[dict[str, Any]]) -> Messages:
    """Calls and their results as text, for templates without a place for them."""
    out: Messages = []
    for message in messages:
        if message.get("tool_calls"):
            calls = "\n".join(
                CALL_OPEN
                + json.dumps({"name": c["function"]["name"]}, ensure_ascii=False)[:-1]
                + f', "arguments": {c["function"]["arguments"]}}}'
                + CALL_CLOSE
                for c in message["tool_calls"]
            )
            content = "\n".join(filter(None, (as_text(message["content"]), calls)))
            kept = {key: value for key, value in message.items() if key != "tool_calls"}
            out.append(kept | {"content": content})
        elif message["role"] == "tool":
            name = f" of {message['name']}" if message.get("name") else ""
            heading = f"Result{name}:"
            content = message["content"]
            out.append({"role": "user", "content": _under(heading, content)})
        else:
            out.append(message)
    return out


def told_history(messages: Sequence[dict[str, Any]]) -> Messages:
    """:func:`generic_history` for an answer that must not call: no turn shows how a call is written.

    A call is named above its result instead. Kept from the tags alone, a small model would imitate the rest.
    """
    named: dict[str, str] = {}
    out: Messages = []
    for message in messages:
        if message.get("tool_calls"):
            for made in message["tool_calls"]:
                named[made["id"]] = f"{made['function']['name']}({made['function']['arguments']})"
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            if not as_text(message["content"]):
                continue
        elif message["role"] == "tool":
            heading = (
                f"Result of {named.get(message.get('tool_call_id', ''), message.get('name', 'a tool'))}:"
            )
            message = {"role": "user", "content": _under(heading, message["content"])}
        out.append(message)
    return out


def _under(heading: str, content: Any) -> Any:
    if _is_text(content):
        return f"{heading}\n{as_text(content)}"
    return [{"type": "text", "text": heading}, *_parts(content)]


def with_instructions(messages: Messages, instructions: str) -> Messages:
    """The conversation with instructions in its system message."""
    first = messages[0]
    if first["role"] == "system":
        return [first | {"content": _joined(first["content"], instructions)}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
