"""What the engine does to its process: forks, signals, exits, streams of output."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

OPEN = """
import sys
from llamacpp_core import *
llm = Llama(sys.argv[1], n_ctx=1024, n_parallel=2, n_batch=64, warmup=False)
ENDLESS = dict(max_tokens=1000, temperature=0, ignore_eos=True)
"""


def quiet(done: subprocess.CompletedProcess[str], out: str = "") -> None:
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, out, "")


EXITS = {
    "open": "",
    "a stream that runs": "chunks = llm('Once', **ENDLESS, stream=True); next(chunks)",
    "a stream that was not begun": "chunks = llm('Once', **ENDLESS, stream=True)",
    "two engines": "other = Llama(sys.argv[1], n_ctx=256); chunks = other('Once', **ENDLESS, stream=True)",
    "in a cycle": "llm.me = llm; del llm",
    "sys.exit in a with block": "with llm: sys.exit(0)",
    "a daemon thread that waits": """
import threading, time
def wait():
    try: llm('Once', **ENDLESS)
    except EngineError: pass
threading.Thread(target=wait, daemon=True).start(); time.sleep(0.3)""",
    "an event loop that was left": """
import asyncio
async def main():
    chunks = await llm.acreate_completion('Once', **ENDLESS, stream=True)
    await anext(chunks)
    task = asyncio.create_task(llm.acreate_completion('Once', **ENDLESS))
    await asyncio.sleep(0.1)
asyncio.run(main())""",
    "an atexit function that uses it": "import atexit; atexit.register(lambda: llm('Hi', max_tokens=1))",
}


@pytest.mark.parametrize("name", EXITS)
def test_exit_with(run_python: Run, smollm2_path: Path, name: str) -> None:
    start = time.monotonic()
    quiet(run_python(OPEN + EXITS[name], str(smollm2_path)))
    assert time.monotonic() - start < 30


def test_os_exit_and_uncaught_error_have_their_own_status(run_python: Run, smollm2_path: Path) -> None:
    assert run_python(OPEN + "import os; os._exit(7)", str(smollm2_path)).returncode == 7
    done = run_python(OPEN + "raise KeyError('mine')", str(smollm2_path))
    assert done.returncode == 1
    assert done.stderr.strip().endswith("KeyError: 'mine'")


FORK = (
    OPEN
    + """
import os, asyncio
chunks = llm('1, 2, 3, 4, 5,', max_tokens=40, temperature=0, stream=True)
next(chunks)
pid = os.fork()
if pid == 0:
    uses = [
        lambda: llm('Hi', max_tokens=1),
        lambda: llm.tokenize('Hi'),
        lambda: llm.apply_chat_template([{'role': 'user', 'content': 'Hi'}]),
        lambda: list(chunks),
        lambda: asyncio.run(llm.acreate_completion('Hi')),
    ]
    for number, use in enumerate(uses):
        try:
            use()
        except ForkedProcessError as error:
            assert 'fork' in str(error)
        else:
            os._exit(10 + number)
    llm.close(); llm.close()
    del chunks, llm
    EXIT
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
rest = ''.join(chunk['choices'][0]['text'] for chunk in chunks)
assert '8, 9, 10' in rest, rest
assert 'Paris' in llm('The capital of France is', max_tokens=2, temperature=0)['choices'][0]['text']
"""
)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_gets_a_clear_error_and_the_parent_goes_on(
    run_python: Run, smollm2_path: Path, leave: str
) -> None:
    quiet(run_python(FORK.replace("EXIT", leave), str(smollm2_path)))


def test_loading_in_a_child_works_when_the_parent_only_imported(run_python: Run, smollm2_path: Path) -> None:
    code = """
import os, sys
from llamacpp_core import Llama
pid = os.fork()
if pid == 0:
    with Llama(sys.argv[1], n_ctx=256, n_parallel=1) as llm:
        assert 'Paris' in llm('The capital of France is', max_tokens=2, temperature=0)['choices'][0]['text']
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    quiet(run_python(code, str(smollm2_path)))


INTERRUPTED = {
    "completion": "llm('Once', **ENDLESS)",
    "stream": "[None for _ in llm('Once', **ENDLESS, stream=True)]",
    "chat": "llm.create_chat_completion([{'role': 'user', 'content': 'Tell'}], **ENDLESS)",
    "async": "import asyncio; asyncio.run(llm.acreate_completion('Once', **ENDLESS))",
    "prompt": "llm('word ' * 900, max_tokens=900, ignore_eos=True)",
}


