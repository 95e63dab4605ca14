"""LlamaIndex's tools as OpenAI tools, and tool calls as LlamaIndex's selections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from pydantic_core import from_json

from llamacpp_core.errors import InvalidParameterError, MissingToolCallError

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

__all__ = [
    "conversation",
    "first_call_only",
    "partial_json",
    "tool_choice_of",
    "tool_selections",
    "tool_specs",
]


def tool_specs(tools: Sequence[BaseTool]) -> list[dict[str, Any]]:
    """The tools' names, descriptions and JSON schemas in OpenAI's form.

    Raises:
        InvalidParameterError: Something is not a tool of LlamaIndex; names it.
    """
    if isinstance(tools, str | bytes) or not isinstance(tools, Sequence):
        raise InvalidParameterError(
            f"tools must be a list of tools, got {type(tools).__name__}", parameter="tools"
        )
    return [_spec(i, tool) for i, tool in enumerate(tools)]


def _spec(index: int, tool: Any) -> dict[str, Any]:
    metadata: Any = getattr(tool, "metadata", None)
    if not hasattr(metadata, "to_openai_tool"):
        raise InvalidParameterError(
            f"tools[{index}] must be a tool of LlamaIndex, got {type(tool).__name__}: "
            "FunctionTool.from_defaults(...) makes one of a function",
            parameter=f"tools[{index}]",
        )
    spec: dict[str, Any] = metadata.to_openai_tool(skip_length_check=True)
    # A call is looked up by the tool's own name, which is not always the one OpenAI's API would take.
    spec["function"]["name"] = metadata.name
    if metadata.fn_schema is not None and "properties" not in spec["function"]["parameters"]:
        spec["function"]["parameters"] = _parameters(metadata.fn_schema.model_json_schema())
    return spec


def _parameters(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a class that refers to itself, which the framework cuts off at its root."""
    root = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    return {**schema.get("$defs", {}).get(root, {}), **{k: v for k, v in schema.items() if k != "$ref"}}


def conversation(
    user_msg: str | ChatMessage | None, history: Sequence[ChatMessage] | None
) -> list[ChatMessage]:
    """The history followed by the message, as a new list."""
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
    if isinstance(choice, Mapping) and choice.get("type") in ("any", "auto", "none", "required"):
        choice = choice["type"]
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

    A call that is not valid under its tool's schema is left out: its ``error`` stands beside it among the
    message's ``additional_kwargs["tool_calls"]``.

    Raises:
        MissingToolCallError: There is none, or none that is valid, and that is an error.
    """
    selections = []
    raw = response.message.additional_kwargs.get("tool_calls") or ()
    problems = {call["id"]: call["error"] for call in raw if isinstance(call, dict) and call.get("error")}
    for block in response.message.blocks:
        if isinstance(block, ToolCallBlock):
            if block.tool_call_id in problems:
                continue
            arguments = block.tool_kwargs
            if isinstance(arguments, str):
                arguments = partial_json(arguments)
            selections.append(
                ToolSelection(
                    tool_id=block.tool_call_id or block.tool_name,
                    tool_name=block.tool_name,
                    tool_kwargs=arguments if isinstance(arguments, dict) else {},
                )
            )
    if not selections and problems and error_on_no_tool_call:
        raise MissingToolCallError(
            f"the model's call is not valid under its tool's schema: {next(iter(problems.values()))}"
        )
    if not selections and error_on_no_tool_call:
        raise MissingToolCallError(
            f"the model called no tool and said {response.message.content!r:.200}: pass tool_required=True "
            "to force a call"
        )
    return selections


def partial_json(text: str) -> Any:
    """The value that a prefix of a JSON text holds so far: strings and numbers as far as they are written.

    Args:
        text: The beginning of a JSON text.

    Returns:
        The value; None where there is nothing yet, or where the text is no JSON.
    """
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return None


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
