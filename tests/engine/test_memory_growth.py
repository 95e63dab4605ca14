"""Nothing is leaked, neither by requests nor by loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

REQUESTS = """
import asyncio, gc, sys
from llamacpp_core import *

def resident():
    gc.collect()
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20

llm = Llama(sys.argv[1], n_ctx=256, n_parallel=4, n_threads=1)
messages = lambda i: [{'role': 'user', 'content': f'Number {i}?'}]
kinds = [
    lambda i: llm(f'{i} and', max_tokens=1),
    lambda i: list(llm(f'{i} or', max_tokens=2, stream=True)),
    lambda i: llm.create_chat_completion(messages(i), max_tokens=1),
    lambda i: llm(f'{i}', max_tokens=50, stream=True).close(),
    lambda i: llm(f'{i} but', max_tokens=1, logprobs=2, n=2),
    lambda i: asyncio.run(llm.acreate_completion(f'{i} if', max_tokens=1)),
    lambda i: refused(i),
    lambda i: llm(f'{i}', max_tokens=2, grammar='root ::= [a-z]+'),
]

def refused(i):
    try:
        llm('word ' * 300 + str(i))
    except ContextOverflowError:
        pass

for i in range(300):
    kinds[i % len(kinds)](i)
before = resident()
for i in range(1000):
    kinds[i % len(kinds)](10_000 + i)
after = resident()
llm.close()
print(before, after)
"""

LOADS = """
import gc, sys
from llamacpp_core import *

def resident():
    gc.collect()
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20

def once(i):
    with Llama(sys.argv[1 + i % 2], n_ctx=256, n_parallel=2, n_threads=1, warmup=i % 5 == 0) as llama:
        if i % 2:
            llama.embed(['a', 'b'])
        elif i % 4:
            llama('Hi', max_tokens=1)
        else:
            llama('Hi', max_tokens=100, stream=True)

def after(*loads):
    for i in loads:
        once(i)
        yield resident()

with Llama(sys.argv[1], n_ctx=8192, n_parallel=1, n_threads=1):
    # The least of some: the allocator keeps a page or two more at one time than at another.
    before = min(list(after(*range(30)))[20:])
    print(before, min(list(after(*range(100)))[90:]))
"""

RESERVED = """
import sys
from llamacpp_core import *

def resident():  # without what is mapped from the model file
    with open('/proc/self/status') as status:
        fields = dict(line.split(':', 1) for line in status)
    return int(fields['RssAnon'].split()[0]) * 1024

def load(n_ctx):
    return Llama(sys.argv[1], n_ctx=n_ctx, n_parallel=1, n_threads=1)

before = resident()
with load(512) as llm:
    # Weights that this CPU wants in another order are copied: they count as much in a small context.
    weights = resident() - before
    small = llm.create_completion('The sea', max_tokens=16, temperature=0)
    least = llm.info.prompt_cache.slot_bytes
before = resident()
with load(8192) as llm:
    reserved = llm.info.prompt_cache.slot_bytes - least
    loaded = resident() - before - weights
    assert llm.create_completion('The sea', max_tokens=16, temperature=0)['choices'] == small['choices']
    few = resident() - before - weights
    llm.create_completion('sea ' * 1500, max_tokens=1)
    many = resident() - before - weights
print(reserved, loaded, few, many)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is reserved without being resident on Linux only")
def test_cache_becomes_resident_as_it_fills(run_python: Run, smollm2_path: Path) -> None:
    done = run_python(RESERVED, str(smollm2_path), flags=("-W", "error"))
    assert (done.returncode, done.stderr) == (0, "")
    reserved, loaded, few, many = map(int, done.stdout.split())
    assert reserved > 170e6
    assert loaded < 0.1 * reserved
    assert few < 0.1 * reserved
    assert few + 0.1 * reserved < many < few + 0.5 * reserved  # 1,500 of 8,192 tokens


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
@pytest.mark.parametrize("program", [REQUESTS, LOADS], ids=["requests", "loads"])
def test_resident_memory_stays(run_python: Run, smollm2_path: Path, minilm_path: Path, program: str) -> None:
    done = run_python(program, str(smollm2_path), str(minilm_path), flags=("-W", "error"))
    assert (done.returncode, done.stderr) == (0, "")
    before, after = map(float, done.stdout.split())
    print(f"{before:.1f} -> {after:.1f} MiB")  # pytest shows it when the test fails
    assert after - before < 20
    assert after < 1.02 * before
