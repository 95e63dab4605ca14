"""The arguments of a chat completion, read and checked once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, choice, integer, text
from llamacpp_core.engine.python_loop.callbacks import callbacks
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.request.constraints import grammar_text, response_schema, schema_limits
from llamacpp_core.request.messages import normalize_tools
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_core.request.tool_choice import ToolChoice, resolve_tool_choice

if TYPE_CHECKING:
    from llamacpp_core.grammar import SchemaLimits

__all__ = ["ChatSettings", "PromptShape", "include_usage", "read_chat_settings"]


@dataclasses.dataclass(frozen=True, slots=True)
class PromptShape:
    """What of a call shapes the prompt, beside its messages and tools.

    Attributes:
        template_kwargs: Variables for the template.
        reasoning_effort: "none" to "xhigh"; None where nothing was said.
        reasoning_format: How llama.cpp separates reasoning from the answer.
        reasoning_budget_tokens: Tokens of reasoning at most, -1 for no bound; None where nothing was said.
        add_generation_prompt: The prompt ends where an answer begins.
        continue_final_message: A last message of the assistant is the beginning of the answer; None: it is
            where the prompt ends with an answer's beginning.
    """

    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reasoning_effort: str | None = None
    reasoning_format: str = "deepseek"
    reasoning_budget_tokens: int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool | None = None

    @property
    def prefills(self) -> bool:
        """Whether a last message of the assistant is the beginning of the answer."""
        return self.continue_final_message is True


@dataclasses.dataclass(frozen=True, slots=True)
class ChatSettings:
    """What a chat completion was asked for, messages aside.

    Attributes:
        use: The tools that may be called.
        legacy_functions: The tools came as ``functions``, so calls are reported as ``function_call``.
        grammar: GBNF text that the answer has to follow.
        schema: The JSON schema of the answer.
        limits: Bounds on what schemas leave open.
        report_schemas: Hold what can be held of schemas, and report on the rest, instead of refusing it.
        max_tokens: Tokens to generate at most; None for no bound.
        shape: What shapes the prompt.
        stream: Answer in chunks.
        include_usage: Send the usage as a last chunk of its own.
        n_logprobs: Alternatives per token to report; None for no log-probabilities.
        model: The name to report; None for the model's own.
        sampling: llama-server's sampling fields.
        processors: Functions of (token ids so far, logits) that return logits.
        criteria: Functions of (token ids so far, logits) that say whether to stop.
    """

    use: ToolChoice
    legacy_functions: bool
    grammar: str | None
    schema: Mapping[str, Any] | bool | None
    limits: SchemaLimits
    report_schemas: bool
    max_tokens: int | None
    shape: PromptShape
    stream: bool
    include_usage: bool
    n_logprobs: int | None
    model: str | None
    sampling: dict[str, Any]
    processors: tuple[Callable[..., Any], ...]
    criteria: tuple[Callable[..., Any], ...]


_TOP_LOGPROBS = integer(0, 100)
_STRICTNESS = choice("exact", "report")
_SHAPE: dict[str, Callable[[str, Any], Any]] = {
    "add_generation_prompt": boolean,
    "continue_final_message": boolean,
    "reasoning_budget_tokens": integer(-1),
    "reasoning_effort": choice("none", "minimal", "low", "medium", "high", "xhigh"),
    "reasoning_format": choice("none", "auto", "deepseek", "deepseek-legacy"),
}
#: What is read here; everything else has to be a sampling parameter.
_READ_HERE = frozenset(
    {"chat_template_kwargs", "function_call", "functions", "grammar", "logits_processor", "logprobs", "model"}
    | {"parallel_tool_calls", "response_format", "schema_limits", "schema_strictness"}
    | {"stopping_criteria", "stream"}
    | {"stream_options", "tool_choice", "tools", "top_logprobs", *_SHAPE}
)


def read_chat_settings(
    arguments: Mapping[str, Any], *, n_vocab: int, lora: Collection[int] = ()
) -> ChatSettings:
    """Reads and checks every argument of a chat completion but the messages.

    Args:
        arguments: The arguments by name. None stands for one that was not given.
        n_vocab: Size of the vocabulary.
        lora: The numbers of the LoRA adapters that are loaded.

    Raises:
        InvalidParameterError: An argument is unknown or cannot work.
        GrammarError: The grammar is not usable.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    legacy = "functions" in given
    boolean("parallel_tool_calls", given.get("parallel_tool_calls", True))
    model = given.get("model")
    max_tokens = given.get("max_tokens")
    return ChatSettings(
        use=_legacy_tools(given) if legacy else _tools(given),
        legacy_functions=legacy,
        grammar=grammar_text(given.get("grammar")),
        schema=response_schema(given.get("response_format")),
        limits=schema_limits(given.get("schema_limits"), max_tokens),
        report_schemas=_STRICTNESS("schema_strictness", given.get("schema_strictness", "exact")) == "report",
        max_tokens=max_tokens,
        shape=_shape(given),
        stream=boolean("stream", given.get("stream", False)),
        include_usage=include_usage(given.get("stream_options")),
        n_logprobs=_logprobs(given),
        model=None if model is None else text("model", model),
        sampling=sampling_fields(
            {name: value for name, value in given.items() if name not in _READ_HERE},
            n_vocab=n_vocab,
            lora=lora,
            known=sorted(_READ_HERE),
        ),
        processors=tuple(callbacks("logits_processor", given.get("logits_processor"))),
        criteria=tuple(callbacks("stopping_criteria", given.get("stopping_criteria"))),
    )


