"""A wheel's modules for the levels of CPUs against the build from source for this machine, tokens per second.

    .venv/bin/python benchmarks/cpu_levels.py dist/llamacpp_integrations-….whl
    .venv/bin/python benchmarks/cpu_levels.py WHEEL --levels vnni,amx --pairs 12

Each level, and the build from source, has a process of its own; they work in turn. Reading 512 tokens and
generating 64 are timed. "ours" is the level, "peer" the build from source.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from _pairs import Row, arguments, chosen, compare, in_turn, report
from _peers import Worker, chat_file

from llamacpp_core.native.build_info import build_info

SIDE = Path(__file__).with_name("_chat_side.py")
LEVELS = ("v2", "v3", "v4", "vnni", "amx")
READ, WRITTEN = 512, 64
SOURCE = "source"


def side(level: str, folder: Path, settings: str) -> Worker:
    """A process that uses the wheel unpacked in ``folder`` at ``level``, or for SOURCE this environment.

    Raises:
        SystemExit: It uses another one: the CPU lacks what the level needs, or this is no build from source.
    """
    if level == SOURCE:
        worker = Worker(level, sys.executable, SIDE, settings)
    else:
        # Not this environment's interpreter: there the editable install of this checkout comes first.
        path = os.pathsep.join([str(folder), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        environment = {"PYTHONPATH": path, "LLAMACPP_CPU": level}
        worker = Worker(level, sys._base_executable, SIDE, settings, environment=environment)
    used = str(worker.call("level"))
    if used != ("" if level == SOURCE else level):
        worker.close()
        raise SystemExit(f"asked for {level}, the process uses {used or 'a build from source'}")
    return worker


def measure(worker: Worker) -> dict[str, float]:
    """Tokens per second of reading and of generating."""
    return {"prompt": worker.call("prompt", n=READ), "answer": worker.call("chat", n=WRITTEN)}


def main() -> None:
    """Measures the levels and prints a table."""
    parser = arguments(__doc__, pairs=6)
    parser.add_argument("wheel", type=Path, help="a wheel with a module for each level")
    parser.add_argument("--levels", default=",".join(LEVELS), help="which ones; each must run on this CPU")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="model to load, by name or file")
    args = parser.parse_args()
    levels = chosen(args.levels, LEVELS, "level")
    model, threads = chat_file(args.model, args.threads)
    settings = json.dumps({"model": model, "others": [], "n_threads": threads})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cpu-levels-")))
        with zipfile.ZipFile(args.wheel) as archive:
            archive.extractall(folder)
        workers = {name: stack.enter_context(side(name, folder, settings)) for name in [SOURCE, *levels]}
        for worker in workers.values():
            measure(worker)
        got = in_turn({name: partial(measure, worker) for name, worker in workers.items()}, args.pairs)
    rows: dict[str, Row] = {}
    for level in levels:
        for what, n in (("prompt", READ), ("answer", WRITTEN)):
            left, right = ([one[what] for one in got[name]] for name in (level, SOURCE))
            rows[f"{level}: {what} of {n} tokens"] = compare(left, right)
    report(
        rows,
        "tokens/s",
        args.json,
        threads=threads,
        pairs=args.pairs,
        wheel=args.wheel.name,
        source=build_info()["system_info"],
    )


if __name__ == "__main__":
    main()
