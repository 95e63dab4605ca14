"""Running what was prepared, and what a model brings to every call."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import EngineClosedError, ForkedProcessError, UnsupportedCapabilityError
from llamacpp_core.llama.adapters import chosen_adapters, hold_adapters
from llamacpp_core.request.runner import Prepared, Runs, arun, astream, run, stream
from llamacpp_core.request.speed import SpeedWatch

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = [
    "arun_prepared",
    "default_arguments",
    "is_busy",
    "run_prepared",
    "watch_speed",
    "with_own_defaults",
]


def with_own_defaults(llama: Llama, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, and what was set for the whole model where they say nothing.

    Raises:
        UnsupportedCapabilityError: The call is to be deterministic, and the model was not loaded so.
        InvalidParameterError: ``lora`` names an adapter that is not loaded.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if "lora" in given:
        given["lora"] = chosen_adapters(llama._adapters, given["lora"])
    found = _own_defaults(llama) | given
    if found.get("deterministic") is True and (
        llama.options.kv_unified or not llama.info.prompt_cache.shares_prefixes
    ):
        raise UnsupportedCapabilityError(
            "deterministic=True needs a cache of its own for each request (kv_unified=False), and a "
            "build with the changes of llama.cpp (LLAMACPP_CHANGES=ON)",
            parameter="deterministic",
        )
    return found


def _own_defaults(llama: Llama) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    if llama.options.deterministic:
        defaults["deterministic"] = True
    if llama._seed is not None:
        defaults["seed"] = llama._seed
    # llama-server forgets to clear a slot's cache where a request names no adapters.
    if scales := llama._adapters.defaults:
        defaults["lora"] = scales
    if llama.settings.last_n_tokens_size != 64:
        defaults["repeat_last_n"] = llama.settings.last_n_tokens_size
    return defaults


def _runner(llama: Llama, prepared: Prepared) -> Runs:
    """What is to run a request: the engine, unless Python takes part in it."""
    llama._last = prepared
    if not prepared.needs_python:
        return llama._engine
    from llamacpp_core.engine.python_loop.loop import CustomLoop

    return CustomLoop(
        llama._sessions,
        llama._vocab,
        llama.info,
        processors=prepared.processors,
        criteria=prepared.criteria,
        prompt_logprobs=prepared.prompt_logprobs,
    )


def run_prepared(llama: Llama, prepared: Prepared) -> dict[str, Any] | Generator[dict[str, Any], None, None]:
    """The whole response, or an iterator of its chunks."""
    answer = stream if prepared.streamed else run
    return answer(_runner(llama, prepared), _at_work(llama, prepared))


async def arun_prepared(
    llama: Llama, prepared: Prepared
) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
    """The whole response, or an async iterator of its chunks."""
    runner = _runner(llama, prepared)
    prepared = _at_work(llama, prepared)
    return astream(runner, prepared) if prepared.streamed else await arun(runner, prepared)


def _at_work(llama: Llama, prepared: Prepared) -> Prepared:
    """The request with what it needs while it runs: its adapters stay, and its speed is watched."""
    held = hold_adapters(llama, prepared.params)
    return dataclasses.replace(prepared, held=held, watch=None if prepared.needs_python else llama._speed)


def watch_speed(llama: Llama) -> SpeedWatch:
    """What warns when a model becomes many times slower."""
    engine = llama._engine

    def n_active() -> int:
        try:
            return engine.n_active
        except (EngineClosedError, ForkedProcessError):
            return 0

    return SpeedWatch(llama.info.n_threads, n_active)


def is_busy(llama: Llama) -> bool:
    """Whether a request is waiting or running, those with Python in the loop included."""
    try:
        return llama.n_active > 0 or llama._sessions.n_busy > 0
    except (EngineClosedError, ForkedProcessError):
        return False


@cache
def default_arguments(method: Callable[..., Any]) -> dict[str, Any]:
    """The default values of a method's parameters, for its async twin."""
    import inspect

    parameters = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
