"""From the arguments of a chat completion to a request of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llamacpp_core._checks import boolean, choice, integer, text
from llamacpp_core.engine import TASK_COMPLETION, Engine, Plan
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.info import ModelInfo
from llamacpp_core.messages import normalise_messages, normalise_tools
from llamacpp_core.results import ChatAssembler, OutputParser
from llamacpp_core.runner import Prepared
from llamacpp_core.sampling import sampling_fields
from llamacpp_core.tool_calls import (
    CALL_CLOSE,
    CALL_OPEN,
    ForcedCallParser,
    TaggedCallParser,
    ToolChoice,
    call_instructions,
    resolve_tool_choice,
)
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
    """Plans chat requests for one loaded model."""

    def __init__(self, engine: Engine, vocab: Vocab, info: ModelInfo) -> None:
        self._engine = engine
        self._vocab = vocab
        self._info = info

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
        grammar = self._grammar(args, use)
        model = text("model", args.pop("model", self._info.name))
        shape = self._shape(args)
        fields = sampling_fields(
            args, n_vocab=self._vocab.n_tokens, n_lora=len(self._info.lora), known=(*_SHAPE, "tools", "tool_choice")
        )
        plan = self.plan(messages, use, shape)
        constraint, new_parser = self._constrain(plan, use, grammar)
        fields |= constraint | {"stream": stream}
        if n_logprobs is not None:
            fields["n_probs"] = max(1, n_logprobs)
        assembler = ChatAssembler(
            model=model,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=include_usage,
            new_parser=new_parser,
            legacy_functions=legacy,
            count_tokens=self._count,
        )
        return Prepared(plan, TASK_COMPLETION, fields, assembler)

    def plan(self, messages: Any, use: ToolChoice, shape: Mapping[str, Any]) -> Plan:
        """Renders a conversation with the tools it may use.

        Raises:
            UnsupportedCapabilityError: The model cannot chat.
            ContextOverflowError: The prompt is longer than the context.
        """
        caps = self._info.capabilities
        if not caps.completion:
            raise UnsupportedCapabilityError(f"{self._info.name} computes embeddings only: it cannot generate text")
        checked = normalise_messages(messages, image=caps.image, audio=caps.audio)
        body = dict(shape)
        if use.tools and caps.tools == "native":
            body["tools"] = use.tools
            # A forced call has a grammar of ours: the template only has to describe the tools.
            body["tool_choice"] = "auto"
            body["parallel_tool_calls"] = use.parallel
        elif use.tools:
            instructions = call_instructions(use.tools, forced=use.mode == "forced", parallel=use.parallel)
            checked = _with_instructions(checked, instructions)
        body["messages"] = checked
        plan = self._engine.plan_chat(body)
        n_ctx = self._info.n_ctx
        if plan.n_tokens() >= n_ctx:
            raise ContextOverflowError(
                f"the conversation has {plan.n_tokens()} tokens and the context of one request holds {n_ctx}: "
                "shorten it or load the model with a larger n_ctx",
                n_prompt_tokens=plan.n_tokens(),
                n_ctx=n_ctx,
                parameter="messages",
            )
        return plan

    def plan_for(self, messages: Any, tools: Any, tool_choice: Any, args: dict[str, Any]) -> Plan:
        """Renders a conversation without running it."""
        given = {name: value for name, value in args.items() if value is not None}
        use = resolve_tool_choice(normalise_tools(tools or []), tool_choice, self._parallel(given))
        shape = self._shape(given)
        if given:
            sampling_fields(given, n_vocab=self._vocab.n_tokens, known=_SHAPE)
        return self.plan(messages, use, shape)

    def _constrain(
        self, plan: Plan, use: ToolChoice, grammar: str | None
    ) -> tuple[dict[str, Any], Callable[[], OutputParser] | None]:
        """The fields that constrain the answer, and the parser of its text."""
        if use.mode == "forced":
            return _eager(_call_grammar(use, parallel=use.parallel)), ForcedCallParser
        if use.mode == "auto" and self._info.capabilities.tools != "native":
            lazy = f'{_rename_root(_call_grammar(use, parallel=False))}\nroot ::= "{CALL_OPEN}" call-root "{CALL_CLOSE}"'
            return _eager(lazy) | {
                "grammar_lazy": True,
                "grammar_triggers": [{"type": 1, "value": CALL_OPEN}],
                "preserved_tokens": [CALL_OPEN, CALL_CLOSE],
            }, TaggedCallParser
        if grammar is not None:
            return _eager(grammar), None
        return {}, None

    def _shape(self, args: dict[str, Any]) -> dict[str, Any]:
        shape = {name: args.pop(name) for name in _SHAPE if name in args}
        kwargs = shape.get("chat_template_kwargs")
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise InvalidParameterError("chat_template_kwargs must be a dict", parameter="chat_template_kwargs")
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

    def _grammar(self, args: dict[str, Any], use: ToolChoice) -> str | None:
        grammar = grammar_text(args.pop("grammar", None))
        schema_grammar = _response_format(args.pop("response_format", None))
        if grammar and schema_grammar:
            raise InvalidParameterError("give grammar or response_format, not both", parameter="grammar")
        given = grammar or schema_grammar
        if given and use.mode != "none":
            name = "grammar" if grammar else "response_format"
            raise InvalidParameterError(
                f"{name} and callable tools contradict each other: pass tool_choice='none'", parameter=name
            )
        return given

    def _count(self, value: str) -> int:
        return len(self._vocab.tokenize(value, add_special=False, parse_special=False))


_SHAPE_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "add_generation_prompt": boolean,
    "continue_final_message": boolean,
    "reasoning_effort": choice("none", "minimal", "low", "medium", "high", "xhigh"),
    "reasoning_format": choice("none", "auto", "deepseek", "deepseek-legacy"),
    "reasoning_budget_tokens": integer(-1),
}


def _eager(gbnf: str) -> dict[str, Any]:
    """A grammar that holds from the first token on; its text is the content."""
    return {
        "grammar": gbnf,
        "grammar_type": "user",
        "grammar_lazy": False,
        "grammar_triggers": None,
        "chat_format": 0,
        "chat_parser": None,
    }


def _call_grammar(use: ToolChoice, *, parallel: bool) -> str:
    from llamacpp_core.grammar import tool_call_gbnf

    return str(tool_call_gbnf(use.tools, parallel=parallel))


def _rename_root(gbnf: str) -> str:
    """The grammar with its root under another name, to be used inside a larger one."""
    return "\n".join(
        "call-root" + line[len("root") :] if line.startswith("root ") else line for line in gbnf.splitlines()
    )


def _response_format(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.get("type") not in ("text", "json_object", "json_schema"):
        raise InvalidParameterError(
            "response_format must be {'type': 'text'}, {'type': 'json_object'} or {'type': 'json_schema', ...}",
            parameter="response_format",
        )
    if value["type"] == "text":
        return None
    from llamacpp_core.grammar import json_schema_to_gbnf

    if value["type"] == "json_object":
        return json_schema_to_gbnf(value.get("schema") or {"type": "object"})
    wrapper = value.get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, Mapping) else value.get("schema")
    if not isinstance(schema, Mapping | bool):
        raise InvalidParameterError(
            "response_format needs the schema under json_schema.schema", parameter="response_format.json_schema"
        )
    return json_schema_to_gbnf(schema)


def _include_usage(options: Any) -> bool:
    if options is None:
        return False
    if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
        raise InvalidParameterError("stream_options must be {'include_usage': bool}", parameter="stream_options")
    return boolean("stream_options.include_usage", options.get("include_usage", False))


def _with_instructions(messages: list[dict[str, Any]], instructions: str) -> list[dict[str, Any]]:
    """The conversation with instructions in its system message."""
    first = messages[0]
    if first["role"] == "system" and isinstance(first["content"], str):
        return [first | {"content": f"{first['content']}\n\n{instructions}"}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]
