"""Runs the same calls through llama-cpp-python and through this package, and prints what is equal.

llama-cpp-python gets an environment of its own, built from source on first use (some minutes)::

    python benchmarks/compare_llama_cpp_python.py --venv build/llama-cpp-python

Needs llamacpp_core in the Python that runs it. Not part of the test suite. Both libraries bring the same
llama.cpp, so the same weights and the same prompt give the same logits, up to the order of sums: llama.cpp
adds floats in another order when it computes several tokens at once. Where two tokens are about as likely,
that can tip a greedy choice; ``--gap`` says up to which difference of log-probabilities that is taken as the
reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

VERSION = "0.3.36"

PROMPTS = [
    "The capital of France is",
    "Once upon a time",
    "def fibonacci(n):\n",
    "The three laws of thermodynamics are",
    "To make pancakes you need",
    "In 1969, Neil Armstrong",
    "The quick brown fox",
    "Water boils at",
    "A list of prime numbers: 2, 3, 5, 7,",
    "Dear Sir or Madam,\n\n",
    "The Python programming language was",
    "Q: What is the largest planet?\nA:",
    "Photosynthesis is the process by which",
    "SELECT name, age FROM",
    "Roses are red,\n",
    "The meaning of life",
    "import numpy as np\n\n",
    "Albert Einstein was born in",
    "# How to learn to play chess\n\n",
    "The Pacific Ocean is",
]
TEXTS = [
    *PROMPTS,
    "",
    " ",
    "  leading spaces",
    "trailing \n\n",
    "Ünïcödé façade",
    "漢字とかな",
    "😀🎉 emoji",
    "1234567890",
    "<|im_start|>user\nHi<|im_end|>",
    "tabs\tand\r\nnewlines",
    "a" * 300,
    "http://example.com/?q=1&r=2#x",
]
CONVERSATIONS = [
    [{"role": "user", "content": "What is the capital of Italy?"}],
    [
        {"role": "system", "content": "You are a pirate. Answer in one sentence."},
        {"role": "user", "content": "Who are you?"},
    ],
    [
        {"role": "user", "content": "Count to five."},
        {"role": "assistant", "content": "1, 2, 3, 4, 5"},
        {"role": "user", "content": "Now to ten."},
    ],
    [{"role": "user", "content": "Write a haiku about the sea."}],
    [{"role": "user", "content": "How do I add an item to a Python list?"}],
]
FORMATS = [
    "chatml", "llama-2", "llama-3", "alpaca", "qwen", "vicuna", "oasst_llama", "baichuan", "baichuan-2",
    "openbuddy", "redpajama-incite", "snoozy", "phind", "intel", "open-orca", "mistrallite", "zephyr",
    "pygmalion", "mistral-instruct", "chatglm3", "openchat", "saiga", "gemma",
]  # fmt: skip
GRAMMAR = 'root ::= "yes" | "no"'
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,"


# --- the calls: run in either environment, with either library as `lib` -------------------------------


def keys(value: Any) -> list[str]:
    """The paths of all keys in a response, sorted."""
    return sorted(set(paths(value, "")))


def paths(value: Any, path: str) -> Iterator[str]:
    """The paths of keys in a part of a response."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}.{key}".lstrip(".")
            yield from paths(item, f"{path}.{key}")
    elif isinstance(value, list) and value:
        yield from paths(value[0], f"{path}[]")


def said(complete: Any, prompt: Any, **parameters: Any) -> str:
    """The text of a completion."""
    return str(complete(prompt, **parameters)["choices"][0]["text"])


def answered(chat: Any, messages: Any, **parameters: Any) -> str:
    """The text of a chat completion."""
    return str(chat(messages, **parameters)["choices"][0]["message"]["content"])


