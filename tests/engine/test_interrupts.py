"""Ctrl-C between any two steps of Python: nothing is lost, nothing waits for ever."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Interrupts come as fast as the loop runs, so that they hit every step of it in some round.
LOOP = """
import faulthandler, random, signal, sys, time
from llamacpp_core import Llama

faulthandler.dump_traceback_later(250, exit=True)  # what hangs says where

llm = Llama("smollm2-135m-instruct", n_ctx=256, n_parallel=2)
numbers = random.Random(7)
interrupts = 0
kept = []


def arm():
    signal.setitimer(signal.ITIMER_REAL, numbers.uniform(2e-6, {longest}))


def act():
    {action}


def interrupted(*_):
    raise KeyboardInterrupt


act()  # what it imports cannot be imported again after an interrupt: numpy's extension modules
signal.signal(signal.SIGALRM, interrupted)
end = time.monotonic() + 120
while interrupts < {n} and time.monotonic() < end:
    try:
        try:
            for _ in range(20):
                arm()
                for _ in range(5):  # an interrupt inside a __del__ is printed, and gone
                    act()
        except KeyboardInterrupt as error:
            interrupts += 1
            kept = [error]  # a traceback keeps the frames that were interrupted, as the prompt of Python does
        signal.setitimer(signal.ITIMER_REAL, 0)
        for _ in range(3):
            pass  # one that is on its way arrives
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert interrupts >= {n} // 4, interrupts
end = time.monotonic() + 60
while llm.{active} and time.monotonic() < end:
    time.sleep(0.01)
assert llm.{active} == 0
assert llm.create_completion("Hello", max_tokens=2)["usage"]["completion_tokens"] == 2
started = time.monotonic()
llm.close()
print(interrupts, "interrupts, closed")
"""
ACTIONS = {
    "tokenize": ("llm.tokenize(b'Hello world')", 2000, 2e-4),
    "n_active": ("llm._engine.n_active", 3000, 1e-4),
    "metadata": ("llm.metadata", 500, 2e-3),
    "completion": ("llm.create_completion('Hello', max_tokens=2)", 400, 2e-2),
    "stream": ("next(llm.create_completion('Hello', max_tokens=20, stream=True))", 400, 2e-2),
    "chat": (
        "llm.create_chat_completion([dict(role='user', content='Hi')], max_tokens=2)",
        300,
        3e-2,
    ),
    "python": (
        "llm.create_completion('Hello', max_tokens=2, logits_processor=lambda ids, scores: scores)",
        300,
        4e-2,
    ),
    "template": ("llm.apply_chat_template([dict(role='user', content='Hi')])", 1000, 2e-3),
}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no timers that interrupt")
@pytest.mark.parametrize("name", ACTIONS)
def test_interrupts_at_any_step(name: str) -> None:
    action, n, longest = ACTIONS[name]
    text = LOOP.format(action=action, n=n, longest=longest, active="_engine.n_active")
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=280, check=False
    )
    # CPython remembers an interrupted import to its end, and ends with the signal's number then.
    assert done.returncode in (0, -signal.SIGINT), done.stderr[-3000:]
    assert "closed" in done.stdout
    assert "no attribute" not in done.stderr
    assert "Error" not in done.stderr, done.stderr[-3000:]
