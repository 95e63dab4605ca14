"""The native engine: opened once, fed by any thread or event loop, drained by one thread.

One delivery thread per engine waits inside the native layer, without the interpreter lock, and hands
every result to the request it belongs to. A consumer waits on its request: a thread on a lock, a
coroutine on a future. No native thread ever calls into Python, so an interpreter that is shutting
down, forking or busy cannot be hurt by one.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llamacpp_core.engine import threads
from llamacpp_core.engine.events import NativeEvent
from llamacpp_core.engine.in_flight import Request, wake_all
from llamacpp_core.engine.kept import Kept
from llamacpp_core.engine.plan import Plan, TemplateRefusedError, to_json
from llamacpp_core.errors import (
    EngineClosedError,
    EngineError,
    ForkedProcessError,
    InvalidMessageError,
    InvalidParameterError,
    ModelAllocationError,
    ModelLoadError,
    UnsupportedCapabilityError,
)
from llamacpp_core.native import ffi, lib
from llamacpp_core.native import log as _native_log
from llamacpp_core.native.failures import error_from_report, last_error, last_report

__all__ = [
    "TASK_COMPLETION",
    "TASK_EMBEDDING",
    "TASK_RERANK",
    "Engine",
]

#: Sets of tools that an engine keeps.
_MAX_TOOLS = 32

_live: weakref.WeakSet[_Core] = weakref.WeakSet()

TASK_COMPLETION: int = lib.LC_TASK_COMPLETION
TASK_EMBEDDING: int = lib.LC_TASK_EMBEDDING
TASK_RERANK: int = lib.LC_TASK_RERANK


class _Core:
    """What the delivery thread and the engine share; it outlives an engine that is garbage.

    Ctrl-C can come between any two steps of Python, so nothing is counted here: native calls keep the engine
    in memory while they run, and fail when it is closed.
    """

    def __init__(self, native: Any) -> None:
        self._native = native
        self.pid = os.getpid()
        # Reentrant, because the garbage collector may cancel a request wherever this is held.
        self.lock = threading.RLock()
        self.closing = False
        self.requests: weakref.WeakValueDictionary[int, Request] = weakref.WeakValueDictionary()
        self.numbers = itertools.count(1)
        self.thread = threads.Thread(target=self._deliver, name="llamacpp-delivery", daemon=True)
        _live.add(self)

    @property
    def native(self) -> Any:
        """The ``lc_engine_ref *``, for one native call.

        Raises:
            EngineClosedError: The engine is closed.
            ForkedProcessError: This process is a fork of the one that opened the engine.
        """
        self.check_process()
        if self.closing:
            raise EngineClosedError("the engine is closed: create a new Llama")
        return self._native

    def check_process(self) -> None:
        if self.pid != os.getpid():
            raise ForkedProcessError(
                "this engine was opened before a fork and does not work in the child: "
                "load the model after forking, or start workers with the 'spawn' method"
            )

    def close(self) -> None:
        if self.pid != os.getpid():
            return  # its threads are in the parent, which also frees the memory
        self.closing = True
        lib.lc_engine_wake(self._native)
        if not self.thread.is_alive():  # it was not started, or has closed the engine itself
            lib.lc_engine_close(self._native)
        elif threading.current_thread() is not self.thread:
            self.thread.join()

    def _deliver(self) -> None:
        events = ffi.new("const lc_event **")
        try:
            while not self.closing:
                n = lib.lc_engine_take(self._native, events)
                if n < 0:
                    self._fail_all(last_error())
                    break
                if n:
                    self._hand_out(events[0], n)
                _native_log.set_native_level()
                if lib.lc_log_pending():
                    _native_log.drain()
        except Exception as error:
            # Nobody else would wake those who wait for results.
            self._fail_all(EngineError(f"the delivery of results failed: {error!r}"))
        self.closing = True
        lib.lc_engine_close(self._native)
        # After that no request can begin, so none is missed here.
        self._fail_all(EngineClosedError("the engine was closed while this request was running"))
        _native_log.drain()

    def _hand_out(self, events: Any, n: int) -> None:
        waiters = []
        for i in range(n):
            event = NativeEvent.copy(events[i])
            with self.lock:
                request = self.requests.get(event.request)
                if event.is_last:
                    self.requests.pop(event.request, None)
            if request is not None and (waiter := request.deliver(event)):
                waiters.append(waiter)
        wake_all(waiters)

    def _fail_all(self, error: EngineError | Exception) -> None:
        with self.lock:
            open_requests = list(self.requests.values())
            self.requests.clear()
        wake_all([waiter for request in open_requests if (waiter := request.fail(error))])


@atexit.register
def _close_all() -> None:
    for core in list(_live):
        core.close()


class Engine:
    """llama.cpp's server core in this process.

    Args:
        options: llama-server options, each as a list of the flag and its values.
        path: The model file, for messages.
        on_progress: Called now and then while the model loads, with a fraction from 0 to 1.

    Raises:
        ModelLoadError: The model cannot be loaded.
        ModelAllocationError: The weights or the context do not fit into memory.
        InvalidParameterError: An option is unknown or has a value that cannot work.
    """

    def __init__(
        self,
        options: Sequence[Sequence[str]],
        *,
        path: str,
        precision: str = "default",
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        native = ffi.gc(lib.lc_engine_new(), lib.lc_engine_free)
        config = {"options": [list(option) for option in options], "precision": precision}
        _open(native, config, path, on_progress)
        self._core = _Core(native)
        self._core.thread.start()
        self.info: dict[str, Any] = json.loads(ffi.string(lib.lc_engine_info(native)))
        self._known_tools: Kept[str, Any] = Kept(_MAX_TOOLS)

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.closing and core.pid == os.getpid():
            core.close()

    def check_process(self) -> None:
        """Says that this is the process that opened the engine.

        Raises:
            ForkedProcessError: It is a fork of that one.
        """
        self._core.check_process()

    @property
    def closed(self) -> bool:
        """Whether the engine was closed."""
        return self._core.closing

    def close(self) -> None:
        """Ends every request with :class:`EngineClosedError` and frees the model. Can be repeated."""
        self._core.close()

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The ``llama_model *``, valid inside the block."""
        pin = ffi.gc(lib.lc_pin_new(), lib.lc_pin_free)
        pointer = lib.lc_pin_model(pin, self._core.native)
        if pointer == ffi.NULL:
            raise last_error()
        yield pointer

    @property
    def n_active(self) -> int:
        """How many requests are waiting or running."""
        active = int(lib.lc_engine_active(self._core.native))
        if active < 0:
            raise last_error()
        return active

    def plan_chat(self, body: dict[str, Any], tools: str = "") -> Plan:
        """Renders a conversation with the model's template and tokenizes it.

        Args:
            body: What ``lc_plan_chat`` in ``engine.h`` describes.
            tools: JSON text of the tools that the template describes; empty for none.

        Raises:
            InvalidParameterError: The template refuses the conversation, or llama.cpp the request.
        """
        text = to_json(body)
        described = self._tools(tools) if tools else ffi.NULL
        plan = lib.lc_plan_chat(self._core.native, described, text, len(text))
        if plan == ffi.NULL:
            raise _as_bad_request(last_report())
        return Plan(plan)

    def _tools(self, text: str) -> Any:
        """Tools in the native layer, kept because many requests have the same."""

        def make() -> Any:
            data = text.encode()
            made = lib.lc_tools_new(data, len(data))
            if made == ffi.NULL:
                raise last_error()
            return ffi.gc(made, lib.lc_tools_free)

        return self._known_tools.get(text, make)

    def plan_tokens(self, prompts: Sequence[Sequence[int]]) -> Plan:
        """Plans prompts that are token ids already."""
        flat = ffi.new("int32_t[]", [token for prompt in prompts for token in prompt])
        lengths = ffi.new("int32_t[]", [len(prompt) for prompt in prompts])
        plan = lib.lc_plan_tokens(self._core.native, flat, lengths, len(prompts))
        if plan == ffi.NULL:
            raise last_error()
        return Plan(plan)

    def plan_rerank(self, query: str, documents: Sequence[str]) -> Plan:
        """Plans pairs of a query and a document in the way that a cross-encoder was trained on."""
        text = to_json({"query": query, "documents": list(documents)})
        plan = lib.lc_plan_rerank(self._core.native, text, len(text))
        if plan == ffi.NULL:
            raise last_error()
        return Plan(plan)

    def submit(self, plan: Plan, kind: int, params: dict[str, Any]) -> Request:
        """Puts a planned request into the engine's batch and returns at once.

        Args:
            plan: What to run; used up by this.
            kind: One of the ``TASK_*`` constants of this module.
            params: llama-server's sampling fields, merged over the plan's own.

        Raises:
            InvalidParameterError: llama.cpp refuses a field.
            EngineClosedError: The engine is closed.
        """
        text = to_json(params)
        core = self._core
        native = core.native
        request = Request(next(core.numbers), self._cancel)
        try:
            with core.lock:
                core.requests[request.number] = request
            if lib.lc_submit(native, plan._native, request.number, kind, text, len(text)) < 0:
                raise _as_bad_request(last_report())
        except BaseException:
            request.cancel()  # a traceback may keep it for a long time
            raise
        return request

    def new_chooser(self, fields: dict[str, Any], index: int, n_tokens: int) -> Any:
        """The native half of a ``TokenChooser``; raises as :meth:`submit` does."""
        text = to_json(fields)
        made = lib.lc_chooser_new(self._core.native, text, len(text), index, n_tokens)
        if made == ffi.NULL:
            raise _as_bad_request(last_report())
        return ffi.gc(made, lib.lc_chooser_free)

    def keep_prompts(self, folder: str, max_bytes: int, fingerprint: str) -> None:
        """Keeps long beginnings of prompts in a folder from now on, for this process and the next.

        Args:
            folder: An existing folder; empty for none.
            max_bytes: What all files in it may take, those of other models and processes included.
            fingerprint: Differs where the caches of a prompt differ.

        Raises:
            UnsupportedCapabilityError: This build has llama.cpp without the changes that it needs.
        """
        name = os.fsencode(folder)
        if lib.lc_engine_keep_prompts(self._core.native, name, max_bytes, fingerprint.encode()) < 0:
            report = last_report()
            if report["type"] == "closed":
                raise error_from_report(report)
            raise UnsupportedCapabilityError(report["message"], parameter="prompt_cache_dir")

    def _cancel(self, number: int) -> None:
        with contextlib.suppress(EngineClosedError, ForkedProcessError):
            native = self._core.native
            with self._core.lock:
                self._core.requests.pop(number, None)
            lib.lc_cancel(native, number)


