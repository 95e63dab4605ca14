"""Memory that runs out, full disks, killed processes: typed errors, and right answers afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz import files

__all__ = ["cases", "run"]

N_CTX = 1024
PROMPT = "the a b " * 60
_model = files.chat(N_CTX).pack()


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases, the kinds in turn."""
    order = kinds or list(_KINDS)
    return [f"{order[i % len(order)]}:{seed + i}" for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Lets something fail, then checks that everything works."""
    numbers = random.Random(case)
    path = folder / "model.gguf"
    path.write_bytes(_model)
    _KINDS[case.partition(":")[0]](path, folder, numbers)
    with _open(path) as llm:
        _use(llm)


def _open(path: Path, **options: Any) -> Any:
    from llamacpp_core import Llama

    return Llama(path, n_ctx=N_CTX, n_parallel=2, n_threads=2, **options)


def _use(llm: Any) -> None:
    answer = llm.create_completion("the", grammar='root ::= "a b"', max_tokens=9)
    assert answer["choices"][0]["text"] == "a b", answer
    llm.create_chat_completion([{"role": "user", "content": "the a"}], max_tokens=3)
    list(llm.create_completion(PROMPT, max_tokens=3, stream=True))
    llm.create_completion("a", max_tokens=2, logits_processor=lambda _ids, scores: scores)
    llm.load_state(llm.save_state())


@contextlib.contextmanager
def _limited(what: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(what)
    resource.setrlimit(what, (min(most, before[1]) if before[1] >= 0 else most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def _memory(path: Path, folder: Path, numbers: random.Random) -> None:
    """The address space ends while a model is loaded, or while it works."""
    from llamacpp_core import LlamaCppError

    with _open(path) as llm:
        _use(llm)  # imports everything: an import that fails is Python's to report
    more = int(2 ** numbers.uniform(10, 27))
    try:
        if numbers.random() < 0.5:
            with _limited(resource.RLIMIT_AS, _used() + more), _open(path) as llm:
                _use(llm)
            return
        with _open(path) as llm:
            _use(llm)
            with _limited(resource.RLIMIT_AS, _used() + more):
                _use(llm)
    except (MemoryError, LlamaCppError):
        return
    except RuntimeError as error:
        if "can't start new thread" not in str(error):  # Python's own words
            raise


def _used() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _disk(path: Path, folder: Path, numbers: random.Random) -> None:
    """No file can grow beyond some bytes."""
    from llamacpp_core import LlamaCppError

    cache = folder / "prompts"
    cache.mkdir(exist_ok=True)
    (folder / "state").unlink(missing_ok=True)
    with _open(path, prompt_cache_dir=cache) as llm:
        expected = _answer(llm)
        with _limited(resource.RLIMIT_FSIZE, numbers.choice((0, 1, 100, 5000, 50_000, 500_000))):
            try:
                llm.save_state_file(folder / "state")
            except (OSError, LlamaCppError):
                assert not (folder / "state").exists()
            _use(llm)
            assert _answer(llm) == expected
    with _open(path, prompt_cache_dir=cache) as llm:
        assert _answer(llm) == expected


def _killed(path: Path, folder: Path, numbers: random.Random) -> None:
    """A process ends while it writes states and beginnings of prompts; the next one reads the folder."""
    cache, state = folder / "prompts", folder / "state"
    cache.mkdir(exist_ok=True)
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException), _open(path, prompt_cache_dir=cache) as llm:
            while True:
                llm.create_completion(f"{numbers.random()} {PROMPT}", max_tokens=1)
                llm.save_state_file(state)
        os._exit(1)
    time.sleep(numbers.uniform(0.05, 0.8))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with _open(path, prompt_cache_dir=cache) as llm, _open(path) as plain:
        if state.exists():
            llm.load_state_file(state)
        assert _answer(llm) == _answer(plain)


def _answer(llm: Any) -> str:
    return str(llm.create_completion(PROMPT, max_tokens=8, temperature=0)["choices"][0]["text"])


_KINDS = {"memory": _memory, "disk": _disk, "killed": _killed}
