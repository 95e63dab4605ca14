"""Whether an answer that is only of use as a whole was cut off: one rule for LangChain and LlamaIndex."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamacpp_core.errors import IncompleteOutputError

__all__ = ["MessageSoFar", "check_complete"]


class MessageSoFar:
    """A message put together from the deltas of a stream.

    Attributes:
        text: The content so far.
        reasoning: The reasoning so far.
        calls: The tool calls so far, by their index.
    """

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: dict[int, dict[str, Any]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Takes in the next delta. Calls that were handed out before are not changed."""
        self.text += delta.get("content") or ""
        self.reasoning += delta.get("reasoning_content") or ""
        for piece in delta.get("tool_calls") or ():
            function = piece.get("function") or {}
            known = self.calls.get(piece["index"], {"id": "", "function": {"name": "", "arguments": ""}})
            problem = piece.get("error") or known.get("error")
            error = {"error": problem} if problem else {}
            self.calls[piece["index"]] = error | {
                "id": piece.get("id") or known["id"],
                "type": "function",
                "function": {
                    key: known["function"][key] + (function.get(key) or "") for key in ("name", "arguments")
                },
            }

    @property
    def message(self) -> dict[str, Any]:
        """The message as a whole response has it."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return message


def check_complete(message: Mapping[str, Any], finish_reason: str | None, params: Mapping[str, Any]) -> None:
    """Refuses a tool call, or an answer bound to a schema, that was cut off.

    The limit of tokens, the end of the context or a string of ``stop`` can end an answer too early. A call is
    whole once its arguments are; where several calls were forced, more might have come. An answer bound to a
    schema is whole once it is JSON. Free text is never refused.

    Args:
        message: The answer, in OpenAI's form.
        finish_reason: Why it ended; None while it is still being streamed.
        params: The arguments of the call.

    Raises:
        IncompleteOutputError: With the text so far in ``partial``.
    """
    cut = finish_reason == "length"
    if finish_reason is None or not (cut or params.get("stop")):
        return
    content: str = message.get("content") or ""
    arguments = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
    forced = params.get("tool_choice") not in (None, "auto", "none")
    if forced or arguments:
        what = "the forced tool call" if forced else "a tool call"
        parallel = params.get("parallel_tool_calls")
        needed = arguments[:1] if parallel is False else arguments
        if arguments and all(map(_is_object, needed)) and not (cut and forced and parallel):
            return
        partial = "".join(arguments) or content
    elif (params.get("response_format") or {}).get("type", "text") != "text":
        what, partial = "the answer bound to a schema", content
        if _is_json(content):
            return
    else:
        return
    after = f"{what} was cut off after {len(partial)} characters, {partial[-40:]!r}"
    if cut:
        limit = params.get("max_tokens")
        why = (
            f"{after}: raise max_tokens (now {limit}) or n_ctx, or bound the schema's strings and "
            "arrays with maxLength and maxItems"
        )
    else:
        why = f"{after}, at one of the strings in stop: {params['stop']!r:.200}"
    raise IncompleteOutputError(why, partial=partial)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_object(text: str) -> bool:
    return _is_json(text) and isinstance(json.loads(text), dict)
