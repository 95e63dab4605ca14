"""Samplers written in Python, as llama.cpp sees them (``llama_sampler_i``).

An exception in one never goes through C: it is kept for the thread, and raised by the
:class:`Sampler` method that led to the call.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, Self

from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_core.lowlevel.candidates import Candidates
from llamacpp_core.native import ffi, lib

__all__ = ["PythonSampler", "new_python_sampler", "raise_pending"]


class PythonSampler:
    """Base of samplers written in Python: override :meth:`apply`, and what else is needed.

    Attributes:
        name: What llama.cpp calls the sampler.
        selects: Whether :meth:`apply` chooses the token (``candidates.select``). A chain ends with a
            sampler that does.
    """

    name: str = "python"
    selects: bool = False

    def apply(self, candidates: Candidates) -> None:
        """Changes the candidates, or chooses one of them."""
        raise NotImplementedError

    def accept(self, token: int) -> None:
        """Is told which token was chosen in the end."""

    def reset(self) -> None:
        """Forgets what :meth:`accept` told."""

    def clone(self) -> Self:
        """A sampler in the same state, independent of this one."""
        return copy.deepcopy(self)


class _FunctionSampler(PythonSampler):
    def __init__(self, function: Callable[[Candidates], None]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", "python")

    def apply(self, candidates: Candidates) -> None:
        self._function(candidates)

    def clone(self) -> Self:
        return type(self)(self._function)


class _Installed:
    """A Python sampler and the native one that calls it."""

    def __init__(self, sampler: PythonSampler) -> None:
        self.sampler = sampler
        self.name = ffi.new("char[]", sampler.name.encode())
        self.handle = ffi.new_handle(self)


class _Pending(threading.local):
    error: BaseException | None = None


_pending = _Pending()
_alive: set[_Installed] = set()  # llama.cpp holds a plain pointer to each


def new_python_sampler(sampler: PythonSampler | Callable[[Candidates], None]) -> Any:
    """Returns a native sampler that calls ``sampler``; the chain that takes it frees it."""
    if isinstance(sampler, PythonSampler):
        return _new(_Installed(sampler))
    if callable(sampler):
        return _new(_Installed(_FunctionSampler(sampler)))
    raise InvalidParameterError(
        f"a sampler is a PythonSampler or a function of Candidates, not {sampler!r}", parameter="sampler"
    )


def raise_pending() -> None:
    """Raises what a Python sampler raised on this thread since the last call."""
    error, _pending.error = _pending.error, None
    if error is not None:
        raise error


def _new(entry: _Installed) -> Any:
    pointer = lib.llama_sampler_init(_interface, entry.handle)
    if pointer == ffi.NULL:
        raise EngineError("llama.cpp could not make a sampler")
    _alive.add(entry)
    return pointer


def _entry(sampler: Any) -> _Installed:
    found: _Installed = ffi.from_handle(sampler.ctx)
    return found


def _guarded(call: Callable[..., None], *arguments: Any) -> None:
    # after a failure the rest of this native call is only finished, its result thrown away
    if _pending.error is not None:
        return
    try:
        call(*arguments)
    except BaseException as error:  # raise_pending() raises it outside of native code
        _pending.error = error


@ffi.def_extern()
def lcpy_sampler_name(sampler: Any) -> Any:
    return _entry(sampler).name


@ffi.def_extern()
def lcpy_sampler_apply(sampler: Any, array: Any) -> None:
    candidates = Candidates(array)
    try:
        _guarded(_entry(sampler).sampler.apply, candidates)
    finally:
        candidates._end()
    if _pending.error is not None and not 0 <= array.selected < array.size:
        array.selected = 0


@ffi.def_extern()
def lcpy_sampler_accept(sampler: Any, token: int) -> None:
    _guarded(_entry(sampler).sampler.accept, token)


@ffi.def_extern()
def lcpy_sampler_reset(sampler: Any) -> None:
    _guarded(_entry(sampler).sampler.reset)


@ffi.def_extern()
def lcpy_sampler_clone(sampler: Any) -> Any:
    original = _entry(sampler).sampler
    copies = [original]  # a native clone must not fail: share the sampler until the exception is raised
    _guarded(lambda: copies.append(original.clone()))
    return _new(_Installed(copies[-1]))


@ffi.def_extern()
def lcpy_sampler_free(sampler: Any) -> None:
    _alive.discard(_entry(sampler))


_interface = ffi.new(
    "struct llama_sampler_i *",
    {
        "name": lib.lcpy_sampler_name,
        "accept": lib.lcpy_sampler_accept,
        "apply": lib.lcpy_sampler_apply,
        "reset": lib.lcpy_sampler_reset,
        "clone": lib.lcpy_sampler_clone,
        "free": lib.lcpy_sampler_free,
    },
)
