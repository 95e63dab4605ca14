"""Grammars: what a model may generate, exactly.

:class:`LlamaGrammar` holds a checked grammar for ``Llama``; :func:`json_schema_to_gbnf` compiles a JSON
schema or refuses it by name; :func:`tool_call_gbnf` makes grammars for tool calls.
"""

from __future__ import annotations

from llamacpp_core.grammar.elements import Grammar
from llamacpp_core.grammar.gbnf import parse_gbnf
from llamacpp_core.grammar.generic import (
    ARITHMETIC_GBNF,
    C_GBNF,
    CHESS_GBNF,
    JAPANESE_GBNF,
    JSON_ARR_GBNF,
    JSON_GBNF,
    LIST_GBNF,
)
from llamacpp_core.grammar.grammar import LLAMA_GRAMMAR_DEFAULT_ROOT, LlamaGrammar
from llamacpp_core.grammar.json_schema import (
    LooseSchema,
    SchemaCompiler,
    json_schema_to_gbnf,
    loose_schema,
)
from llamacpp_core.grammar.limits import SchemaLimits
from llamacpp_core.grammar.tool_call import (
    call_or_answer_gbnf,
    loose_tools,
    tool_arguments_gbnf,
    tool_call_gbnf,
)
from llamacpp_core.grammar.validation import problem_of

__all__ = [
    "ARITHMETIC_GBNF",
    "CHESS_GBNF",
    "C_GBNF",
    "JAPANESE_GBNF",
    "JSON_ARR_GBNF",
    "JSON_GBNF",
    "LIST_GBNF",
    "LLAMA_GRAMMAR_DEFAULT_ROOT",
    "Grammar",
    "LlamaGrammar",
    "LooseSchema",
    "SchemaCompiler",
    "SchemaLimits",
    "call_or_answer_gbnf",
    "json_schema_to_gbnf",
    "loose_schema",
    "loose_tools",
    "parse_gbnf",
    "problem_of",
    "tool_arguments_gbnf",
    "tool_call_gbnf",
]
