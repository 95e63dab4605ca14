"""What a compiled schema accepts and makes, over a wide table of schemas, with jsonschema as the judge."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from grammar.matcher import accepts, accepts_prefix, max_stacks, random_text
from grammar.schemas import SCHEMAS
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf, parse_gbnf
from llamacpp_core.grammar.formats import PATTERNS, WIDE_PATTERNS
from llamacpp_core.grammar.strings import pattern_dfa

CHECKER = Draft202012Validator.FORMAT_CHECKER
NAMES = sorted(SCHEMAS)
WHITESPACE = ("none", "space", "pretty")


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=CHECKER)


def uuid_of(version: int) -> Callable[[str], object]:
    def check(text: str) -> None:
        assert uuid.UUID(text).version == version

    return check


#: Formats that jsonschema does not know, with what reads them.
READERS: dict[str, Callable[[str], object]] = {
    "byte": lambda text: base64.b64decode(text, validate=True),
    "base64url": lambda text: base64.b64decode(text, altchars=b"-_", validate=True),
    "partial-date-time": lambda text: datetime.datetime.fromisoformat(text[:26]),
    "ip": ipaddress.ip_address,
    "ipvanyaddress": ipaddress.ip_address,
    "ipvanynetwork": ipaddress.ip_network,
    "ipvanyinterface": ipaddress.ip_interface,
    "ipv4network": ipaddress.IPv4Network,
    "ipv6network": ipaddress.IPv6Network,
    "ipv4interface": ipaddress.IPv4Interface,
    "ipv6interface": ipaddress.IPv6Interface,
    "iri": lambda text: CHECKER.check(text, "uri"),
    "iri-reference": lambda text: CHECKER.check(text, "uri-reference"),
    "name-email": lambda text: CHECKER.check(text, "email"),
    **{f"uuid{version}": uuid_of(version) for version in (1, 3, 4, 5, 6, 7, 8)},
}


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_what_is_made_has_its_format(name: str) -> None:
    assert name in CHECKER.checkers or name in READERS
    gbnf = json_schema_to_gbnf({"type": "string", "format": name})
    for seed in range(40):
        text = json.loads(random_text(gbnf, seed))
        if not name.startswith("iri"):  # the checker of IRIs refuses "::" in IPv6 addresses; its URIs know it
            CHECKER.check(text, name)
        READERS.get(name, str)(text)
        assert pattern_dfa(PATTERNS[name]).accepts(text)
        assert name not in WIDE_PATTERNS or pattern_dfa(WIDE_PATTERNS[name]).accepts(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uri", "http://localhost:11434/v1"),
        ("uri", "https://example.org/a%20b?c=d#part"),
        ("uri", "https://user:word@example.org/"),
        ("uri", "http://[::1]:8080/x"),
        ("uri", "file:///etc/hosts"),
        ("uri", "mailto:someone@example.org"),
        ("uri", "urn:isbn:0451450523"),
        ("uri-reference", "../a/b.html#c"),
        ("email", "a.b.c@example.org"),
        ("email", "o'brien@example.org"),
        ("date-time", "2024-05-06T07:08:09.123456789Z"),
        ("hostname", "a-b.example.org"),
    ],
)
def test_values_that_people_write(name: str, text: str) -> None:
    assert accepts(json_schema_to_gbnf({"type": "string", "format": name}), json.dumps(text))


@pytest.mark.parametrize(
    ("name", "text"),
    [("hostname", "xn--X"), ("hostname", "ab--c"), ("email", "a@xn--x.org"), ("uri", "a b"), ("uri", "x")],
)
def test_values_that_are_none_of_a_format(name: str, text: str) -> None:
    assert not accepts(json_schema_to_gbnf({"type": "string", "format": name}), json.dumps(text))


def test_the_table_is_wide() -> None:
    assert len(SCHEMAS) >= 80


@pytest.mark.parametrize("name", NAMES)
def test_valid_values_are_accepted(name: str) -> None:
    schema, values = SCHEMAS[name]
    for value in values:
        assert validator(schema).is_valid(value), value
        for whitespace, separators in (
            ("none", (",", ":")),
            ("space", (", ", ": ")),
            ("pretty", (",", ": ")),
        ):
            gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace=whitespace))
            text = json.dumps(value, ensure_ascii=False, separators=separators).replace("\x7f", r"\u007f")
            assert accepts(gbnf, text), (whitespace, text)
        indented = json.dumps(value, ensure_ascii=False, indent=2).replace("\x7f", r"\u007f")
        pretty = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace="pretty"))
        assert accepts(pretty, indented), indented


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_is_valid(name: str) -> None:
    schema, _ = SCHEMAS[name]
    judge = validator(schema)
    for whitespace in WHITESPACE:
        gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace=whitespace))
        for seed in range(15):
            text = random_text(gbnf, seed)
            value = json.loads(text)
            judge.validate(value)
            json.dumps(value, ensure_ascii=False).encode()
            assert accepts_prefix(gbnf, text[: min(len(text) // 2, 200)])


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), fuel=st.integers(0, 2000))
def test_what_is_made_is_valid_for_any_seed(name: str, seed: int, fuel: int) -> None:
    schema, _ = SCHEMAS[name]
    text = random_text(json_schema_to_gbnf(schema), seed, fuel=fuel)
    validator(schema).validate(json.loads(text))


@pytest.mark.parametrize("name", NAMES)
def test_ambiguity_is_low(name: str) -> None:
    schema, values = SCHEMAS[name]
    gbnf = json_schema_to_gbnf(schema)
    texts = [json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f") for value in values]
    # a place where one of n names or values may come costs n
    limit = 45 if name in ("optional, many", "ipv6") else 24
    assert max(max_stacks(gbnf, text) for text in texts) <= limit


@pytest.mark.parametrize("name", NAMES)
def test_every_grammar_parses_and_every_rule_is_used(name: str) -> None:
    grammar = parse_gbnf(json_schema_to_gbnf(SCHEMAS[name][0]))
    seen, todo = {"root"}, ["root"]
    while todo:
        for alternative in grammar.rules[todo.pop()]:
            names = {element.name for element in alternative if hasattr(element, "name")} - seen
            seen |= names
            todo += names
    assert {rule for rule in grammar.rules if "_" not in rule} <= seen
