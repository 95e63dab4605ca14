"""From the arguments of a chat completion to a request of the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, choice, integer, text
from llamacpp_core.engine.engine import TASK_COMPLETION, Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.engine.plan import Plan
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.answer_format import (
    AnswerFormat,
    FreeFormats,
    constrained,
    possible_calls,
)
from llamacpp_core.request.constraints import (
    Constraint,
    call_check,
    constraint_for,
    grammar_text,
    response_schema,
    schema_limits,
)
from llamacpp_core.request.history import generic_history, with_instructions
from llamacpp_core.request.messages import dump_tools, normalise_messages, normalise_tools
from llamacpp_core.request.reasoning_first import AnswerPart
from llamacpp_core.request.runner import Prepared
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_core.request.template import Begin, ChatPlanner, PlannedChat
from llamacpp_core.request.tool_choice import ToolChoice, call_instructions, resolve_tool_choice
from llamacpp_core.response.assemblers import ChatAssembler

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocab import Vocab

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
        self._engine = engine
        self._planner = ChatPlanner(engine)
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
        tools = normalise_tools(args.pop("tools", ()))
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
            known=(*_SHAPE, "schema_limits", "tools", "tool_choice"),
        )
        planned = self._plan(messages, use, shape, constraint)
        self._check_fits(planned.plan)
        answer = self._answer(planned, use, constraint)
        fields["stream"] = stream
        if n_logprobs is not None:
            fields["n_probs"] = max(1, n_logprobs)
        follows = None
        if planned.begin == Begin.REASONING:
            fields, follows = self._in_two_parts(planned, fields, answer, shape)
        else:
            fields |= answer.fields
        assembler = ChatAssembler(
            model=model,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=include_usage,
            new_parser=answer.new_parser,
            legacy_functions=legacy,
            count_tokens=self._count,
            piece=self._vocab.piece,
            check_call=None if constraint is None else call_check(use),
        )
        return Prepared(planned.plan, TASK_COMPLETION, fields, assembler, follows)

    def _plan(
        self, messages: Any, use: ToolChoice, shape: Mapping[str, Any], constraint: Constraint | None
    ) -> PlannedChat:
        caps = self._info.capabilities
        if not caps.completion:
            raise UnsupportedCapabilityError(
                f"{self._info.name} computes embeddings only: it cannot generate text"
            )
        checked = normalise_messages(messages, image=caps.image, audio=caps.audio)
        # Where the answer may be a call or something else that we constrain, the call's form is ours, too.
        native = caps.tools == "native" and not (constraint is not None and constraint.tagged)
        if not native:
            checked = generic_history(checked)
            if use.tools:
                forced = use.mode == "forced"
                instructions = call_instructions(use.tools, forced=forced, parallel=use.parallel)
                checked = with_instructions(checked, instructions)
        return self._planner.plan(
            checked,
            shape=shape,
            tools=dump_tools(use.tools) if native and use.tools else "",
            native_calls=constraint is None and use.mode == "auto" and native,
            parallel=use.parallel,
            constrained=constraint is not None and not constraint.lazy,
            safe=self._safe,
        )

    def _check_fits(self, plan: Plan) -> None:
        n_tokens, n_ctx = plan.n_tokens(), self._info.n_ctx
        if n_tokens >= n_ctx:
            raise ContextOverflowError(
                f"the conversation has {n_tokens} tokens and the context of one request holds {n_ctx}: "
                "shorten it or load the model with a larger n_ctx",
                n_prompt_tokens=n_tokens,
                n_ctx=n_ctx,
                parameter="messages",
            )

    def _answer(self, planned: PlannedChat, use: ToolChoice, constraint: Constraint | None) -> AnswerFormat:
        if constraint is None:
            return self._free.free(planned, has_tools=use.mode == "auto")
        if constraint.lazy:
            return possible_calls(constraint, planned, self._free.free(planned, has_tools=False))
        return constrained(constraint, planned)

    def _in_two_parts(
        self,
        planned: PlannedChat,
        fields: dict[str, Any],
        answer: AnswerFormat,
        shape: Mapping[str, Any],
    ) -> tuple[dict[str, Any], AnswerPart]:
        """The fields of a request for the reasoning, and what follows it."""
        opening, found = planned.opening, planned.format
        assert opening is not None
        prompt = planned.plan.tokens()
        close = self._vocab.tokenize(opening.close, add_special=False, parse_special=True)

        def plan(reasonings: list[str]) -> Plan:
            thoughts = (
                self._vocab.tokenize(text.rstrip(), add_special=False, parse_special=False)
                for text in reasonings
            )
            return self._engine.plan_tokens([[*prompt, *thought, *close] for thought in thoughts])

        limit = fields.get("n_predict", -1)
        left = limit if limit > 0 else self._info.n_ctx - len(prompt)
        budget = shape.get("reasoning_budget_tokens", -1)
        first = fields | {
            "n_predict": max(1, min(budget, left - 1) if budget > 0 else left // 2),
            "stop": list(opening.ends),
            "preserved_tokens": [*found.preserved, *opening.ends],
            "reasoning_budget_tokens": -1,
        }
        second = fields | answer.fields | {"n": 1, "stop": [*found.stops, *fields.get("stop", ())]}
        return first, AnswerPart(opening.ends[0], plan, second, limit if limit > 0 else None)

    def plan_for(self, messages: Any, tools: Any, tool_choice: Any, args: dict[str, Any]) -> Plan:
        """Renders a conversation without running it."""
        given = {name: value for name, value in args.items() if value is not None}
        use = resolve_tool_choice(
            normalise_tools(() if tools is None else tools), tool_choice, self._parallel(given)
        )
        constraint = self._constraint(given, use)
        shape = self._shape(given)
        if given:
            sampling_fields(given, n_vocab=self._vocab.n_tokens, known=_SHAPE)
        return self._plan(messages, use, shape, constraint).plan

    def _constraint(self, args: dict[str, Any], use: ToolChoice) -> Constraint | None:
        """What the answer has to be, if anything."""
        return constraint_for(
            use,
            grammar=grammar_text(args.pop("grammar", None)),
            schema=response_schema(args.pop("response_format", None)),
            limits=schema_limits(args.pop("schema_limits", None), args.get("max_tokens")),
            max_tokens=args.get("max_tokens"),
            native_calls=self._info.capabilities.tools == "native",
        )

    def _shape(self, args: dict[str, Any]) -> dict[str, Any]:
        shape = {name: args.pop(name) for name in _SHAPE if name in args}
        kwargs = shape.get("chat_template_kwargs")
        if kwargs is not None:
            _check_template_kwargs(kwargs)
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
        if isinstance(functions, str | Mapping) or not isinstance(functions, Sequence):
            raise InvalidParameterError(
                "functions must be a list of function definitions", parameter="functions"
            )
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


def _include_usage(options: Any) -> bool:
    if options is None:
        return False
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise InvalidParameterError(
            "stream_options must be {'include_usage': bool}", parameter="stream_options"
        )
    return boolean("stream_options.include_usage", options.get("include_usage", False))
