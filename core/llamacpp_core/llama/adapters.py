"""LoRA adapters of a :class:`~llamacpp_core.Llama`: its methods for them, and how requests name them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import file_path, number, shown, text, unknown_name
from llamacpp_core.engine.adapters import Adapters, LoraInfo
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["adapter_contents", "chosen_adapters", "hold_adapters", "load_lora", "unload_lora"]


def load_lora(
    self: Llama, path: str | os.PathLike[str], name: str | None = None, scale: float = 1.0
) -> LoraInfo:
    """Loads a LoRA adapter while the model is in use. Requests that name it use it, and no others.

    Running requests go on meanwhile. Prompts are shared, and cached, only among requests with the same
    adapters at the same scales.

    Args:
        path: A GGUF file with the adapter.
        name: What requests call it; None: the file's name without its suffix.
        scale: How strongly it applies where a request names it without a scale.

    Returns:
        What was loaded.

    Raises:
        InvalidParameterError: An adapter has that name, or the name could be taken for a position.
        ModelNotFoundError: There is no such file.
        ModelLoadError: It is damaged or not an adapter for this model, or was changed meanwhile.
        ModelAllocationError: It does not fit into memory.
        UnsupportedCapabilityError: The model writes no text, or this build has llama.cpp as published.

    Example:
        >>> llm.load_lora("legal.gguf")  # doctest: +SKIP
        >>> llm.create_completion("The parties agree", lora="legal")  # doctest: +SKIP
    """
    if self.settings.vocab_only or not self.info.capabilities.completion:
        raise UnsupportedCapabilityError(
            "load_lora: adapters are used by chat and text completions, and this model "
            + ("was loaded without its weights" if self.settings.vocab_only else "writes no text"),
            parameter="path",
        )
    file = file_path("path", path)
    called = text("name", file.stem if name is None else name)
    if not called.strip() or called.isdigit():
        raise InvalidParameterError(
            f"name must be a word that is not a number, got {called!r}: give another name", parameter="name"
        )
    strength = number()("scale", scale)
    if strength == 0:
        raise InvalidParameterError(
            "scale must not be 0: a request that names the adapter is to use it", parameter="scale"
        )
    from llamacpp_core.models.loadable import check_companion

    path = os.fspath(file.absolute())
    loaded = self._adapters.load(path, called, strength, lambda it: check_companion(it, "LoRA adapter"))
    _tell(self)
    return loaded


def unload_lora(self: Llama, name: str) -> None:
    """Unloads a LoRA adapter of :meth:`load_lora`.

    Requests that have begun end with it; then its memory is freed. Later ones that name it are refused, and
    so are those with Python in them (``logits_processor`` and the like) that have not been computed yet.

    Args:
        name: Its name.

    Raises:
        InvalidParameterError: There is no such adapter.
        UnsupportedCapabilityError: It was given when the model was loaded.
    """
    called = text("name", name)
    found = [one for one in self.loras if one.name == called]
    if not found:
        raise unknown_name(name, [one.name for one in self.loras], "LoRA adapter", "name")
    self._adapters.unload(found[-1])
    self._sessions.forget_adapter(found[-1].number)
    _tell(self)


def _tell(llama: Llama) -> None:
    """Brings the facts about the model up to date."""
    with llama._adapters.lock:
        now = tuple(llama._adapters)
        llama.info = dataclasses.replace(
            llama.info,
            lora=tuple((one.path, one.scale) for one in now),
            lora_bytes=sum(one.size_bytes for one in now),
        )


def hold_adapters(llama: Llama, fields: Mapping[str, Any]) -> Any:
    """Keeps the adapters that a request names, as llama-server's fields have them, while the result lives.

    Raises:
        InvalidParameterError: One of them was unloaded.
    """
    named = fields.get("lora")
    if not named:
        return None
    return llama._adapters.hold(one["id"] for one in named if one["scale"])


def chosen_adapters(adapters: Adapters, value: Any) -> Any:
    """The scales that a request gives to adapters, by the adapters' numbers.

    Args:
        adapters: What is loaded.
        value: A name; a list of names, or of llama-server's ``{"id": position, "scale": ...}``; or a dict
            from names or positions to scales. Anything else is returned as it is.

    Raises:
        InvalidParameterError: It names an adapter that is not there, or one twice.
    """
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, str) or (isinstance(value, list | tuple) and value):
        for i, one in enumerate([value] if isinstance(value, str) else value):
            if isinstance(one, Mapping) and set(one) == {"id", "scale"}:
                if not isinstance(one["id"], int | float | str):
                    raise InvalidParameterError(
                        f"lora[{i}].id must be an adapter's position or name, got {shown(one['id'])}",
                        parameter=f"lora[{i}].id",
                    )
                entries.append((one["id"], one["scale"]))
            elif isinstance(one, str):
                entries.append((one, None))
            else:
                raise InvalidParameterError(
                    f"lora[{i}] must be the name of an adapter, or have its id and scale",
                    parameter=f"lora[{i}]",
                )
    else:
        return value
    loaded = tuple(adapters)
    found: dict[Any, Any] = {}
    for key, scale in entries:
        one = _adapter(loaded, key)
        if one is None:
            found[key] = scale  # no name and no position: refused with the other fields
            continue
        if one.number in found:
            raise InvalidParameterError(f"lora names the adapter {one.name!r} twice", parameter="lora")
        found[one.number] = (one.scale or 1.0) if scale is None else scale
    return found


def adapter_contents(adapters: Adapters, value: Any) -> list[tuple[str, str]]:
    """What the adapters of a request are, whatever they are called: their files' digests, and their scales.

    Args:
        adapters: What is loaded.
        value: As for :func:`chosen_adapters`; None: the request names no adapters.

    Returns:
        Sorted.

    Raises:
        InvalidParameterError: As for :func:`chosen_adapters`, or the value is of no known form.
    """
    scales = adapters.defaults if value is None else chosen_adapters(adapters, value)
    if not isinstance(scales, Mapping):
        raise InvalidParameterError(
            f"lora must be names of adapters, or a dict from names to scales, got {shown(value)}",
            parameter="lora",
        )
    used = ((adapters.digest(key).hex(), scale) for key, scale in scales.items() if scale)
    return sorted((digest, str(float(scale) if isinstance(scale, int) else scale)) for digest, scale in used)


def _adapter(loaded: tuple[LoraInfo, ...], key: Any) -> LoraInfo | None:
    """The adapter of a name, or of a position among those that are loaded."""
    if isinstance(key, str):
        named = [one for one in loaded if one.name == key]
        if len(named) > 1:
            raise InvalidParameterError(
                f"lora: several adapters are called {key!r}: name them by their positions", parameter="lora"
            )
        if named:
            return named[0]
        if not (key.isascii() and key.isdigit()):
            raise unknown_name(key, [one.name for one in loaded], "adapter of lora", "lora")
    try:
        position = -1 if isinstance(key, bool | float) else int(key)
    except (TypeError, ValueError):
        return None
    if position < 0:
        return None
    if position >= len(loaded):
        raise InvalidParameterError(
            f"lora names adapter {position}, but {len(loaded)} adapter(s) are loaded", parameter="lora"
        )
    return loaded[position]