def joined(chunks: Iterator[dict[str, Any]]) -> str:
    """The text of a stream."""
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def joined_chat(chunks: Iterator[dict[str, Any]]) -> str:
    """The text of a chat's stream."""
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def counts(usage: dict[str, Any]) -> dict[str, int]:
    """The plain numbers of a usage."""
    return {name: value for name, value in usage.items() if isinstance(value, int)}


def kind_of_json(value: str) -> str:
    """What kind of JSON a text is."""
    return type(json.loads(value)).__name__


def generated(llm: Any, prompt: str, n: int) -> list[int]:
    """The greedy tokens of the step by step interface."""
    out: list[int] = []
    for token in llm.generate(llm.tokenize(prompt.encode(), special=True), temp=0.0):
        if token == llm.token_eos() or len(out) == n:
            break
        out.append(int(token))
    return out


GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 24}
SEEDED: dict[str, Any] = {"max_tokens": 24, "seed": 42}
# One completion each, of which the text is compared.
ONE_PARAMETER: dict[str, dict[str, Any]] = {
    "echo": GREEDY | {"echo": True},
    "seed": SEEDED,
    "top_k": SEEDED | {"top_k": 5},
    "top_p": SEEDED | {"top_p": 0.5},
    "min_p": SEEDED | {"min_p": 0.3},
    "typical_p": SEEDED | {"typical_p": 0.5},
    "temperature": SEEDED | {"temperature": 1.7},
    "repeat_penalty": GREEDY | {"repeat_penalty": 1.5},
    "presence_penalty": GREEDY | {"presence_penalty": 1.5},
    "frequency_penalty": GREEDY | {"frequency_penalty": 1.5},
    "mirostat_mode 1": SEEDED | {"mirostat_mode": 1, "temperature": 1.0},
    "mirostat_mode 2": SEEDED | {"mirostat_mode": 2, "temperature": 1.0},
    "mirostat_mode 2 at temperature 0.8": SEEDED | {"mirostat_mode": 2},
}


def inverted(input_ids: Any, scores: Any) -> Any:
    """A logits processor that prefers the unlikeliest."""
    return -scores if len(input_ids) else scores


def many_per_prompt(llm: Any) -> dict[str, Callable[[], Any]]:
    """The same call for each of several inputs."""
    complete, chat = llm.create_completion, llm.create_chat_completion
    table: dict[str, Callable[[], Any]] = {}
    for i, value in enumerate(TEXTS, 1):
        data = value.encode()
        table[f"tokenize, text {i}"] = partial(llm.tokenize, data, special=True)
        table[f"tokenize as plain text, text {i}"] = partial(llm.tokenize, data, add_bos=False)
    for i, prompt in enumerate(PROMPTS, 1):
        settings: dict[str, Any] = {"temperature": 0.0, "max_tokens": 64}
        table[f"greedy text of 64 tokens, prompt {i}"] = partial(said, complete, prompt, **settings)
        table[f"greedy token ids of 64 tokens, prompt {i}"] = partial(generated, llm, prompt, 64)
    for i, messages in enumerate(CONVERSATIONS, 1):
        table[f"greedy chat answer, conversation {i}"] = partial(answered, chat, messages, **GREEDY)
    return table


