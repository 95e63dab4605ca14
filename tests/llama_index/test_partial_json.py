from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamacpp_integrations.llama_index._tools import partial_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("{", {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name":', {}),
        ('{"name": "An', {"name": "An"}),
        ('{"name": "An\\', {"name": "An"}),
        ('{"name": "An\\u00e', {"name": "An"}),
        ('{"name": "An\\u00e9', {"name": "Ané"}),
        ('{"a": 1', {"a": 1}),
        ('{"a": 1.', {}),
        ('{"a": -', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": [1, {"b": "x"}, {"c', {"a": [1, {"b": "x"}, {}]}),
        ('{"a": tru', {}),
        ('{"a": "}"', {"a": "}"}),
        ('["x", "y', ["x", "y"]),
        ('{"a": 1}', {"a": 1}),
        ("no JSON", None),
        ("}", None),
    ],
)
def test_what_a_prefix_holds(text: str, value: Any) -> None:
    assert partial_json(text) == value


def grows(before: Any, after: Any) -> bool:
    """Whether the second value has everything of the first, further written."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in after and grows(value, after[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) <= len(after) and all(map(grows, before, after))
    if isinstance(before, str) and isinstance(after, str):
        return after.startswith(before)
    if type(before) is type(after) is int:
        return str(after).startswith(str(before))
    return bool(before is None or before == after)


@given(JSON, st.booleans())
def test_every_prefix_gives_a_part_of_the_whole(value: Any, ascii_only: bool) -> None:
    text = json.dumps({"value": value}, ensure_ascii=ascii_only)
    seen: Any = None
    for end in range(len(text) + 1):
        part = partial_json(text[:end])
        if "\\ud" not in text:  # half of a surrogate pair is no beginning of a character
            assert grows(seen, part)
        seen = part
    assert seen == {"value": value}
