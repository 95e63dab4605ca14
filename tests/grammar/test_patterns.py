"""Patterns as automata and as grammars, judged by Python's ``re``."""

from __future__ import annotations

import json
import random
import re

import pytest
from grammar.matcher import accepts, max_stacks, random_text

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import json_schema_to_gbnf, strings
from llamacpp_core.grammar.automaton import all_strings, not_these
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.strings import pattern_dfa

ATOMS = ["a", "b", '"', "\\\\", "\\n", "[ab]", "[^a]", ".", r"\d", r"\w", r"\s", '[a-c"]', "-", "é", "1", " "]
QUANTIFIERS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?"]
LETTERS = 'aabbc1"\\\n\t -é\x01'


def random_pattern(rng: random.Random, depth: int = 2) -> str:
    def item() -> str:
        roll = rng.random()
        if roll < 0.05:
            return rng.choice("^$")
        text = f"(?:{random_pattern(rng, depth - 1)})" if roll < 0.3 and depth else rng.choice(ATOMS)
        return text + (rng.choice(QUANTIFIERS) if rng.random() < 0.35 else "")

    branches = ["".join(item() for _ in range(rng.randint(0, 4))) for _ in range(rng.choice([1, 1, 2]))]
    return "|".join(branches)


@pytest.mark.parametrize("seed", range(150))
def test_same_as_re(seed: int) -> None:
    rng = random.Random(seed)
    pattern = random_pattern(rng)
    if rng.random() < 0.5:
        pattern = f"^(?:{pattern})$"
    expected = re.compile(pattern, re.ASCII)
    dfa = pattern_dfa(pattern)
    for _ in range(40):
        text = "".join(rng.choice(LETTERS) for _ in range(rng.randint(0, 8)))
        if not text.endswith("\n"):  # where re lets $ match before the last line break
            assert dfa.accepts(text) == (expected.search(text) is not None), (pattern, text)


@pytest.mark.parametrize("seed", range(60))
def test_grammar_same_as_re(seed: int) -> None:
    rng = random.Random(1000 + seed)
    pattern = random_pattern(rng, 1)
    low, high = rng.choice([(0, None), (1, 4), (2, 6)])
    schema = {"type": "string", "pattern": pattern, "minLength": low}
    if high is not None:
        schema["maxLength"] = high
    expected = re.compile(pattern, re.ASCII)

    def valid(text: str) -> bool:
        return expected.search(text) is not None and low <= len(text) <= (high or 10**6)

    texts = ["".join(rng.choice(LETTERS) for _ in range(rng.randint(0, 7))) + "a" for _ in range(30)]
    try:
        gbnf = json_schema_to_gbnf(schema)
    except GrammarError:
        assert not any(valid(text) for text in texts)
        return
    for text in texts:
        assert accepts(gbnf, json.dumps(text, ensure_ascii=False)) == valid(text), (pattern, text)
    for number in range(20):
        text = json.loads(random_text(gbnf, number))
        if not text.endswith("\n"):
            assert valid(text), (pattern, text)


