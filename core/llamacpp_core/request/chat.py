"""From a conversation and the settings of its call to a request of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine.engine import TASK_COMPLETION, Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.engine.plan import Plan
from llamacpp_core.errors import ContextOverflowError, UnsupportedCapabilityError
from llamacpp_core.request.answer_format import AnswerFormat, FreeFormats, constrained, possible_calls
from llamacpp_core.request.chat_settings import ChatSettings, PromptShape
from llamacpp_core.request.constraints import Constraint, constraint_for
from llamacpp_core.request.formatted import Formatter, call_parser, describes_tools, plan_formatted
from llamacpp_core.request.history import generic_history, told_history, with_instructions
from llamacpp_core.request.messages import dump_tools, normalize_messages
from llamacpp_core.request.no_calls import called_names, fields_without_calls, openings
from llamacpp_core.request.reasoning_first import AnswerPart
from llamacpp_core.request.runner import Prepared
from llamacpp_core.request.template import Begin, ChatPlanner, PlannedChat
from llamacpp_core.request.tool_choice import call_instructions
from llamacpp_core.request.validation import call_check, schema_report
from llamacpp_core.response.assemblers import ChatAssembler

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["ChatPreparer"]


class ChatPreparer:
    """Plans chat requests for one loaded model.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        info: Facts about the model.
        safe: Text of messages and tools cannot become control tokens.
        stops: Texts that end an answer in the engine's chat format.
    """

    def __init__(
        self,
        engine: Engine,
        vocab: Vocabulary,
        info: ModelInfo,
        *,
        safe: bool = True,
        stops: Sequence[str] = (),
    ) -> None:
        self._vocab = vocab
        self._info = info
        self._safe = safe
        self._stops = tuple(stops)
        self._engine = engine
        self._planner = ChatPlanner(engine)
        self._free = FreeFormats()

    def prepare(self, messages: Any, settings: ChatSettings, formatter: Formatter | None = None) -> Prepared:
        """Renders and constrains a chat request.

        Args:
            messages: The conversation.
            settings: What the call asks for.
            formatter: What writes the prompt; None for the engine's chat template.

        Raises:
            InvalidMessageError: A message cannot be used.
            InvalidParameterError: The settings cannot work together.
            ContextOverflowError: The conversation is longer than the context.
        """
        planned, constraint = self._plan(messages, settings, formatter)
        self._check_fits(planned.plan)
        answer = self._answer(planned, settings, constraint)
        fields = settings.sampling | {"stream": settings.stream}
        stops = self._stops if planned.given is None else planned.given.stops
        if stops:
            fields["stop"] = list(dict.fromkeys((*fields.get("stop", ()), *stops)))
        if settings.n_logprobs is not None:
            fields["n_probs"] = max(1, settings.n_logprobs)
        follows = None
        if planned.begin == Begin.REASONING:
            fields, follows = self._in_two_parts(planned, fields, answer, settings.shape)
        else:
            fields |= answer.fields | self._no_calls(messages, settings, formatter, constraint)
        report = schema_report(settings)
        assembler = ChatAssembler(
            model=settings.model or self._info.name,
            n=fields.get("n", 1),
            n_logprobs=settings.n_logprobs,
            include_usage=settings.include_usage,
            new_parser=answer.new_parser,
            legacy_functions=settings.legacy_functions,
            count_tokens=self._count,
            piece=self._vocab.token_to_piece,
            check_call=call_check(settings.use, report=settings.report_schemas),
            report=None if report is None else report.of,
        )
        return Prepared(
            planned.plan,
            TASK_COMPLETION,
            fields,
            assembler,
            follows,
            processors=settings.processors,
            criteria=settings.criteria + (() if planned.given is None else planned.given.criteria),
        )

    def prompt(
        self, messages: Any, settings: ChatSettings, formatter: Formatter | None = None
    ) -> PlannedChat:
        """Renders a conversation without running it; the arguments are those of :meth:`prepare`."""
        return self._plan(messages, settings, formatter)[0]

    def _plan(
        self, messages: Any, settings: ChatSettings, formatter: Formatter | None
    ) -> tuple[PlannedChat, Constraint | None]:
        caps, use = self._info.capabilities, settings.use
        if not caps.completion:
            raise UnsupportedCapabilityError(
                f"{self._info.name} computes embeddings only: it cannot generate text"
            )
        if formatter is None:
            described = own_form = caps.tools == "native"
        else:
            described = describes_tools(formatter)
            # Nothing but a grammar keeps an answer to one call.
            own_form = described and use.parallel and call_parser(formatter) is not None
        constraint = constraint_for(settings, native_calls=own_form)
        if own_form and constraint is not None and constraint.tagged:
            # Where a grammar of ours holds for calls or another answer, the calls' form is ours, too.
            described = False
        checked = normalize_messages(messages, image=caps.image, audio=caps.audio)
        if not described:
            checked = told_history(checked) if use.mode == "none" else generic_history(checked)
            if use.tools:
                checked = with_instructions(checked, call_instructions(use))
        tools = use.tools if described else []
        own_calls = described and own_form and constraint is None and use.mode == "auto"
        if formatter is not None:
            planned = plan_formatted(
                self._engine,
                self._vocab,
                formatter,
                checked,
                settings,
                tools=tools,
                own_calls=own_calls,
                safe=self._safe,
            )
            return planned, constraint
        planned = self._planner.plan(
            checked,
            shape=settings.shape,
            tools=dump_tools(tools) if tools else "",
            native_calls=own_calls,
            parallel=use.parallel,
            constrained=constraint is not None and not constraint.lazy,
            safe=self._safe,
        )
        return planned, constraint

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

    def _answer(
        self, planned: PlannedChat, settings: ChatSettings, constraint: Constraint | None
    ) -> AnswerFormat:
        if constraint is not None and not constraint.lazy:
            return constrained(constraint, planned)
        has_tools = constraint is None and settings.use.mode == "auto"
        if planned.given is not None:
            free = AnswerFormat({}, planned.given.new_parser)
        else:
            free = self._free.free(planned, has_tools=has_tools)
        return free if constraint is None else possible_calls(constraint, planned, free)

    def _no_calls(
        self,
        messages: Any,
        settings: ChatSettings,
        formatter: Formatter | None,
        constraint: Constraint | None,
    ) -> dict[str, Any]:
        """The fields that keep an answer without tools from calling what earlier turns have called."""
        if constraint is not None or settings.use.mode != "none" or not (names := called_names(messages)):
            return {}
        native = (
            self._info.capabilities.tools == "native" if formatter is None else describes_tools(formatter)
        )
        if native and formatter is not None:
            return {}  # nobody says how it writes calls
        words = openings(self._planner.own_calls() if native else None, names)
        bias = settings.sampling.get("logit_bias", ())
        return fields_without_calls(words, self._vocab, bias)

    def _in_two_parts(
        self, planned: PlannedChat, fields: dict[str, Any], answer: AnswerFormat, shape: PromptShape
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
        budget = shape.reasoning_budget_tokens or -1
        first = fields | {
            "n_predict": max(1, min(budget, left - 1) if budget > 0 else left // 2),
            "stop": list(opening.ends),
            "preserved_tokens": [*found.preserved, *opening.ends],
            "reasoning_budget_tokens": -1,
        }
        second = fields | answer.fields | {"n": 1, "stop": [*found.stops, *fields.get("stop", ())]}
        return first, AnswerPart(opening.ends[0], plan, second, limit if limit > 0 else None)

    def _count(self, value: str) -> int:
        return len(self._vocab.tokenize(value, add_special=False, parse_special=False))
