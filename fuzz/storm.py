"""``python -m fuzz.storm --requests 10000``: random requests, cancellations, closes, interrupts and forks.

Every answer is checked, and between rounds what the process holds. The seed gives the same requests again;
when each of them runs is up to the machine. The model is tiny and random; ``--model`` takes another.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz import files
from fuzz.storm_requests import ASYNC_KINDS, KINDS, TEXTS, code_of

ROUND = 100
THREADS, TASKS = 5, 8
N_CTX = 1024
IDLE_SECONDS, CHILD_SECONDS = 30, 120


class Storm:
    """One process with a chat model and an encoder.

    Args:
        model: The chat model's file.
        encoder: The encoder's file.
        seed: Of everything that is random.
    """

    def __init__(self, model: Path, encoder: Path, seed: int) -> None:
        from llamacpp_core import Llama

        self.seed, self.model = seed, model
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.lock = threading.Lock()
        self.may_close = False
        self.encoder = Llama(encoder, n_threads=1)
        self.vectors = [self.encoder.embed(text) for text in TEXTS]
        self.llm = self.open()
        self._warm_up()

    def _warm_up(self) -> None:
        """One request of each kind: Ctrl-C inside a first import leaves CPython's import lock taken."""
        chosen = random.Random(0)
        for kind in KINDS.values():
            kind(self.llm, code_of(0), chosen)

        async def all_kinds() -> None:
            for kind in ASYNC_KINDS.values():
                await kind(self.llm, code_of(0), chosen)

        asyncio.run(all_kinds())

    def open(self) -> Any:
        """A chat model."""
        from llamacpp_core import Llama

        return Llama(self.model, n_ctx=N_CTX, n_parallel=4, n_threads=1)

    def close(self) -> None:
        """Frees both models."""
        self.llm.close()
        self.encoder.close()

    def count(self, what: str) -> None:
        """Counts something that has happened."""
        with self.lock:
            self.counts[what] += 1

    @contextlib.contextmanager
    def checked(self, number: int, kind: str) -> Iterator[None]:
        """Counts a request, or what is wrong with it.

        Ctrl-C between here and the block drops this generator, which ends by GeneratorExit.
        """
        from llamacpp_core import EngineClosedError

        try:
            yield
            self.count(kind)
        except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            self.count("interrupted")
            raise
        except BaseException as error:
            if isinstance(error, EngineClosedError) and self.may_close:
                self.count("closed under it")
                return
            words = "".join(traceback.format_exception(error)[-3:])
            self.failures.append(f"request {number}, {kind}: {words}")

    def embed(self, chosen: random.Random) -> None:
        """Vectors of some texts, which are the same in any company."""
        which = [chosen.randrange(len(TEXTS)) for _ in range(chosen.choice((1, 2, 5)))]
        for i, vector in zip(which, self.encoder.embed([TEXTS[i] for i in which]), strict=True):
            far = max(abs(a - b) for a, b in zip(vector, self.vectors[i], strict=True))
            assert far < 1e-3, f"the vector of {TEXTS[i]!r} is off by {far}"

    def work(self, numbers: Iterator[int]) -> None:
        """What one thread does."""
        for number in numbers:
            chosen = random.Random(f"{self.seed} {number}")
            kind = chosen.choice([*KINDS, "embedding"])
            with self.checked(number, kind):
                if kind == "embedding":
                    self.embed(chosen)
                else:
                    KINDS[kind](self.llm, code_of(number), chosen)

    async def _await_some(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            chosen = random.Random(f"{self.seed} {number}")
            kind = chosen.choice(list(ASYNC_KINDS))
            with self.checked(number, kind):
                await ASYNC_KINDS[kind](self.llm, code_of(number), chosen)

    def work_async(self, numbers: Iterator[int]) -> None:
        """What the thread with an event loop does."""

        async def everything() -> None:
            await asyncio.gather(*(self._await_some(numbers) for _ in range(TASKS)))

        asyncio.run(everything())

    def interrupt(self, numbers: Iterator[int]) -> None:
        """Requests on this thread, which Ctrl-C ends at any of their steps."""
        for number in numbers:
            chosen = random.Random(f"{self.seed} {number}")
            kind = chosen.choice(("whole", "streamed", "chat", "tokens", "python"))
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, chosen.uniform(1e-5, 0.04))
                    with self.checked(number, kind):
                        KINDS[kind](self.llm, code_of(number), chosen)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                continue

    def fork(self) -> None:
        """A child cannot use the parent's models, and loads its own."""
        self.count("fork")
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = self._in_child()
            os._exit(code)
        for _ in range(100 * CHILD_SECONDS):  # looks, not seconds: all may have been stopped meanwhile
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                if os.waitstatus_to_exitcode(status):
                    self.failures.append(f"a forked child ended with {os.waitstatus_to_exitcode(status)}")
                return
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.failures.append("a forked child hung")

    def _in_child(self) -> int:
        from llamacpp_core import EngineClosedError, ForkedProcessError

        try:
            self.llm.create_completion("a", max_tokens=1)
            return 2
        except (ForkedProcessError, EngineClosedError):
            pass
        with self.open() as llm:
            KINDS["whole"](llm, code_of(1), random.Random(1))
            asyncio.run(_first(ASYNC_KINDS["awaited chat"], llm))
        return 0

    def round(self, index: int, n: int) -> None:
        """Some requests at once, and at most one of: a close, a fork, another model."""
        dice = random.Random(f"{self.seed} round {index}")
        event = dice.choice(("close", "fork", "load", "", "", ""))
        first = index * ROUND
        shared, alone = _locked(range(first, first + n * 9 // 10)), range(first + n * 9 // 10, first + n)
        workers = [threading.Thread(target=self.work, args=(shared,)) for _ in range(THREADS)]
        workers.append(threading.Thread(target=self.work_async, args=(shared,)))
        if event == "close":
            self.may_close = True
            workers.append(threading.Thread(target=self._close_soon, args=(dice.uniform(0, 0.5),)))
        if event == "load":
            workers.append(threading.Thread(target=self._load))
        for worker in workers:
            worker.start()
        if event == "fork":
            self.fork()
        self.interrupt(iter(alone))
        for worker in workers:
            worker.join()
        if event == "close":
            self.llm.close()
            self.may_close, self.llm = False, self.open()
        self._rest()

    def _close_soon(self, seconds: float) -> None:
        time.sleep(seconds)
        self.count("close")
        self.llm.close()

    def _load(self) -> None:
        self.count("load")
        with self.open() as llm:
            KINDS["whole"](llm, code_of(0), random.Random(0))

    def _rest(self) -> None:
        """Nothing runs on after the last answer."""
        for _ in range(200 * IDLE_SECONDS):
            if not self.llm.n_active and not self.encoder.n_active:
                return
            time.sleep(0.005)
        self.failures.append(f"{self.llm.n_active} requests are left in the engine")


async def _first(request: Any, llm: Any) -> None:
    await request(llm, code_of(2), random.Random(2))


def _locked(numbers: range) -> Iterator[int]:
    """The numbers for several threads: each goes to one."""
    lock, source = threading.Lock(), iter(numbers)

    class Shared:
        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            with lock:
                return next(source)

    return iter(Shared())


def holds() -> dict[str, int]:
    """Threads, open files, and resident MiB of this process.

    The package's bounded pool of threads for callbacks in Python grows when it is used, and is left out.
    """
    pool = sum(thread.name.startswith("llamacpp-python_") for thread in threading.enumerate())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "threads": len(list(Path("/proc/self/task").iterdir())) - pool,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
    }


def run(storm: Storm, n: int) -> tuple[dict[str, int], dict[str, int]]:
    """All rounds; returns what the process held after the first ones and after the last."""
    before: dict[str, int] = {}
    for index in range(-(-n // ROUND)):
        storm.round(index, min(ROUND, n - index * ROUND))
        if index < max(1, n // ROUND // 5):  # until everything was used once
            before = holds()
        if (index + 1) % max(1, n // ROUND // 5) == 0:
            print(f"after {(index + 1) * ROUND} requests it holds {holds()}", flush=True)
        if storm.failures:
            break
    return before, holds()


def main() -> int:
    """Runs the storm; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.storm", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="default: the clock")
    parser.add_argument("--model", type=Path, help="a chat model's file in place of a tiny one")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupted)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        chat, encoder = Path(folder, "chat.gguf"), Path(folder, "encoder.gguf")
        chat.write_bytes(files.chat(N_CTX).pack())
        encoder.write_bytes(files.encoder().pack())
        storm = Storm(given.model or chat, encoder, seed)
        before, after = run(storm, given.requests)
        storm.close()
    if after["threads"] > before["threads"] + 2 or after["files"] > before["files"]:
        storm.failures.append(f"the process held {before}, then {after}")
    kinds = ", ".join(f"{n} {what}" for what, n in storm.counts.most_common())
    print(f"storm, seed {seed}, {time.monotonic() - started:.0f} s: {kinds}")
    print(f"held early {before}, at the end {after}")
    print("\n".join(storm.failures) or "nothing found")
    return 1 if storm.failures else 0


if __name__ == "__main__":
    sys.exit(main())