def calls(lib: Any, llm: Any) -> dict[str, Callable[[], Any]]:
    """Every call by its name. Each gives something that JSON can hold."""
    complete, chat = llm.create_completion, llm.create_chat_completion
    city = llm.tokenize(b" Rome", add_bos=False)[0]
    code = llm.tokenize(PROMPTS[2].encode())
    one, question = PROMPTS[0], CONVERSATIONS[0]
    criteria = lib.StoppingCriteriaList([lambda ids, logits: len(ids) > 9 and len(logits) > 0])
    grammar = lib.LlamaGrammar.from_string(GRAMMAR, verbose=False)
    reason, logprobs = "finish_reason", "logprobs"
    table = many_per_prompt(llm)
    table |= {name: partial(said, complete, one, **given) for name, given in ONE_PARAMETER.items()}
    table |= {
        "detokenize, token by token": lambda: [llm.detokenize([t]).decode("latin-1") for t in code],
        "token ids as prompt": lambda: said(complete, llm.tokenize(one.encode()), **GREEDY),
        "stream of a completion": lambda: joined(complete(one, stream=True, **GREEDY)),
        "stop": lambda: said(complete, COUNT, stop=[" 14"], **GREEDY),
        "finish_reason of a stop": lambda: complete(COUNT, stop=" 14", **GREEDY)["choices"][0][reason],
        "finish_reason of max_tokens": lambda: complete(COUNT, **GREEDY)["choices"][0][reason],
        "usage of a completion": lambda: counts(complete(one, **GREEDY)["usage"]),
        "logit_bias": lambda: said(complete, one, logit_bias={city: 100.0}, temperature=0.0, max_tokens=1),
        "logits_processor": lambda: said(
            complete, one, logits_processor=lib.LogitsProcessorList([inverted]), **GREEDY
        ),
        "stopping_criteria": lambda: said(complete, one, stopping_criteria=criteria, **GREEDY),
        "grammar": lambda: said(complete, "Is it?", grammar=grammar, **GREEDY),
        "logprobs": lambda: complete(one, logprobs=2, **GREEDY)["choices"][0][logprobs],
        "logprobs with echo": lambda: complete(one, logprobs=1, echo=True, **GREEDY)["choices"][0][logprobs],
        "chat with stop": lambda: answered(chat, question, stop=["is"], **GREEDY),
        "chat with response_format json_object": lambda: kind_of_json(
            answered(chat, question, response_format={"type": "json_object"}, temperature=0.0, max_tokens=400)
        ),
        "stream of a chat": lambda: joined_chat(chat(question, stream=True, **GREEDY)),
        "n_vocab, n_ctx, token_bos, token_eos, token_nl": lambda: [
            *(llm.n_vocab(), llm.n_ctx(), llm.token_bos(), llm.token_eos(), llm.token_nl())
        ],
        "keys of a completion": lambda: keys(complete(one, logprobs=1, **GREEDY)),
        "keys of a completion's chunk": lambda: keys(next(iter(complete(one, stream=True, **GREEDY)))),
        "keys of a chat completion": lambda: keys(chat(question, **GREEDY)),
        "keys of a chat's first chunk": lambda: keys(next(iter(chat(question, stream=True, **GREEDY)))),
    }
    return table


def formats(lib: Any, path: str, **load: Any) -> dict[str, Any]:
    """The greedy answer in every chat format."""
    out: dict[str, Any] = {}
    for name in FORMATS:
        llm = lib.Llama(model_path=path, n_ctx=512, verbose=False, chat_format=name, **load)
        try:
            answer = llm.create_chat_completion(CONVERSATIONS[2], temperature=0.0, max_tokens=16)
            out[f"chat_format {name}"] = [
                answer["usage"]["prompt_tokens"],
                answer["choices"][0]["message"]["content"],
            ]
        except Exception as error:
            out[f"chat_format {name}"] = f"{type(error).__name__}: {error}"
        finally:
            llm.close()
    return out


def worker(library: str, path: str, out: Path) -> None:
    """Runs every call in this environment and writes the results."""
    if library == "llama_cpp":
        import llama_cpp as lib  # type: ignore[import-not-found, unused-ignore]

        load: dict[str, Any] = {"logits_all": True}
    else:
        import llamacpp_core as lib  # type: ignore[no-redef]

        load = {"flash_attn": False, "n_parallel": 1}
    llm = lib.Llama(model_path=path, n_ctx=2048, verbose=False, **load)
    results: dict[str, Any] = {}
    for name, call in calls(lib, llm).items():
        print(f"\r{library}: {name:<60}", end="", file=sys.stderr, flush=True)
        try:
            results[name] = call()
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    llm.close()
    results |= formats(
        lib, path, **({} if library == "llama_cpp" else {"n_parallel": 1, "flash_attn": False})
    )
    print(file=sys.stderr)
    out.write_text(json.dumps(results, default=float))


