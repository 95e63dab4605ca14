"""``ModelPool`` with real models: what it counts as memory, contexts that fit, forks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import ModelPool
from llamacpp_core.llama.pool.footprint import Footprint

MIB = 2**20


def test_a_context_that_was_not_given_fits_into_the_budget(smollm2_path: Path) -> None:
    options: dict[str, Any] = {"model": str(smollm2_path)}
    with ModelPool({"small": options, "given": options | {"n_ctx": 512}}, budget="400MiB") as pool:
        with pool.use("small") as llm:
            assert 512 < llm.info.n_ctx < 8192
            assert llm.info.prompt_cache.slot_bytes <= 200 * MIB
            assert (pool.info()["small"].bytes or 0) < 400 * MIB
        with pool.use("given") as llm:
            assert llm.info.n_ctx == 512


MEASURED = """
import gc, sys
from llamacpp_core import ModelPool
from llamacpp_core.llama.pool.footprint import resident_bytes

models = {
    'chat': {'model': sys.argv[1], 'n_ctx': 512, 'n_parallel': 1, 'n_threads': 1},
    'vectors': {'model': sys.argv[2], 'n_threads': 1},
}
uses = {
    'chat': lambda llm, n: llm.create_completion([*range(100, 100 + n)], max_tokens=1),
    'vectors': lambda llm, n: llm.embed(['word ' * min(n, 200)]),
}
with ModelPool(models, budget='2GiB') as pool:
    for name in models:  # what the first use of anything takes from the process for good
        with pool.use(name) as llm:
            uses[name](llm, 2)
        pool.unload(name)
    for name in models:
        gc.collect()
        before = resident_bytes()
        with pool.use(name) as llm:
            uses[name](llm, 250)
            uses[name](llm, 500)  # the cache is full
        print((resident_bytes() - before), pool.info()[name].bytes)
print(open('/proc/self/smaps_rollup').read(), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what is resident")
def test_what_is_counted_is_what_is_resident(
    run_python: Callable[..., Any], smollm2_path: Path, minilm_path: Path
) -> None:
    seen = []
    for _ in range(3):  # the kernel may take pages of files away, or put small pages together
        done = run_python(MEASURED, str(smollm2_path), str(minilm_path))
        assert done.returncode == 0, done.stderr
        measured = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
        assert len(measured) == 2
        if all(counted == pytest.approx(resident, rel=0.1, abs=4 * MIB) for resident, counted in measured):
            return
        seen.append(f"{measured}\n{done.stderr}")
    pytest.fail("counted is not what is resident:\n" + "\n".join(seen))


def test_the_estimate_is_near(smollm2_path: Path) -> None:
    footprint = Footprint({"model": smollm2_path, "n_ctx": 512, "n_parallel": 1})
    footprint.estimate(None)
    estimated = footprint.needed
    with footprint.load():
        assert footprint.needed == pytest.approx(estimated, rel=0.35)


FORKED = """
import os, sys
from llamacpp_core import ForkedProcessError, ModelPool
with ModelPool({'a': {'model': sys.argv[1], 'n_ctx': 256, 'n_parallel': 1}}) as pool:
    with pool.use('a'):
        pass
    if os.fork() == 0:
        try:
            with pool.use('a'):
                os._exit(1)
        except ForkedProcessError:
            pool.close()
            os._exit(0)
    assert os.wait()[1] == 0
    with pool.use('a') as llm:
        print(len(llm('Hi', max_tokens=1)['choices']))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_leaves_the_pool_to_its_parent(run_python: Callable[..., Any], smollm2_path: Path) -> None:
    done = run_python(FORKED, str(smollm2_path), flags=("-W", "ignore::DeprecationWarning"))
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
