"""LlamaGrammar and the ready-made grammars."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from grammar.matcher import accepts, random_text

import llamacpp_core.grammar as module
from llamacpp_core.errors import GrammarError, InvalidParameterError
from llamacpp_core.grammar import LlamaGrammar, SchemaLimits, json_schema_to_gbnf, parse_gbnf

READY_MADE = sorted(name for name in module.__all__ if name.endswith("_GBNF"))


def test_from_string() -> None:
    grammar = LlamaGrammar.from_string('root ::= "a"')
    assert grammar.gbnf == grammar._grammar == 'root ::= "a"'
    assert grammar == LlamaGrammar('root ::= "a"')
    assert hash(grammar) == hash(LlamaGrammar('root ::= "a"'))
    assert grammar != LlamaGrammar('root ::= "b"')
    assert grammar != 'root ::= "a"'
    assert repr(grammar) == """<LlamaGrammar 1 rules, 12 characters: 'root ::= "a"'>"""


def test_bad_grammars_are_refused_when_made() -> None:
    with pytest.raises(GrammarError, match="line 1, column 10"):
        LlamaGrammar.from_string("root ::= x")
    with pytest.raises(ValueError, match="no rules"):
        LlamaGrammar("")


def test_from_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gbnf"
    path.write_text('\ufeffroot ::= "é"\n', encoding="utf-8")
    assert accepts(LlamaGrammar.from_file(path).gbnf, "é")
    assert LlamaGrammar.from_file(str(path)) == LlamaGrammar.from_file(path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=r"missing\.gbnf: No such file"):
        LlamaGrammar.from_file(tmp_path / "missing.gbnf")
    with pytest.raises(GrammarError, match="grammar file"):
        LlamaGrammar.from_file(tmp_path)
    bad = tmp_path / "bad.gbnf"
    bad.write_bytes(b'root ::= "\xff"')
    with pytest.raises(GrammarError, match="not UTF-8"):
        LlamaGrammar.from_file(bad)
    bad.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(GrammarError, match="more than 1048576 bytes"):
        LlamaGrammar.from_file(bad)


def test_from_json_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    grammar = LlamaGrammar.from_json_schema(schema)
    assert grammar == LlamaGrammar.from_json_schema(json.dumps(schema))
    assert accepts(grammar.gbnf, '{"a": "x"}')
    short = LlamaGrammar.from_json_schema(schema, limits=SchemaLimits(max_string_length=1))
    assert not accepts(short.gbnf, '{"a": "xy"}')


def test_verbose_logs(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO):
        LlamaGrammar.from_string('root ::= "a"')
        assert not caplog.records
        LlamaGrammar.from_string('root ::= "a"', verbose=True)
    assert 'root ::= "a"' in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_grammars(name: str) -> None:
    gbnf = getattr(module, name)
    LlamaGrammar(gbnf)
    for seed in range(20):
        text = random_text(gbnf, seed)
        assert accepts(gbnf, text)
        if name == "JSON_GBNF":
            assert isinstance(json.loads(text), dict)
        if name == "JSON_ARR_GBNF":
            assert isinstance(json.loads(text), list)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("JSON_GBNF", '{"a": [1, -2.5e3, {"b": "\\u00e9\\ud83d\\ude00"}], "c": null}'),
        ("JSON_GBNF", '{\n  "a": [\n    true\n  ]\n}'),
        ("JSON_ARR_GBNF", '[\n1,\n{"a": 2}]'),
        ("LIST_GBNF", "- one\n- two\n"),
        ("ARITHMETIC_GBNF", "x + 2*y= 14\n"),
        ("CHESS_GBNF", "1. e4 e5\n2. Nf3 Nc6\n3. O-O axb5\n"),
        ("JAPANESE_GBNF", "これは漢字、カナ。"),
        (
            "C_GBNF",
            'int main() {\n  int x = 1;\n  while (x < 10) {\nx = 1;\n}\n  f(x, "a\\n");\n  return x;\n}\n',
        ),
    ],
)
def test_ready_made_grammars_accept(name: str, text: str) -> None:
    assert accepts(getattr(module, name), text)


@pytest.mark.parametrize("text", ['{"a": "\n"}', '{"a": "\\ud800"}', "[1]", '{"a": 01}', '{"a":1,}', ""])
def test_json_grammar_is_strict(text: str) -> None:
    assert not accepts(module.JSON_GBNF, text)


def test_exports_are_sorted() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_string_length", 0),
        ("max_string_length", "5"),
        ("max_depth", -1),
        ("max_array_items", True),
        ("max_pattern_length", 5000),
        ("max_key_length", 2001),
        ("max_integer_digits", 1001),
        ("max_fraction_digits", 1001),
        ("max_exponent_digits", 1001),
        ("whitespace", "tabs"),
    ],
)
def test_limits_are_checked(field: str, value: object) -> None:
    with pytest.raises(InvalidParameterError, match=f"limits.{field} must be"):
        SchemaLimits(**{field: value})  # type: ignore[arg-type]


def test_the_largest_limits_make_grammars_that_can_be_read() -> None:
    limits = SchemaLimits(
        max_pattern_length=2000,
        max_key_length=2000,
        max_integer_digits=1000,
        max_fraction_digits=1000,
        max_exponent_digits=1000,
    )
    for schema in (True, {"type": "string", "pattern": "^a+$"}, {"type": "number", "minimum": 0.5}):
        assert parse_gbnf(json_schema_to_gbnf(schema, limits=limits)).rules


def test_limits_from_tokens() -> None:
    small, large = SchemaLimits.for_max_tokens(100), SchemaLimits.for_max_tokens(100_000)
    assert small.max_string_length == 50
    assert large == SchemaLimits()
    with pytest.raises(InvalidParameterError, match="max_tokens"):
        SchemaLimits.for_max_tokens(0)