@pytest.mark.parametrize(
    "pattern", ["^(a|b)*abb$", "^(a*)*b$", "^(a|a)*$", "^([a-z]+\\.)+[a-z]{2,}$", "^a?a?a?a?aaaa$"]
)
def test_ambiguous_patterns_become_unambiguous(pattern: str) -> None:
    gbnf = json_schema_to_gbnf({"type": "string", "pattern": pattern})
    for seed in range(10):
        assert max_stacks(gbnf, random_text(gbnf, seed)) <= 6


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\bword\b", "word boundaries"),
        (r"(a)\1", "backreferences"),
        (r"(?P<x>a)\k<x>", "backreferences"),
        (r"(?<=a)b", "lookbehind"),
        (r"(?<!a)b", "lookbehind"),
        (r"a(?=b)", "lookaheads are only supported at the start"),
        (r"(?=b)b", "lookaheads are only supported at the start"),
        (r"(?i)abc", "is not supported"),
        (r"\p{L}+", "Unicode properties"),
        (r"\cA", "control escapes"),
        (r"\Aabc\Z", r"\\A is not part"),
        (r"\q", "unknown escape"),
        (r"\012", "octal"),
        (r"\x1", "hexadecimal"),
        (r"\u{110000}", "beyond Unicode"),
        (r"\ud800", "surrogates"),
        ("(a", "never closed"),
        ("a)", "without a matching"),
        ("[a", "never closed"),
        ("[]", "empty character class"),
        ("[b-a]", "wrong order"),
        (r"[\d-z]", "single character on each side"),
        ("*a", "nothing to repeat"),
        ("{2}", "nothing to repeat"),
        ("a**", "cannot follow a quantifier"),
        ("a++", "cannot follow a quantifier"),
        ("a{3,2}", "wrong order"),
        ("a{,3}", "different dialects"),
        ("a{5000}", "above 2000"),
        ("^*", "cannot be repeated"),
        ("a\\", "ends in a backslash"),
        ("(" * 200 + ")" * 200, "nested more than"),
        ("^(a|b)*a(a|b){14}$", "states"),
        ("^a{2000}b{2000}c{2000}$", "states"),
    ],
)
def test_refusals(pattern: str, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason) as caught:
        json_schema_to_gbnf({"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}})
    assert str(caught.value).startswith("$.properties.x.pattern: ")


def test_a_pattern_that_nothing_matches_is_refused_where_a_value_is_needed() -> None:
    nothing = {"type": "object", "properties": {"x": {"type": "string", "pattern": "a^b"}}}
    assert accepts(json_schema_to_gbnf(nothing), "{}")  # the property is never written
    with pytest.raises(GrammarError, match="no string can match"):
        json_schema_to_gbnf({**nothing, "required": ["x"]})


def test_shorthands_mean_the_same_in_every_dialect() -> None:
    assert pattern_dfa(r"^\d$").accepts("7")
    assert not pattern_dfa(r"^\d$").accepts("٣")
    assert not pattern_dfa(r"^\D$").accepts("٣")
    assert not pattern_dfa(r"^\W$").accepts("é")
    assert pattern_dfa(r"^[^\D]$").accepts("7")
    assert not pattern_dfa(r"^[^\D]$").accepts("٣")
    assert pattern_dfa(r"^\S$").accepts("é")
    assert not pattern_dfa(r"^[\S]$").accepts("\u00a0")
    assert pattern_dfa(r"^[\w.-]+$").accepts("a.b-c_9")
    assert pattern_dfa(r"^[\b]$").accepts("\b")


def test_unbounded_patterns_end() -> None:
    gbnf = json_schema_to_gbnf({"type": "string", "pattern": "^a+$"})
    assert accepts(gbnf, '"' + "a" * 101 + '"')
    assert not accepts(gbnf, '"' + "a" * 102 + '"')


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        ({"pattern": "^[a-z]+$", "maxLength": 4096}, "a" * 4096, "a" * 4097),
        (
            {"pattern": "^[a-z]*-[0-9]*$", "maxLength": 65536},
            "a" * 2500 + "-" + "1" * 2500,
            "a-" + "1" * 65535,
        ),
        ({"pattern": "^[a-z]+$", "minLength": 3000}, "a" * 3000, "a" * 2999),
    ],
)
def test_patterns_in_long_strings_can_be_read(schema: dict[str, object], yes: str, no: str) -> None:
    gbnf = json_schema_to_gbnf({"type": "string", **schema})
    assert accepts(gbnf, json.dumps(yes))
    assert not accepts(gbnf, json.dumps(no))


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        # Counted exactly, though there are many places.
        (
            {"pattern": r"^(?:\S+\s+){0,9}\S+$", "maxLength": 100},
            ["a" * 98 + " b", "infrastructure as  a service", "a " * 9 + "a" * 82],
            ["a" * 99 + " b", "a " * 10 + "a"],
        ),
        # Too many places to be counted: the room goes to the words.
        (
            {"pattern": r"^(?:\S+\s+){0,49}\S+$", "maxLength": 500},
            ["This is an example service.", "abcdefghi " * 49 + "a", "abcdefghi"],
            ["a " * 50 + "a", "a" * 450 + " " * 50 + "a"],
        ),
        # Places on different ways do not take from each other, and fewer rounds leave more room to each.
        ({"format": "uri", "maxLength": 255}, ["https://www.example-theatre.com/hamlet.jpg"], ["https://"]),
        (
            {"pattern": r"^[\w\-\./]+\.php+$", "minLength": 16, "maxLength": 1024},
            ["path/to/activity/MyActivityClass.php", "a" * 30 + ".min.v2.php"],
            ["path/to/activity/MyActivityClass", "a.php"],
        ),
    ],
)
def test_long_strings_under_a_pattern_have_room_for_words(
    schema: dict[str, object], yes: list[str], no: list[str]
) -> None:
    gbnf = json_schema_to_gbnf({"type": "string", **schema})
    assert all(accepts(gbnf, json.dumps(text)) for text in yes)
    assert not any(accepts(gbnf, json.dumps(text)) for text in no)
    for seed in range(20):
        text = json.loads(random_text(gbnf, seed, fuel=3000))
        assert len(text) <= schema["maxLength"]  # type: ignore[operator]
        assert "pattern" not in schema or re.search(str(schema["pattern"]), text, re.ASCII)


