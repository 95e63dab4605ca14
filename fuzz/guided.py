"""``python -m fuzz.guided schemas --inputs 100000``: inputs that grow by what they reach in the code.

Each target is tried in a process of its own under atheris, which keeps the inputs that reach new code, in the
user's cache, and goes on from there. A run ends at its first finding, and leaves the input beside the others
that were found.
``python -m fuzz.guided schemas --input FILE`` tries that input again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

TARGETS = ("answers", "files", "grammars", "patterns", "schemas", "states", "templates")
MIB = 4096  # of one process


def corpus_of(target: str) -> Path:
    """The folder in which a target's inputs are kept."""
    from llamacpp_core.models.cache import cache_dir

    return cache_dir().parent / "fuzz" / target


def watch(name: str, arguments: list[str]) -> None:
    """Tries inputs on one target, and does not return."""
    import atheris

    # The finder of an editable install has loaders of its own, from which atheris cannot take the code.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "core"))
    sys.meta_path.insert(0, PathFinder)
    with atheris.instrument_imports(include=["llamacpp_core"]):
        from fuzz import guided_targets
    from llamacpp_core import LlamaCppError

    target = guided_targets.TARGETS[name]
    corpus = corpus_of(name)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def try_one(data: bytes) -> None:
        try:
            target.check(data)
        except LlamaCppError:
            return

    mutator: dict[str, Callable[[bytes, int, int], bytes]] = {}
    if target.mutate is not None:
        mutate = target.mutate
        mutator["custom_mutator"] = lambda data, most, seed: mutate(data, most, seed, atheris.Mutate)
    with tempfile.NamedTemporaryFile("w", prefix="words-") as words:
        words.writelines(f'"{_escaped(word)}"\n' for word in target.words)
        words.flush()
        atheris.Setup([name, f"-dict={words.name}", *arguments], try_one, **mutator)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(
        chr(byte) if byte < 128 and chr(byte).isalnum() else f"\\x{byte:02x}" for byte in word.encode()
    )


def run(target: str, inputs: int, seed: int, seconds: int, keep: Path) -> bool:
    """Runs one target in a process of its own, and tells what came of it; False if something was found."""
    corpus = corpus_of(target)
    corpus.mkdir(parents=True, exist_ok=True)
    keep.mkdir(parents=True, exist_ok=True)
    limits = [f"-timeout={seconds}", f"-rss_limit_mb={MIB}", "-max_len=2048"]
    how = [f"-runs={inputs}", f"-seed={seed % 2**31}", f"-artifact_prefix={keep}/{target}-"]
    command = [sys.executable, "-m", "fuzz.guided", target, "--watch", *limits, *how, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    last = re.findall(r"#(\d+)\s.*?cov: (\d+) .*?corp: (\d+).*?rss: (\d+)Mb", done.stderr)
    tried, reached, kept, memory = last[-1] if last else ("0",) * 4
    print(
        f"{target}, seed {seed}: {tried} inputs reach {reached} places, {kept} are kept, {memory} MiB; "
        + ("nothing found" if done.returncode == 0 else f"found something (status {done.returncode}):"),
        flush=True,
    )
    if done.returncode:
        print("\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-6:]]), flush=True)
    return done.returncode == 0


def main() -> int:
    """Runs targets one after the other; 1 if something was found."""
    if sys.argv[2:3] == ["--watch"]:
        watch(sys.argv[1], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m fuzz.guided", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, help="tried on each target")
    parser.add_argument("--seed", type=int, default=None, help="default: the clock")
    parser.add_argument("--seconds", type=int, default=60, help="that one input may take")
    parser.add_argument("--input", type=Path, help="one input from a file, without atheris")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for what is found")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such targets: {', '.join(sorted(unknown))}")
    if given.input is not None:
        from fuzz import guided_targets
        from llamacpp_core import LlamaCppError

        with contextlib.suppress(LlamaCppError):
            guided_targets.TARGETS[given.targets[0]].check(given.input.read_bytes())
        return 0
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: it has packages for Linux on x86-64 (pip install atheris)")
    seed = int(time.time()) if given.seed is None else given.seed
    results = [
        run(target, given.inputs, seed, given.seconds, given.keep) for target in given.targets or TARGETS
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.exit(main())
