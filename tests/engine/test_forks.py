"""A forked child loads models of its own; nothing of the parent's threads is left in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

AWAITED = """
import asyncio, os, sys
from llamacpp_core import Llama

TOOLS = [{"type": "function", "function": {"name": "f", "description": "x" * 9000, "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}}}}]


async def ask():
    with Llama("smollm2-135m-instruct", n_ctx=4096, n_parallel=1) as llm:
        await llm.acreate_chat_completion([{"role": "user", "content": "Hi"}], tools=TOOLS, max_tokens=2)
        await llm.acreate_completion("Hi", max_tokens=2, logits_processor=lambda ids, logits: logits)


asyncio.run(ask())
pid = os.fork()
if pid == 0:
    asyncio.run(asyncio.wait_for(ask(), 100))
    os._exit(0)
print("child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there are no forks")
def test_a_child_awaits_as_its_parent_did() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AWAITED], capture_output=True, text=True, timeout=250, check=False
    )
    assert "child: 0" in done.stdout, done.stdout + done.stderr[-2000:]


BUSY = """
import faulthandler, gc, json, os, signal, threading, time
from llamacpp_core import Llama
from llamacpp_core.grammar import json_schema_to_gbnf

def ask():
    with Llama("smollm2-135m-instruct", n_ctx=256, n_parallel=1, n_threads=1, warmup=False) as llm:
        llm("Hi", grammar='root ::= "a"', max_tokens=2)

def compile_one(n):
    properties = {f"p{i}": {"type": "string"} for i in range(n)}
    json_schema_to_gbnf(json.dumps({"type": "object", "properties": properties}))

def go_on():
    while not ended:
        ask()

def compile_on():
    while not ended:
        compile_one(300)

ask()
ended = False
threads = [threading.Thread(target=run) for run in (go_on, go_on, compile_on)]
for thread in threads:
    thread.start()
children = []
for i in range(16):
    time.sleep(0.07 + 0.01 * i)  # in the midst of a load, of a grammar's first use, of an answer
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(90)
        signal.alarm(100)
        ask()
        compile_one(3)
        os._exit(0 if gc.isenabled() else 3)
    children.append(pid)
    if i % 4 == 3:
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
        children.clear()
ended = True
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there are no forks")
def test_locks_that_threads_held_at_the_fork_are_free_in_the_child() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.stdout.split("\n") == [*["[0, 0, 0, 0]"] * 4, ""], done.stdout + done.stderr[-2000:]


IN_PYTHON = """
import os, sys, threading
from llamacpp_core import ForkedProcessError, Llama

llm = Llama("smollm2-135m-instruct", n_ctx=256, n_parallel=1)
stream = llm.create_completion("Hi", stream=True, max_tokens=9, logits_processor=lambda ids, logits: logits)
next(stream)
held, ended = threading.Event(), threading.Event()

def make_a_context():
    with llm._sessions._lock:  # as while a context is made
        held.set()
        ended.wait()

threading.Thread(target=make_a_context).start()
held.wait()
pid = os.fork()
if pid == 0:
    code = 1
    try:
        llm.eval([1])
    except ForkedProcessError:
        stream.close()
        del stream
        code = 0
    os._exit(code)
for _ in range(400):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    ended.wait(0.05)
else:
    os.kill(pid, 9)
    status = os.waitpid(pid, 0)[1]
ended.set()
print("child:", os.waitstatus_to_exitcode(status))
print("rest:", len(list(stream)))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there are no forks")
def test_a_request_with_python_in_it_is_let_go_in_the_child() -> None:
    """Its context is the parent's, and so is the lock that another thread has."""
    done = subprocess.run(
        [sys.executable, "-c", IN_PYTHON], capture_output=True, text=True, timeout=100, check=False
    )
    assert "child: 0" in done.stdout, done.stdout + done.stderr[-2000:]
    assert "rest: 0" not in done.stdout
    assert "rest: " in done.stdout


HELD = """
import os, sys, threading
from llamacpp_core import Llama
from llamacpp_core.llama.handle import ModelHandle

llm = Llama("smollm2-135m-instruct", n_ctx=256, n_parallel=2)
closed = llm.create_completion("Hi", stream=True, max_tokens=99)
collected = llm.create_completion("Hi", stream=True, max_tokens=99)
next(closed), next(collected)
handle = ModelHandle("Test", "smollm2-135m-instruct", options={"n_ctx": 256})
held, ended = threading.Event(), threading.Event()

def hold(lock):  # as a thread does that another one stops there
    with lock.here:
        held.release()
        ended.wait()

locks = [llm._speed._lock, llm._engine._known_tools._lock, handle._lock]
held = threading.Semaphore(0)
for lock in locks:
    threading.Thread(target=hold, args=(lock,)).start()
    held.acquire()
pid = os.fork()
if pid == 0:
    code = 1
    try:
        closed.close()
        del collected
        handle.llama("Hi", max_tokens=1)
        code = 0
    finally:
        os._exit(code)
for _ in range(400):
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    ended.wait(0.05)
else:
    os.kill(pid, 9)
    status = os.waitpid(pid, 0)[1]
ended.set()
print("child:", os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there are no forks")
def test_locks_of_objects_are_free_in_the_child() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "child: 0\n", done.stdout + done.stderr[-2000:]
    assert done.stderr == ""
