"""The parser of GBNF. What llama.cpp accepts was recorded by running its own parser on these grammars."""

from __future__ import annotations

import pytest
from grammar.matcher import accepts
from hypothesis import given
from hypothesis import strategies as st

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import parse_gbnf
from llamacpp_core.grammar.elements import MAX_GRAMMAR_BYTES, Char, Token
from llamacpp_core.grammar.gbnf import MAX_NESTING

ACCEPTED = [
    "root ::= ",
    'root ::= ""',
    'root ::= "a" |',
    'root::="a"',
    'root ::= "a"{2,3}',
    'root ::= "a"{2000}',
    'root ::= "a"{2,}',
    'root ::= "a"{ 1 , 2 }',
    'root ::= ("a" "b"\n "c")',
    'root ::= ("a"){2000}',
    'root ::= (("a")){1000}',
    'root ::= ("a"{2}){1000}',
    'x ::= "b"\nroot ::= (x){1001}',
    "root ::= [a-]",
    "root ::= [-a]",
    "root ::= [^]",
    "root ::= []",
    'root ::= "a" []',
    "root ::= [^a-z\\]]",
    "root ::= [\\x41\\u0041\\U00000041]",
    "root ::= <[12]>",
    "root ::= !<[12]>*",
    "root ::= .*",
    'root ::= "a"++',
    'root ::= ("a"?)+',
    'root ::= ("a"*)*',
    'root ::= ("a"*)* "b"',
    'root ::= "a"{0}',
    'root ::= "a"{0,0} "b"',
    'root ::= "é" [à-ü]',
    'root ::=\n"a"',
    'root ::= "a" # c\n# d\n',
    'root ::= "a" |\n "b"',
    '\troot ::= "a"\r\nx ::= "b"\r',
    'root ::= "a\nb"',
    'root ::= 1\n1 ::= "x"',
    '-a ::= "x"\nroot ::= -a',
    'root ::= "a"{1,2}{3}',
    'root ::= ("a" | )',
    "root ::= ()",
    'root ::= "\\[\\]\\-\\t\\r\\n\\\\\\""',
    "root ::= [z-a]",
    "root ::= [#]",
]
REFUSED = [
    ("", "no rules", 1, 1),
    ("# nothing", "no rules", 1, 1),
    ("root ::= x", "used but never defined", 1, 10),
    ('x ::= "a"', "start rule 'root'", 1, 1),
    ('root ::= "a"{2001}', "above 2000", 1, 13),
    ('root ::= "a"{0,3000}', "above 2000", 1, 13),
    ('root ::= "a"{,3}', "expected a number", 1, 14),
    ('root ::= "a"{3', "expected ',' or '}'", 1, 15),
    ('root ::= "a"{3,2}', "wrong order", 1, 13),
    ('root ::= "a"{99999999999999999999999}', "too big", 1, 14),
    ('root ::= ("a"{2,4}){1000}', "more than 2000 rules", 1, 20),
    ('root ::= (x){1001}\nx ::= "b"', "more than 2000 rules", 1, 13),
    ('root ::= "a"\n "b"', "expected a rule name", 2, 2),
    ("root ::= [a-", "never closed", 1, 10),
    ("root ::= []*", "nothing to repeat", 1, 12),
    ('root ::= "a" | *', "nothing to repeat", 1, 16),
    ('root ::= "a"{0}*', "nothing to repeat", 1, 16),
    ('root ::= "\\x4"', "hexadecimal", 1, 11),
    ('root ::= "\\q"', "unknown escape", 1, 11),
    ('root ::= "a', "never closed", 1, 10),
    ('root ::= (("a")', "never closed", 1, 10),
    ('root ::= ("a"))', "without a matching '('", 1, 15),
    ('root ::= ("a" ; )', "inside parentheses", 1, 15),
    ("root ::= <[12>", "token id", 1, 10),
    ("root ::= <[99999999999]>", "too big", 1, 10),
    ("root ::= <abc", "never closed", 1, 10),
    ("root ::= !x", "expected '<'", 1, 11),
    ('root ::= root "a" | "b"', "left recursion", 1, 1),
    ('root ::= a "x"\na ::= b\nb ::= root | "y"', "left recursion", 1, 1),
    ('root ::= e root "a" | "b"\ne ::= "x" |', "left recursion", 1, 1),
    ('root ::= "a"**', "left recursion", 1, 1),
    ("root = 1", "expected '::='", 1, 6),
    ('root ::= "a" ; ', "unexpected ';'", 1, 14),
    ('"root" ::= "a"', "expected a rule name", 1, 1),
    ('root ::= a_b\na ::= "x"', "unexpected '_'", 1, 11),
    ('root ::= "a"\nroot ::= "b"', "defined twice", 2, 1),
    ('root ::= "a\0b"', "NUL", 1, 12),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepts_what_llama_cpp_accepts(text: str) -> None:
    assert parse_gbnf(text).text == text


@pytest.mark.parametrize(("text", "reason", "line", "column"), REFUSED)
def test_refusals_say_where_and_why(text: str, reason: str, line: int, column: int) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_gbnf(text)
    message = str(caught.value)
    assert reason in message
    assert f"(line {line}, column {column})" in message
    assert caught.value.parameter == "grammar"


def test_the_caret_points_at_the_place() -> None:
    text = "x" * 60 + ' ::= "a" "b" "\\q" "c"\nroot ::= "d"'
    with pytest.raises(GrammarError) as caught:
        parse_gbnf(text)
    _, excerpt, caret = str(caught.value).split("\n")
    assert excerpt[caret.index("^") :].startswith("\\q")
    assert len(excerpt) <= 82


def test_hidden_left_recursion_is_refused() -> None:
    """llama.cpp accepts this and then expands it until the memory is gone."""
    with pytest.raises(GrammarError, match="after empty rules"):
        parse_gbnf('root ::= a root "x" | "y"\na ::= b\nb ::= "" | "z"')


def test_shared_starts_that_take_for_ever_to_check_are_refused() -> None:
    """llama.cpp visits every path to a rule: 2 to the power of 40 here."""
    rules = [f'r{i} ::= r{i + 1} "a" | r{i + 1} "b"' for i in range(40)]
    with pytest.raises(GrammarError, match="too many nested"):
        parse_gbnf("root ::= r0\n" + "\n".join(rules) + '\nr40 ::= "x"')


def test_nesting_is_capped() -> None:
    def nested(n: int) -> str:
        return "root ::= " + "(" * n + '"a"' + ")" * n

    assert parse_gbnf(nested(MAX_NESTING)).rules
    with pytest.raises(GrammarError, match=f"more than {MAX_NESTING} deep"):
        parse_gbnf(nested(MAX_NESTING + 1))
    with pytest.raises(GrammarError, match=f"more than {MAX_NESTING} deep"):
        parse_gbnf(nested(60_000))


def test_size_is_capped() -> None:
    with pytest.raises(GrammarError, match=str(MAX_GRAMMAR_BYTES)):
        parse_gbnf('root ::= "' + "é" * (MAX_GRAMMAR_BYTES // 2) + '"')
    with pytest.raises(GrammarError, match="elements"):
        parse_gbnf('root ::= "' + "x" * 1000 + '"{2000}')
    with pytest.raises(GrammarError, match="100000 rules"):
        parse_gbnf("root ::= " + '"a"{0,2000} ' * 60)


def test_not_text_and_not_utf8() -> None:
    with pytest.raises(GrammarError, match="got bytes"):
        parse_gbnf(b'root ::= "a"')  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match=r"surrogates.*column 11"):
        parse_gbnf('root ::= "\ud800"')


def test_elements() -> None:
    grammar = parse_gbnf('root ::= [^a-c\\n] <[7]> !<think> "\\u00e9"')
    assert grammar.rules["root"] == [
        [Char(((97, 99), (10, 10)), True), Token(7), Token("<think>", True), Char(((233, 233),))]
    ]
    assert grammar.needs_vocabulary
    assert not parse_gbnf("root ::= <[7]>").needs_vocabulary


def test_another_root() -> None:
    assert parse_gbnf('start ::= "a"', root="start").root == "start"


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ('root ::= "a"{2,3}', ["aa", "aaa"], ["", "a", "aaaa"]),
        ('root ::= ("a" | "b")+ "c"?', ["a", "bac"], ["", "c"]),
        ("root ::= [^a-c]*", ["", "xyzé😀"], ["a", "xb"]),
        ('root ::= "(" root ")" | "x"', ["x", "((x))"], ["(x", ")"]),
        ("root ::= . [a-]", ["zz-"[1:], "é-"], ["-b"]),
        ('root ::= ("a"*)* "b"', ["b", "aaab"], ["a", ""]),
        ('root ::= "a" | ""', ["a", ""], ["b"]),
    ],
)
def test_meaning(text: str, good: list[str], bad: list[str]) -> None:
    assert all(accepts(text, word) for word in good)
    assert not any(accepts(text, word) for word in bad)


@given(st.text(alphabet=st.sampled_from('ab-"\\[]()|*+?{},123.<>!#\n\t :='), max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_gbnf("root ::= " + text)
    except GrammarError as error:
        reason = str(error)
    else:
        reason = "line"
    assert "line" in reason
