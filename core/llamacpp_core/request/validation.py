"""Answers and calls checked under schemas that no grammar holds in full."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import GrammarError

if TYPE_CHECKING:
    from llamacpp_core.request.chat_settings import ChatSettings
    from llamacpp_core.request.tool_choice import ToolChoice

__all__ = ["CallCheck", "SchemaReport", "call_check", "schema_report"]

#: Says what is wrong with a call, ``{"name": ..., "arguments": "..."}``; None when nothing is.
CallCheck = Callable[[Mapping[str, Any]], str | None]


def call_check(use: ToolChoice, *, report: bool = False) -> CallCheck | None:
    """What finds errors in calls of tools whose schemas no grammar can hold in full; None where all can.

    Args:
        use: The tools that may be called.
        report: Forced calls are no more exact than others.
    """
    if use.mode != "auto" and not (report and use.mode == "forced"):
        return None
    from llamacpp_core.grammar import problem_of

    loose = _loose(use)
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in use.tools}

    def check(function: Mapping[str, Any]) -> str | None:
        if function["name"] not in loose:
            return None
        try:
            return problem_of(json.loads(function["arguments"]), schemas[function["name"]])
        except (ValueError, RecursionError) as error:
            return f"the arguments are not JSON: {error}"

    return check if loose else None


def _loose(use: ToolChoice) -> dict[str, tuple[str, ...]]:
    """Names of tools to what is left out of their schemas; a tool that cannot be compiled at all is one."""
    from llamacpp_core.grammar import loose_tools

    found: dict[str, tuple[str, ...]] = {}
    for tool in use.tools:
        try:
            found |= loose_tools([tool])
        except GrammarError as error:
            found[tool["function"]["name"]] = (str(error),)
    return found


class SchemaReport:
    """What a grammar did not hold of the schemas of a request, and what is wrong with an answer.

    Args:
        left_out: What is left to validation.
        check_call: What is wrong with a call; None where calls are held in full.
        schema: The schema of the answer; None where none was asked for.
    """

    def __init__(
        self, left_out: Sequence[str], check_call: CallCheck | None, schema: Mapping[str, Any] | bool | None
    ) -> None:
        self.left_out = tuple(left_out)
        self.check_call = check_call
        self.schema = schema

    def of(self, text: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The report on one answer.

        Args:
            text: The answer's text.
            calls: The functions of its calls.

        Returns:
            ``left_out``, a list of messages, and ``error``, what is wrong with the answer; None for nothing.
        """
        return {"left_out": list(self.left_out), "error": self._error(text, calls)}

    def _error(self, text: str, calls: Sequence[Mapping[str, Any]]) -> str | None:
        for index, function in enumerate(calls):
            problem = self.check_call(function) if self.check_call is not None else None
            if problem is not None:
                return f"tool_calls[{index}] ({function['name']}): {problem}"
        if calls or self.schema is None:
            return None
        from llamacpp_core.grammar import problem_of

        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            return f"the answer is not JSON: {error}"
        if isinstance(self.schema, bool):
            return None if self.schema else "$: no value is valid under false"
        return problem_of(value, self.schema)


def schema_report(settings: ChatSettings) -> SchemaReport | None:
    """What reports on the answers of a request; None where schemas are to be held exactly."""
    if not settings.report_schemas:
        return None
    from llamacpp_core.grammar import loose_schema

    left_out: list[str] = []
    if settings.use.mode != "none":
        left_out += [f"{name}: {text}" for name, texts in _loose(settings.use).items() for text in texts]
    schema = None if settings.use.mode == "forced" else settings.schema
    if schema is not None:
        left_out += loose_schema(schema, limits=settings.limits).left_out
    return SchemaReport(left_out, call_check(settings.use, report=True), schema)