def _as_bad_request(report: dict[str, Any]) -> Exception:
    """Planning and submitting run on the caller's request alone, so a failure is a bad request."""
    if report["type"] == "template_refused":
        return TemplateRefusedError(report["message"], parameter="messages")
    if report["type"] == "template_stopped":
        message = f"the model's chat template was stopped: {report['message']}"
        return InvalidMessageError(message, parameter="messages")
    if report["type"] == "native":
        return InvalidParameterError(report["message"])
    return error_from_report(report)


def _open(
    native: Any,
    config: Mapping[str, Any],
    path: str,
    on_progress: Callable[[float], None] | None,
) -> None:
    """Loads on a thread of its own, so that this one can report progress and obey Ctrl-C.

    Whoever drops ``native`` closes what was loaded into it.
    """
    text = to_json(config)
    state = ffi.new("lc_load_state *")
    failure: list[dict[str, Any]] = []

    def load() -> None:
        if lib.lc_engine_open(native, text, len(text), state) < 0:
            failure.append(last_report())

    _native_log.set_native_level()
    thread = threads.Thread(target=load, name="llamacpp-load")
    with _native_log.collect_errors() as errors:
        try:
            thread.start()
            while thread.is_alive():
                thread.join(0.05)
                if on_progress is not None:
                    on_progress(state.progress)
        except BaseException:
            state.cancel = 1
            if thread.is_alive():  # else it has not begun, and gives up by itself
                thread.join()
            lib.lc_engine_close(native)
            raise
    if failure:
        raise _load_error(failure[0], errors, path)


def _load_error(report: dict[str, Any], log: list[str], path: str) -> Exception:
    kind, message = report["type"], report["message"]
    if kind == "invalid_template":
        reason = next((line.partition("error: ")[2] for line in log if "error: " in line), message)
        return InvalidParameterError(f"chat_template cannot be parsed: {reason}", parameter="chat_template")
    if kind == "endless_template":
        return InvalidParameterError(f"chat_template cannot be used: {message}", parameter="chat_template")
    if kind == "template_stopped":
        return ModelLoadError(f"{path} cannot be loaded: its chat template was stopped: {message}", path=path)
    if kind in ("unknown_option", "invalid_option"):
        return InvalidParameterError(message)
    reason = "; ".join(dict.fromkeys(log)) or message
    if kind == "out_of_memory" or any("alloc" in line for line in log):
        return ModelAllocationError(
            f"{path}: not enough memory for the weights or the context ({reason}): "
            "use a smaller n_ctx or n_parallel, a quantised KV cache (type_k='q8_0', type_v='q8_0'), "
            "or a smaller model",
            path=path,
        )
    return ModelLoadError(f"{path}: llama.cpp cannot load this model: {reason}", path=path)
