"""LlamaIndex's tools as OpenAI tools, and tool calls as LlamaIndex's selections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection

from llamacpp_core.errors import InvalidParameterError, MissingToolCallError
from llamacpp_integrations.llama_index._partial_json import parse_partial_json

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

__all__ = ["conversation", "first_call_only", "tool_choice_of", "tool_selections", "tool_specs"]

_NAME = re.compile(r"[^\s\"'\\\x00-\x1f]{1,128}")


def tool_specs(tools: Sequence[BaseTool]) -> list[dict[str, Any]]:
    """The tools' names, descriptions and JSON schemas in OpenAI's form."""
    specs = []
    for tool in tools:
        spec = tool.metadata.to_openai_tool(skip_length_check=True)
        name = tool.metadata.name
        # A call is looked up by the tool's own name, which is not always the one OpenAI's API would take.
        if name is not None and _NAME.fullmatch(name):
            spec["function"]["name"] = name
        specs.append(spec)
    return specs


def conversation(
    user_msg: str | ChatMessage | None, history: Sequence[ChatMessage] | None
) -> list[ChatMessage]:
    """The history and the message behind it, as a new list."""
    messages = list(history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    if user_msg is not None:
        messages.append(user_msg)
    return messages


def tool_choice_of(choice: Any, required: bool, tools: Sequence[Mapping[str, Any]]) -> Any:
    """What the framework's ``tool_choice`` and ``tool_required`` mean in OpenAI's terms.

    Args:
        choice: None, "auto", "none", "required" or "any", a tool's name, or OpenAI's dict.
        required: Whether a call has to be made, when nothing is chosen.
        tools: The tools in OpenAI's form.

    Raises:
        InvalidParameterError: The choice names no tool.
    """
    if choice is None:
        return "required" if required else "auto"
    if not isinstance(choice, str) or choice in ("auto", "none", "required"):
        return choice
    if choice == "any":
        return "required"
    names = [tool["function"]["name"] for tool in tools]
    if choice not in names:
        raise InvalidParameterError(
            f"tool_choice must be 'auto', 'none', 'required' or the name of a tool ({', '.join(names)}), "
            f"got {choice!r}",
            parameter="tool_choice",
        )
    return {"type": "function", "function": {"name": choice}}


def tool_selections(response: ChatResponse, *, error_on_no_tool_call: bool) -> list[ToolSelection]:
    """The calls of a response, also of one that is still being streamed.

    Raises:
        MissingToolCallError: There is none, and that is an error.
    """
    selections = []
    for block in response.message.blocks:
        if isinstance(block, ToolCallBlock):
            arguments = block.tool_kwargs
            if isinstance(arguments, str):
                arguments = parse_partial_json(arguments)
            selections.append(
                ToolSelection(
                    tool_id=block.tool_call_id or block.tool_name,
                    tool_name=block.tool_name,
                    tool_kwargs=arguments if isinstance(arguments, dict) else {},
                )
            )
    if not selections and error_on_no_tool_call:
        raise MissingToolCallError(
            f"the model called no tool and said {response.message.content!r:.200}: pass tool_required=True "
            "to force a call"
        )
    return selections


def first_call_only(response: ChatResponse) -> ChatResponse:
    """The response with all calls but the first left out."""
    message = response.message
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) < 2:
        return response
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock) or block is calls[0]]
    extra = message.additional_kwargs | {"tool_calls": message.additional_kwargs.get("tool_calls", [])[:1]}
    trimmed = ChatMessage(role=message.role, blocks=blocks, additional_kwargs=extra)
    return response.model_copy(update={"message": trimmed})