@pytest.mark.parametrize("use", INTERRUPTED)
def test_keyboard_interrupt_while_waiting(smollm2_path: Path, use: str) -> None:
    code = (
        OPEN
        + f"""
import time
print('ready', flush=True)
try:
    {INTERRUPTED[use]}
except KeyboardInterrupt:
    print('interrupted', flush=True)
deadline = time.monotonic() + 10
while llm.n_active:
    assert time.monotonic() < deadline
    time.sleep(0.01)
print(llm('The capital of France is', max_tokens=1, temperature=0)['choices'][0]['text'].strip())
"""
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(smollm2_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, out, err) == (0, "interrupted\nParis\n", "")


def test_an_uncaught_interrupt_ends_with_its_traceback_only(smollm2_path: Path) -> None:
    code = OPEN + "print('ready', flush=True); llm('Once', **ENDLESS)"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(smollm2_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGINT
    assert err.startswith("Traceback")
    assert err.strip().endswith("KeyboardInterrupt")


def test_signal_handlers_are_left_alone(run_python: Run, smollm2_path: Path) -> None:
    code = """
import signal, sys
names = [s for s in signal.valid_signals()]
before = {s: signal.getsignal(s) for s in names}
masks = open('/proc/self/status').read() if sys.platform == 'linux' else ''
from llamacpp_core import Llama
with Llama(sys.argv[1], n_ctx=256, n_parallel=1) as llm:
    llm('Hi', max_tokens=1)
    after = {s: signal.getsignal(s) for s in names}
    now = open('/proc/self/status').read() if sys.platform == 'linux' else ''
assert before == after
# the C library itself uses signals above 31
fields = lambda text: dict(line.split(':') for line in text.splitlines())
for name in ('SigCgt', 'SigIgn', 'SigBlk'):
    assert not masks or int(fields(masks)[name], 16) % 2**31 == int(fields(now)[name], 16) % 2**31, name
"""
    quiet(run_python(code, str(smollm2_path)))


def test_nothing_is_printed_by_default(
    run_python: Run, smollm2_path: Path, minilm_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.gguf").write_bytes(smollm2_path.read_bytes()[:5_000_000])
    code = """
import sys
from llamacpp_core import *
with Llama(sys.argv[1], n_ctx=256, n_parallel=2, n_gpu_layers=-1) as llm:
    llm('Hi', max_tokens=3)
    list(llm('Hi', max_tokens=3, stream=True))
    llm.create_chat_completion([{'role': 'user', 'content': 'Hi'}], max_tokens=3)
    try: llm('word ' * 500)
    except ContextOverflowError: pass
    try: llm('x', grammar='root ::= nope')
    except GrammarError: pass
with Llama(sys.argv[2]) as encoder:
    encoder.embed(['a', 'b'])
for bad in (sys.argv[3], sys.argv[3] + 'x'):
    try: Llama(bad)
    except ModelError: pass
    else: sys.exit(3)
"""
    done = run_python(code, str(smollm2_path), str(minilm_path), str(tmp_path / "bad.gguf"))
    quiet(done)


def test_environment_variables_of_llama_server_have_no_effect(run_python: Run, smollm2_path: Path) -> None:
    import os

    code = """
import sys
from llamacpp_core import Llama
with Llama(sys.argv[1], n_ctx=256, n_parallel=2, n_threads=1) as llm:
    i = llm.info
    print(i.n_ctx, i.n_parallel, i.n_batch, i.n_threads, i.capabilities.embedding, i.prompt_cache.ram_mib)
"""
    hostile = {
        "LLAMA_ARG_CTX_SIZE": "99",
        "LLAMA_ARG_N_PARALLEL": "7",
        "LLAMA_ARG_BATCH": "64",
        "LLAMA_ARG_THREADS": "9",
        "LLAMA_ARG_EMBEDDINGS": "1",
        "LLAMA_ARG_CACHE_RAM": "77",
        "LLAMA_ARG_HELP": "1",
        "LLAMA_ARG_MODEL": "x",
        "LLAMA_ARG_HF_REPO": "a/b",
        "LLAMA_ARG_LOG_FILE": "x.log",
        "LLAMA_LOG_VERBOSITY": "9",
    }
    done = run_python(code, str(smollm2_path), env=os.environ | hostile)
    quiet(done, "256 2 512 1 False 0")


def test_a_context_that_cannot_be_allocated(run_python: Run, smollm2_path: Path) -> None:
    code = """
import sys
from llamacpp_core import *
for options in (
    dict(n_ctx=2**31 - 1, n_parallel=1, rope_scaling_type='yarn'),
    dict(n_ctx=2**31 - 1, n_parallel=256, rope_scaling_type='linear'),
    dict(n_ctx=2**31 - 1, n_parallel=4, rope_freq_scale=0.001, kv_unified=True),
    dict(n_ctx=2**26, n_parallel=1, rope_scaling_type='linear', type_k='q4_0', type_v='q4_0'),
):
    try:
        Llama(sys.argv[1], **options)
    except ModelAllocationError as error:
        assert isinstance(error, (ModelLoadError, MemoryError))
        assert error.path == sys.argv[1]
        assert 'n_ctx' in str(error), error
    else:
        sys.exit(str(options))
with Llama(sys.argv[1], n_ctx=256, n_parallel=1) as llm:
    llm('Hi', max_tokens=1)
"""
    quiet(run_python(code, str(smollm2_path)))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by RLIMIT_AS")
def test_llama_cpps_own_failed_allocation_is_an_error(run_python: Run, smollm2_path: Path) -> None:
    code = """
import resource, sys
from llamacpp_core import *
from llamacpp_core.engine.load import memory
memory.available_memory = lambda: None  # as on a system that does not tell
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    Llama(sys.argv[1], n_ctx=8192, n_parallel=32)
except ModelAllocationError as error:
    assert 'n_ctx' in str(error)
else:
    sys.exit(1)
with Llama(sys.argv[1], n_ctx=256, n_parallel=1) as llm:
    llm('Hi', max_tokens=1)
"""
    quiet(run_python(code, str(smollm2_path)))


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
def test_a_child_of_a_busy_process_ends(run_python: Run, smollm2_path: Path) -> None:
    code = """
import os, signal, threading, time
started, done = threading.Event(), threading.Event()
def slow(ids, scores):
    started.set()
    return scores
def work():
    while not done.is_set():
        llm('Once', max_tokens=20, logits_processor=slow)
worker = threading.Thread(target=work)
worker.start()
started.wait()
for leave in ('close', 'exit') * 2:
    time.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        signal.alarm(15)
        if leave == 'close':
            llm.close()
            os._exit(0)
        sys.exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, (leave, status)
done.set()
worker.join()
"""
    quiet(run_python(OPEN + code, str(smollm2_path)))