# --- the table -----------------------------------------------------------------------------------------


def near(a: Any, b: Any, gap: float) -> bool:
    """Whether two results are the same, numbers up to a gap."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(near(a[key], b[key], gap) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(near(x, y, gap) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= gap
    return bool(a == b)


def detail(theirs: Any, ours: Any) -> str:
    """Where two results part."""
    if isinstance(theirs, list) and isinstance(ours, list) and all(isinstance(k, str) for k in theirs + ours):
        missing, more = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
        return "; ".join(
            filter(
                None,
                (f"missing: {', '.join(missing)}" * bool(missing), f"more: {', '.join(more)}" * bool(more)),
            )
        )
    a, b = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (theirs, ours)
    )
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"from character {same}: {a[same : same + 40]!r} / {b[same : same + 40]!r}"


def verdict(theirs: Any, ours: Any, gap: float) -> tuple[str, str]:
    """Equal, equal but for more keys, or different; and how."""
    if near(theirs, ours, gap):
        return "equal", ""
    how = detail(theirs, ours)
    return ("more keys", how) if how.startswith("more:") else ("different", how)


def grouped(rows: list[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Rows that are equal and differ in their number only, as one."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        groups.setdefault(row[0].rstrip("0123456789").rstrip(), []).append(row)
    for name, members in groups.items():
        same = [row for row in members if row[1] == "equal"]
        if len(same) > 1:
            yield f"{name.rpartition(',')[0] or name} ({len(members)})", f"equal ({len(same)})", ""
            yield from (row for row in members if row[1] != "equal")
        else:
            yield from members


def environment(venv: Path) -> Path:
    """The Python of an environment with llama-cpp-python, made on first use."""
    python = venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    found = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False)
    if found.returncode:
        print(f"Building llama-cpp-python {VERSION}: some minutes.", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", f"llama-cpp-python=={VERSION}"], check=True)
    return python


def compare(python: Path, model: str, gap: float, raw: Path | None) -> int:
    """Runs both and prints the table; returns how many calls differ."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for library, interpreter in (("llama_cpp", python), ("llamacpp_core", Path(sys.executable))):
            out = Path(folder) / f"{library}.json"
            command = [interpreter, __file__, "--worker", library, "--model", model, "--out", out]
            subprocess.run(command, check=True)
            results[library] = json.loads(out.read_text())
    if raw is not None:
        raw.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    theirs, ours = results["llama_cpp"], results["llamacpp_core"]
    rows = [(name, *verdict(theirs[name], ours.get(name), gap)) for name in theirs]
    print(f"| call | llama-cpp-python {VERSION} / llamacpp_core | where they part (theirs / ours) |")
    print("|---|---|---|")
    for name, result, how in grouped(rows):
        print(f"| {name} | {result} | {how.replace('|', chr(92) + '|')} |")
    different = sum(result == "different" for _, result, _ in rows)
    print(f"\n{len(rows)} calls, {len(rows) - different} equal or with more keys, {different} different.")
    return different


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--venv", type=Path, help="environment for llama-cpp-python; made when it is not there"
    )
    parser.add_argument("--model", help="a GGUF file; SmolLM2-135M-Instruct when left out")
    parser.add_argument("--gap", type=float, default=0.01, help="numbers may differ by this")
    parser.add_argument("--raw", type=Path, help="write all results to this JSON file too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.model, arguments.out)
        return
    if arguments.venv is None:
        parser.error("--venv is needed")
    model = arguments.model
    if model is None:
        from llamacpp_core.models import resolve_model

        model = str(resolve_model("smollm2-135m-instruct").path)
    compare(environment(arguments.venv), model, arguments.gap, arguments.raw)


if __name__ == "__main__":
    main()