@pytest.mark.parametrize("seed", range(40))
def test_fewer_rounds_leave_no_less_room(seed: int) -> None:
    rng = random.Random(seed)
    dfa, high = pattern_dfa(random_pattern(rng)), rng.randint(5, 300)
    rooms = [strings._with_room(dfa, rounds, high) for rounds in (16, 8, 4, 2, 1, 0)]
    found = [-1 if room is None else min(room[0], strings._WORD) for room in rooms]
    assert found == sorted(found)


@pytest.mark.parametrize(("high", "most"), [(200, 2), (300, 4), (6000, 1)])
def test_rounds_are_not_tried_where_none_leaves_room(
    high: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    unroll = strings.unroll_circles
    monkeypatch.setattr(
        strings, "unroll_circles", lambda d, rounds: tried.append(rounds) or unroll(d, rounds)
    )
    strings.bounded_rules.cache_clear()
    schema = {"type": "string", "pattern": "^(a+b+c+d+e+f+g+h+i+j+)+$", "maxLength": high}
    gbnf = json_schema_to_gbnf(schema)
    assert accepts(gbnf, '"abcdefghij"')
    assert 1 <= len(tried) <= most, tried


def test_long_names_under_a_pattern_can_be_read() -> None:
    names = {"pattern": "^[a-z]+$", "maxLength": 5000}
    schema = {"type": "object", "propertyNames": names, "additionalProperties": {"type": "null"}}
    gbnf = json_schema_to_gbnf(schema)
    assert accepts(gbnf, json.dumps({"a" * 5000: None}, separators=(",", ":")))
    assert not accepts(gbnf, json.dumps({"a" * 5001: None}, separators=(",", ":")))
    schema["propertyNames"] = {**names, "maxLength": 10**7}
    with pytest.raises(GrammarError, match=r"^\$\.propertyNames: lengths and counts above"):
        json_schema_to_gbnf(schema)


def test_patterns_that_expand_into_too_many_rules_are_refused_by_their_schema() -> None:
    words = [{"pattern": rf"^(?:\S+\s+){{0,{n}}}\S+$"} for n in (195, 196, 197, 198, 199)]
    schema = {"properties": {str(n): {"type": "string", **word} for n, word in enumerate(words)}}
    with pytest.raises(GrammarError, match=r"^\$: the schema makes a grammar that expands to more than"):
        json_schema_to_gbnf(schema)


def test_every_string_but_these() -> None:
    dfa = not_these(("a", "abc", ""))
    assert [dfa.accepts(text) for text in ("", "a", "ab", "abc", "abcd", "x")] == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]
    assert not all_strings().intersect(dfa.complement()).accepts("x")
    assert all_strings().with_length(1, 2).accepts("ab")
    assert not all_strings().with_length(1, 2).accepts("")


def test_error_type_of_the_automaton() -> None:
    with pytest.raises(PatternError):
        pattern_dfa("(")
