"""``python -m fuzz gguf --cases 1000 --seed 1``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from fuzz.children import import_for, run_cases

#: Each machine's module, and how many of its cases a child runs.
MACHINES = {
    "failures": ("fuzz.failures", 5),
    "gguf": ("fuzz.gguf_files", 10),
    "grammars": ("fuzz.grammars", 200),
    "media": ("fuzz.damaged_media", 200),
    "states": ("fuzz.states", 5),
    "templates": ("fuzz.templates", 200),
}


def main() -> int:
    """Runs one machine; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="of the first case; default: the clock")
    parser.add_argument("--case", help="one case by its name, in this process's child")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for what is found")
    parser.add_argument("--kinds", nargs="*")
    given = parser.parse_args()
    module, per_child = MACHINES[given.machine]
    machine = importlib.import_module(module)
    seed = int(time.time()) * 1000 if given.seed is None else given.seed
    names = [given.case] if given.case else machine.cases(given.cases, seed, given.kinds)
    import_for(names[0], machine.run)
    count = run_cases(names, machine.run, jobs=given.jobs, per_child=per_child, keep=given.keep)
    if given.case:
        print("\n".join([count.last_words, *(finding.words for finding in count.findings)]))
    print(f"{given.machine}, seed {seed}: {count.summary()}")
    return 1 if count.findings else 0


if __name__ == "__main__":
    sys.exit(main())
