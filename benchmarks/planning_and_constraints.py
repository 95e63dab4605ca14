"""What promises cost: planning with many tools, constrained streams, streams with tools bound.

    .venv/bin/python benchmarks/planning_and_constraints.py

Three measurements, the last two paired (both sides in turn):

* planning a request with 20 tools that was seen before, in milliseconds of this thread's CPU time, with the
  model's own template and, with ``--template``, others;
* tokens per second of a stream that a schema holds, against a free one;
* milliseconds per token of a stream with tools bound, against one whose prompt says the same without them.

A stream is timed from its first chunk to its last, with the end of the text ruled out, so both sides
generate as many tokens after prompts of the same length.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from _pairs import paired, table

from llamacpp_core import Llama
from llamacpp_core.llama.chat import prepare_chat
from llamacpp_core.request.tool_choice import call_instructions

QUESTION = "Write a long story about a lighthouse keeper and the sea."
MESSAGES = [{"role": "user", "content": QUESTION}]
# Never complete within the measured tokens.
SCHEMA = {"type": "array", "items": {"type": "string", "maxLength": 200}, "minItems": 900, "maxItems": 1000}


def tools(n: int) -> list[dict[str, Any]]:
    """As many different tools."""
    place = {"type": "string", "description": "Name of the place, in English"}
    unit = {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Which unit"}
    days = {"type": "integer", "minimum": 0, "maximum": 14, "description": "How many days"}
    parameters = {
        "type": "object",
        "properties": {"place": place, "unit": unit, "days": days},
        "required": ["place", "unit"],
    }
    made = []
    for i in range(n):
        description = f"Tool number {i}, which does something useful for its users."
        function = {"name": f"tool_{i}", "description": description, "parameters": parameters}
        made.append({"type": "function", "function": function})
    return made


def planning(llm: Llama, choice: str, rounds: int = 25) -> float:
    """Milliseconds of CPU time to plan a request with 20 tools, once it was seen."""
    given = {"tools": tools(20), "tool_choice": choice}
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        prepare_chat(llm, MESSAGES, given, None)
        times.append((time.thread_time() - start) * 1000)
    return statistics.median(times[3:])


def seconds_per_token(llm: Llama, messages: list[dict[str, Any]], n: int, **more: Any) -> float:
    """Seconds between two tokens of a stream, on average."""
    stream = llm.create_chat_completion(
        messages, max_tokens=n, temperature=0.0, ignore_eos=True, stream=True, **more
    )
    first = last = 0.0
    made = 0
    for chunk in stream:
        last = time.perf_counter()
        if not first and any(c["delta"].get("content") for c in chunk["choices"]):
            first = last
        made = (chunk.get("usage") or {}).get("completion_tokens", made)
    return (last - first) / max(made - 1, 1)


def constrained(llm: Llama, n: int, pairs: int) -> dict[str, float]:
    """Tokens per second: a schema against nothing."""
    held = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
    return paired(
        lambda: 1 / seconds_per_token(llm, MESSAGES, n, **held),
        lambda: 1 / seconds_per_token(llm, MESSAGES, n),
        pairs,
    )


def with_tools(llm: Llama, n: int, pairs: int) -> dict[str, float]:
    """Milliseconds per token: tools bound against the same prompt without them."""
    bound = tools(3)
    said = {"role": "system", "content": call_instructions(bound, forced=False, parallel=True)}
    return paired(
        lambda: 1000 * seconds_per_token(llm, MESSAGES, n, tools=bound),
        lambda: 1000 * seconds_per_token(llm, [said, *MESSAGES], n),
        pairs,
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument(
        "--template", type=Path, nargs="*", default=[], help="more chat templates to plan with"
    )
    parser.add_argument("--tokens", type=int, nargs="*", default=[500, 4000])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()

    for template in (None, *options.template):
        text = template.read_text(encoding="utf-8") if template else None
        with Llama(options.model, n_ctx=8192, n_parallel=1, warmup=False, chat_template=text) as llm:
            auto, required = planning(llm, "auto"), planning(llm, "required")
        name = template.stem if template else "the model's own template"
        print(f"planning, 20 tools, {name}: auto {auto:.2f} ms, required {required:.2f} ms", flush=True)
    with Llama(options.model, n_ctx=8192, n_parallel=1) as llm:
        rows = {"schema against free, 200 tokens": constrained(llm, 200, options.pairs)}
        print(table(rows, "tokens/s"), flush=True)
        rows = {f"tools bound, {n} tokens": with_tools(llm, n, options.pairs) for n in options.tokens}
        print(table(rows, "ms/token"), flush=True)


if __name__ == "__main__":
    main()
