"""The examples of the guide run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "docs" / "langchain.md"


def test_the_examples_of_the_guide_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "guide"}
    assert len(blocks) >= 8
    for block in blocks:
        exec(compile(block, GUIDE.name, "exec"), names)
