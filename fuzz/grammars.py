"""Random grammars and JSON schemas, compiled."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

__all__ = ["ATOMS", "KEYWORDS", "PIECES", "cases", "run", "schema"]

PIECES = (
    '"a" "" "\\n" "\\x41" [a-z] [^a] [] [a-] . ::= | ( ) * + ? {2} {2,} {0,3} {99999}'
    " {3,1} root x y-1 # \\\\ [ ]"
).split()
KEYWORDS = (
    "type properties required items anyOf oneOf allOf not enum const pattern format minLength maxLength"
    " minimum maximum multipleOf minItems maxItems uniqueItems additionalProperties prefixItems"
    " $ref $defs if then else exclusiveMinimum propertyNames patternProperties contains default"
    " title minProperties"
).split()
ATOMS: tuple[Any, ...] = (
    0,
    1,
    -1,
    2.5,
    1e400,
    10**30,
    "",
    "a",
    "string",
    "object",
    "array",
    "integer",
    "null",
)
ATOMS += ("#/$defs/a", "#", "^a*b+(c|d){2,3}$", "(?=a)", "date-time", "uuid", "x", True, False, None, [], {})


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases, grammars and schemas in turn."""
    return [f"{'gbnf' if i % 2 else 'schema'}:{seed + i}" for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Compiles one."""
    from llamacpp_core import LlamaGrammar

    numbers = random.Random(case)
    if case.startswith("gbnf"):
        text = "root ::= " + " ".join(numbers.choice(PIECES) for _ in range(numbers.choice((1, 4, 12, 60))))
        if numbers.random() < 0.5:
            text += "\nx ::= " + " ".join(numbers.choice(PIECES) for _ in range(5))
        (folder / "grammar").write_text(text)
        LlamaGrammar.from_string(text)
        return
    made = schema(numbers, 4)
    text = json.dumps(made)
    (folder / "schema").write_text(text)
    LlamaGrammar.from_json_schema(text)


def schema(numbers: random.Random, depth: int) -> Any:
    """A schema, or what stands in the place of one."""
    if depth == 0 or numbers.random() < 0.1:
        return numbers.choice(ATOMS)
    out: dict[str, Any] = {
        "type": numbers.choice(("object", "array", "string", "integer", "number", ["null", "string"]))
    }
    for _ in range(numbers.choice((1, 2, 3, 5))):
        keyword = numbers.choice(KEYWORDS)
        if keyword in ("properties", "$defs", "patternProperties"):
            out[keyword] = {
                numbers.choice("abc"): schema(numbers, depth - 1) for _ in range(numbers.choice((1, 2, 3)))
            }
        elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            out[keyword] = [schema(numbers, depth - 1) for _ in range(numbers.choice((1, 2, 3)))]
        elif keyword in (
            "items",
            "additionalProperties",
            "not",
            "if",
            "then",
            "else",
            "contains",
            "propertyNames",
        ):
            out[keyword] = schema(numbers, depth - 1)
        elif keyword in ("enum", "required"):
            out[keyword] = [numbers.choice(ATOMS) for _ in range(3)]
        else:
            out[keyword] = numbers.choice(ATOMS)
    return out
