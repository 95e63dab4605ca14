"""The command ``llamacpp complete``."""

from __future__ import annotations

import json
from pathlib import Path

from cli.process import Run, assert_error

QUICK = ("--n-ctx", "256", "--max-tokens", "5", "--temperature", "0")


def test_prompt_as_argument_and_from_stdin(run: Run, smollm2_path: Path) -> None:
    model = ("-m", str(smollm2_path))
    prompt = "The capital of France is"
    streamed = run("complete", prompt, *model, *QUICK)
    assert (streamed.returncode, streamed.stderr) == (0, "")
    whole = json.loads(run("complete", *model, *QUICK, "--json", typed=prompt + "\n").stdout)
    assert streamed.stdout == whole["choices"][0]["text"] + "\n"
    assert whole["usage"]["completion_tokens"] == 5
    echoed = run("complete", prompt, *model, *QUICK, "--echo").stdout
    assert echoed == prompt + streamed.stdout


def test_options(run: Run, smollm2_path: Path, tmp_path: Path) -> None:
    model = ("-m", str(smollm2_path), "--n-ctx", "256")
    (tmp_path / "s.json").write_text(
        '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}'
    )
    (tmp_path / "g.gbnf").write_text('root ::= "yes" | "no"')
    bound = run("complete", "JSON:", *model, "--json-schema", "s.json", "--max-tokens", "40")
    assert set(json.loads(bound.stdout)) == {"a"}
    assert run("complete", "Answer:", *model, "--grammar", "g.gbnf").stdout.strip() in ("yes", "no")
    probs = run("complete", "A", *model, "--max-tokens", "2", "--logprobs", "3", "--seed", "1", "--json")
    assert len(json.loads(probs.stdout)["choices"][0]["logprobs"]["tokens"]) == 2
    stopped = run("complete", "1, 2, 3,", *model, "--temperature", "0", "--stop", "7", "--max-tokens", "30")
    assert "7" not in stopped.stdout


def test_errors(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.gbnf").write_text("root ::= (")
    assert_error(run("complete", "x", "-m", "no-such-model"), 1, "no-such-model")
    assert_error(run("complete", "x", "--grammar", "bad.gbnf"), 1, "line")
    assert_error(run("complete", "x", "--grammar", "none.gbnf"), 2, "none.gbnf")
    assert_error(run("complete", "x", "--min-p", "7", "--n-ctx", "256"), 1, "min_p")