def _tools(given: Mapping[str, Any]) -> ToolChoice:
    if "function_call" in given:
        raise InvalidParameterError("function_call needs functions", parameter="function_call")
    parallel = given.get("parallel_tool_calls")
    return resolve_tool_choice(normalize_tools(given.get("tools", ())), given.get("tool_choice"), parallel)


def _legacy_tools(given: Mapping[str, Any]) -> ToolChoice:
    """``functions`` and ``function_call``, which know one call in an answer."""
    functions, call = given["functions"], given.get("function_call")
    if isinstance(functions, str | Mapping) or not isinstance(functions, Sequence):
        raise InvalidParameterError("functions must be a list of function definitions", parameter="functions")
    if "tools" in given:
        raise InvalidParameterError("give tools or functions, not both", parameter="functions")
    if "tool_choice" in given:
        raise InvalidParameterError(
            "tool_choice goes with tools, function_call with functions", parameter="tool_choice"
        )
    tools = normalize_tools([{"type": "function", "function": function} for function in functions])
    if isinstance(call, Mapping):
        call = {"type": "function", "function": dict(call)}
    elif call is not None:
        call = choice("none", "auto")("function_call", call)
    return resolve_tool_choice(tools, call, False)


def _shape(given: Mapping[str, Any]) -> PromptShape:
    shape = {name: check(name, given[name]) for name, check in _SHAPE.items() if name in given}
    kwargs = given.get("chat_template_kwargs", {})
    _check_template_kwargs(kwargs)
    if shape.get("continue_final_message"):
        shape.setdefault("add_generation_prompt", False)
    return PromptShape(template_kwargs=dict(kwargs), **shape)


# Variables of templates that have another way in.
_SET_BY_US = {
    "add_generation_prompt": "give it beside chat_template_kwargs",
    "bos_token": "it is the model's",
    "eos_token": "it is the model's",
    "messages": "give the conversation as messages",
    "tools": "give them as tools",
}


def _check_template_kwargs(kwargs: Any) -> None:
    name = "chat_template_kwargs"
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise InvalidParameterError(f"{name} must be a dict from names to values", parameter=name)
    for key, value in kwargs.items():
        if key in _SET_BY_US:
            raise InvalidParameterError(
                f"{name}[{key!r}] is what the template gets from the call itself: {_SET_BY_US[key]}",
                parameter=f"{name}[{key!r}]",
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidParameterError(
                f"{name}[{key!r}] cannot be given to a template, which takes what JSON can hold: {error}",
                parameter=f"{name}[{key!r}]",
            ) from None


def _logprobs(given: Mapping[str, Any]) -> int | None:
    wanted, top = boolean("logprobs", given.get("logprobs", False)), given.get("top_logprobs")
    if top is not None and not wanted:
        raise InvalidParameterError("top_logprobs needs logprobs=True", parameter="top_logprobs")
    if not wanted:
        return None
    return 0 if top is None else int(_TOP_LOGPROBS("top_logprobs", top))


def include_usage(options: Any) -> bool:
    """Whether ``stream_options`` asks for the usage as a last chunk of its own.

    Raises:
        InvalidParameterError: They are something else than ``{"include_usage": bool}``.
    """
    if options is None:
        return False
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise InvalidParameterError(
            "stream_options must be {'include_usage': bool}", parameter="stream_options"
        )
    return boolean("stream_options.include_usage", options.get("include_usage", False))
