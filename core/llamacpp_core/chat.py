"""From the arguments of a chat completion to a request of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llamacpp_core._checks import boolean, choice, integer, text
from llamacpp_core.answer_format import AnswerFormat, Constraint, FreeFormats, constrained, reasoning_tags
from llamacpp_core.chat_plan import ChatPlanner, PlannedChat, generic_history
from llamacpp_core.engine import TASK_COMPLETION, Engine, Plan
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.info import ModelInfo
from llamacpp_core.messages import normalise_messages, normalise_tools
from llamacpp_core.results import ChatAssembler
from llamacpp_core.runner import Prepared
from llamacpp_core.sampling import sampling_fields
from llamacpp_core.tool_calls import CALL_CLOSE, CALL_OPEN, ToolChoice, call_instructions, resolve_tool_choice
from llamacpp_core.vocab import Vocab

__all__ = ["ChatPreparer", "grammar_text"]

# Fields of the request that shape the prompt; everything else is about sampling.
_SHAPE = (
    "add_generation_prompt",
    "chat_template_kwargs",
    "continue_final_message",
    "reasoning_budget_tokens",
    "reasoning_effort",
    "reasoning_format",
)
_TOP_LOGPROBS = integer(0, 100)


def grammar_text(grammar: Any) -> str | None:
    """The GBNF text of a grammar given as an object or as text."""
    if grammar is None:
        return None
    from llamacpp_core.grammar import LlamaGrammar

    if isinstance(grammar, str):
        return LlamaGrammar.from_string(grammar, verbose=False).gbnf
    if isinstance(grammar, LlamaGrammar):
        return grammar.gbnf
    raise InvalidParameterError(
        f"grammar must be a LlamaGrammar or GBNF text, got {type(grammar).__name__}", parameter="grammar"
    )


class ChatPreparer:
    """Plans chat requests for one loaded model.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        info: Facts about the model.
        safe: Text of messages and tools cannot become control tokens.
    """

    def __init__(self, engine: Engine, vocab: Vocab, info: ModelInfo, *, safe: bool = True) -> None:
        self._vocab = vocab
        self._info = info
        self._safe = safe
        self._planner = ChatPlanner(engine, info)
        self._free = FreeFormats()

    def prepare(self, messages: Any, params: Mapping[str, Any]) -> Prepared:
        """Checks, renders and constrains a chat request.

        Args:
            messages: The conversation.
            params: Every other argument of the call; None means "not given".

        Raises:
            InvalidParameterError: An argument is unknown or cannot work.
        """
        args = {name: value for name, value in params.items() if value is not None}
        legacy = self._legacy(args)
        tools = normalise_tools(args.pop("tools", None) or [])
        use = resolve_tool_choice(tools, args.pop("tool_choice", None), self._parallel(args))
        stream = boolean("stream", args.pop("stream", False))
        include_usage = _include_usage(args.pop("stream_options", None))
        n_logprobs = self._logprobs(args)
        constraint = self._constraint(args, use)
        model = text("model", args.pop("model", self._info.name))
        shape = self._shape(args)
        fields = sampling_fields(
            args,
            n_vocab=self._vocab.n_tokens,
            n_lora=len(self._info.lora),
            known=(*_SHAPE, "tools", "tool_choice"),
        )
        planned = self._plan(messages, use, shape, constraint)
        answer = self._answer(planned, use, constraint)
        fields |= answer.fields | {"stream": stream}
        if n_logprobs is not None:
            fields["n_probs"] = max(1, n_logprobs)
        assembler = ChatAssembler(
            model=model,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=include_usage,
            new_parser=answer.new_parser,
            legacy_functions=legacy,
            count_tokens=self._count,
        )
        return Prepared(planned.plan, TASK_COMPLETION, fields, assembler)

    def _plan(
        self, messages: Any, use: ToolChoice, shape: Mapping[str, Any], constraint: Constraint | None
    ) -> PlannedChat:
        caps = self._info.capabilities
        if not caps.completion:
            raise UnsupportedCapabilityError(
                f"{self._info.name} computes embeddings only: it cannot generate text"
            )
        checked = normalise_messages(messages, image=caps.image, audio=caps.audio)
        native = caps.tools == "native"
        if not native:
            checked = generic_history(checked)
            if use.tools:
                forced = use.mode == "forced"
                checked = _with_instructions(
                    checked, call_instructions(use.tools, forced=forced, parallel=use.parallel)
                )
        planned = self._planner.plan(
            checked,
            shape=shape,
            tools=use.tools if native else (),
            native_calls=constraint is None and use.mode == "auto" and native,
            parallel=use.parallel,
            quiet=constraint is not None and not constraint.lazy,
            safe=self._safe,
        )
        n_tokens, n_ctx = planned.plan.n_tokens(), self._info.n_ctx
        if n_tokens >= n_ctx:
            raise ContextOverflowError(
                f"the conversation has {n_tokens} tokens and the context of one request holds {n_ctx}: "
                "shorten it or load the model with a larger n_ctx",
                n_prompt_tokens=n_tokens,
                n_ctx=n_ctx,
                parameter="messages",
            )
        return planned

    def _answer(self, planned: PlannedChat, use: ToolChoice, constraint: Constraint | None) -> AnswerFormat:
        if constraint is not None:
            return constrained(constraint, reasoning_tags(planned.info), think=planned.think)
        return self._free.free(
            planned.plan, planned.info, has_tools=use.mode == "auto", key=planned.format_key
        )

    def plan_for(self, messages: Any, tools: Any, tool_choice: Any, args: dict[str, Any]) -> Plan:
        """Renders a conversation without running it."""
        given = {name: value for name, value in args.items() if value is not None}
        use = resolve_tool_choice(normalise_tools(tools or []), tool_choice, self._parallel(given))
        constraint = self._constraint(given, use)
        shape = self._shape(given)
        if given:
            sampling_fields(given, n_vocab=self._vocab.n_tokens, known=_SHAPE)
        return self._plan(messages, use, shape, constraint).plan

    def _constraint(self, args: dict[str, Any], use: ToolChoice) -> Constraint | None:
        """What the answer has to be, if anything."""
        grammar = grammar_text(args.pop("grammar", None))
        schema = _response_schema(args.pop("response_format", None))
        if grammar is not None and schema is not None:
            raise InvalidParameterError("give grammar or response_format, not both", parameter="grammar")
        if grammar is not None and use.mode != "none":
            raise InvalidParameterError(
                "grammar and callable tools contradict each other: pass tool_choice='none'",
                parameter="grammar",
            )
        if grammar is not None:
            return Constraint(grammar)
        from llamacpp_core.grammar import call_or_answer_gbnf, json_schema_to_gbnf, tool_call_gbnf

        if use.mode == "forced":
            return Constraint(tool_call_gbnf(use.tools, parallel=use.parallel), calls=True)
        if use.mode == "auto" and (schema is not None or self._info.capabilities.tools != "native"):
            gbnf = call_or_answer_gbnf(
                use.tools, schema, opening=CALL_OPEN, closing=CALL_CLOSE, parallel=use.parallel
            )
            return Constraint(gbnf, tagged=True, lazy=schema is None)
        return None if schema is None else Constraint(json_schema_to_gbnf(schema))

    def _shape(self, args: dict[str, Any]) -> dict[str, Any]:
        shape = {name: args.pop(name) for name in _SHAPE if name in args}
        kwargs = shape.get("chat_template_kwargs")
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise InvalidParameterError(
                "chat_template_kwargs must be a dict", parameter="chat_template_kwargs"
            )
        for name, check in _SHAPE_CHECKS.items():
            if name in shape:
                shape[name] = check(name, shape[name])
        if shape.get("continue_final_message"):
            shape.setdefault("add_generation_prompt", False)
        return shape

    def _parallel(self, args: dict[str, Any]) -> bool | None:
        value = args.pop("parallel_tool_calls", None)
        return None if value is None else boolean("parallel_tool_calls", value)

    def _legacy(self, args: dict[str, Any]) -> bool:
        """Turns ``functions`` and ``function_call`` into tools; whether they were used."""
        functions, call = args.pop("functions", None), args.pop("function_call", None)
        if functions is None:
            if call is not None:
                raise InvalidParameterError("function_call needs functions", parameter="function_call")
            return False
        if "tools" in args:
            raise InvalidParameterError("give tools or functions, not both", parameter="functions")
        args["tools"] = [{"type": "function", "function": function} for function in functions]
        if isinstance(call, Mapping):
            args["tool_choice"] = {"type": "function", "function": dict(call)}
        elif call is not None:
            args["tool_choice"] = choice("none", "auto")("function_call", call)
        args["parallel_tool_calls"] = False
        return True

    def _logprobs(self, args: dict[str, Any]) -> int | None:
        wanted, top = args.pop("logprobs", None), args.pop("top_logprobs", None)
        if wanted is not None and not boolean("logprobs", wanted):
            wanted = None
        if top is not None and not wanted:
            raise InvalidParameterError("top_logprobs needs logprobs=True", parameter="top_logprobs")
        if not wanted:
            return None
        return 0 if top is None else int(_TOP_LOGPROBS("top_logprobs", top))

    def _count(self, value: str) -> int:
        return len(self._vocab.tokenize(value, add_special=False, parse_special=False))


_SHAPE_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "add_generation_prompt": boolean,
    "continue_final_message": boolean,
    "reasoning_effort": choice("none", "minimal", "low", "medium", "high", "xhigh"),
    "reasoning_format": choice("none", "auto", "deepseek", "deepseek-legacy"),
    "reasoning_budget_tokens": integer(-1),
}


def _response_schema(value: Any) -> Mapping[str, Any] | bool | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.get("type") not in ("text", "json_object", "json_schema"):
        raise InvalidParameterError(
            "response_format must be {'type': 'text'}, {'type': 'json_object'} or {'type': 'json_schema', ...}",
            parameter="response_format",
        )
    if value["type"] == "text":
        return None
    if value["type"] == "json_object":
        schema = value.get("schema") or {"type": "object"}
    else:
        wrapper = value.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, Mapping) else value.get("schema")
    if not isinstance(schema, Mapping | bool):
        raise InvalidParameterError(
            "response_format needs the schema under json_schema.schema",
            parameter="response_format.json_schema",
        )
    return schema


def _include_usage(options: Any) -> bool:
    if options is None:
        return False
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise InvalidParameterError(
            "stream_options must be {'include_usage': bool}", parameter="stream_options"
        )
    return boolean("stream_options.include_usage", options.get("include_usage", False))


def _with_instructions(messages: list[dict[str, Any]], instructions: str) -> list[dict[str, Any]]:
    """The conversation with instructions in its system message."""
    first = messages[0]
    if first["role"] == "system" and isinstance(first["content"], str):
        return [first | {"content": f"{first['content']}\n\n{instructions}"}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
