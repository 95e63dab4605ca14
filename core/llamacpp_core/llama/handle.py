"""What an object of LangChain or LlamaIndex holds: a share in a loaded model, carried by its configuration.

The rules of both frameworks are these:

- The model is loaded when the object is made, and shared by all objects with the same model and options.
- A copy holds a share of its own. A pickle holds the model's name and its load options; the object made of it
  loads the model, or shares it, on first use.
- :meth:`ModelHandle.close` gives one share back. A closed object refuses to work; the others go on. The model
  is freed with its last share.
- A model whose last object became garbage stays for five minutes, or ``keep_alive``, since the next object
  often needs it.
- With ``keep_alive``, a share that was not used for so long is given back, and got again on the next use.
- A model given as ``llama=`` is never closed here.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import threading
import time
import weakref
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

from llamacpp_core._checks import number, shown, unknown_name
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.engine.process_lock import ProcessLock
from llamacpp_core.engine.threads import Timer
from llamacpp_core.errors import EngineClosedError, InvalidParameterError
from llamacpp_core.llama.lease import Lease, lease
from llamacpp_core.llama.running import is_busy

if TYPE_CHECKING:
    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.llama.llama import Llama

__all__ = ["ModelHandle", "is_load_keyword", "load_options", "read_keep_alive", "sort_keywords"]

#: Keywords of ``Llama`` that are not load options.
_BESIDE_OPTIONS = ("progress", "verbose")

#: Seconds that a model stays after its last object, where nobody says.
KEPT = 300.0

# Less than a second would end between finding the model and asking it something.
_KEEP_ALIVE = number(1, threading.TIMEOUT_MAX)
_ANY_NUMBER = number()
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)(s|m|h|)")


class ModelHandle:
    """A share in a loaded model.

    Args:
        owner: Name of the class that holds it, for errors.
        model: What to load, as for :class:`~llamacpp_core.Llama`.
        llama: A loaded model to use in place of ``model``; it stays its owner's to close.
        options: Load options, and ``progress``. None means not given.
        keep_alive: As :func:`read_keep_alive` has it.

    Attributes:
        model: The name or path of the model, also of a given one.
        options: The options that load the same model again.

    Raises:
        InvalidParameterError: Not exactly one of ``model`` and ``llama`` was given, one of them is something
            else, or options or ``keep_alive`` were given for a loaded model.
    """

    def __init__(
        self,
        owner: str,
        model: Any = None,
        llama: Any = None,
        options: Mapping[str, Any] | None = None,
        keep_alive: float | str | None = None,
    ) -> None:
        if (model is None) == (llama is None):
            raise InvalidParameterError(
                f"{owner} needs model='name, path or hf:...' or a loaded llama=, and only one of them",
                parameter="model",
            )
        options = {name: value for name, value in (options or {}).items() if value is not None}
        self._idle, self._linger = read_keep_alive(keep_alive)
        self._given_keep_alive = keep_alive
        if llama is not None:
            _check_loaded(llama, options | ({} if keep_alive is None else {"keep_alive": keep_alive}))
            model, options = llama.info.path, _options_of(llama)
        elif not isinstance(model, str | os.PathLike):
            raise InvalidParameterError(
                "model must be a catalog name, a path or 'hf:owner/repo:file.gguf', got "
                f"{type(model).__name__}: a loaded Llama goes into llama=",
                parameter="model",
            )
        self._owner = owner
        self.model: str = os.fspath(model)
        self.options: dict[str, Any] = options
        self._given: Llama | None = llama
        self._lease: Lease | None = None
        self._closed = False
        self._lock = ProcessLock()
        self._used = 0.0  # of the monotonic clock
        self._timer: threading.Timer | None = None

    @property
    def llama(self) -> Llama:
        """The loaded model; loads it, or shares it, if that has not happened yet.

        Raises:
            EngineClosedError: :meth:`close` was called.
            LlamaCppError: As :class:`~llamacpp_core.Llama` does.
        """
        held = self._lease
        if held is not None and self._idle is None:
            return held.llama
        with self._lock.here:
            if self._closed:
                raise EngineClosedError(f"this {self._owner} was closed: make a new one, or a copy of it")
            if self._given is not None:
                return self._given
            if self._lease is None:
                self._lease = lease(self.model, linger=self._linger, **self.options)
            self._used = time.monotonic()
            self._set_timer(self._idle)
            return self._lease.llama

    def _set_timer(self, seconds: float | None) -> None:
        if seconds is not None and self._timer is None:
            self._timer = Timer(seconds, _give_back_unused, [weakref.ref(self)])
            self._timer.name, self._timer.daemon = "llamacpp-keep-alive", True
            self._timer.start()

    def _give_back_unused(self) -> None:
        with self._lock.here:
            self._timer = None
            held = self._lease
            if held is None or self._idle is None:
                return
            now = time.monotonic()
            if is_busy(held.llama):
                self._used = now
            left = self._used + self._idle - now
            if left > 0:
                self._set_timer(left)
                return
            self._lease = None
        held.release()

    @property
    def info(self) -> ModelInfo:
        """Facts about the model."""
        return self.llama.info

    @property
    def given(self) -> bool:
        """Whether the model was given as ``llama=``, so that somebody else loaded it."""
        return self._given is not None

    @property
    def loaded(self) -> bool:
        """Whether using it loads nothing."""
        return not self._closed and (self._given is not None or self._lease is not None)

    def close(self) -> None:
        """Gives the share back; the model is freed with the last one. Can be repeated."""
        with self._lock.here:
            self._closed = True
            held, self._lease = self._lease, None
            if self._timer is not None:
                self._timer.cancel()
        if held is not None:
            held.release()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelHandle):
            return NotImplemented
        return (self.model, self.options) == (other.model, other.options) and self._given is other._given

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Self:
        twin = type(self)(self._owner, self.model, None, self.options, self._given_keep_alive)
        twin._given = self._given
        if self._lease is not None:
            twin._lease = lease(self.model, linger=self._linger, **self.options)
            twin._used = time.monotonic()
            twin._set_timer(self._idle)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._given is not None and not isinstance(getattr(self._given, "options", None), LoadOptions):
            raise TypeError(
                f"a {self._owner} made with llama={self._given!r} cannot be pickled: give it model="
            )
        return type(self), (self._owner, self.model, None, self.options, self._given_keep_alive)


def _give_back_unused(handle: weakref.ref[ModelHandle]) -> None:
    if (found := handle()) is not None:
        found._give_back_unused()


def read_keep_alive(value: Any) -> tuple[float | None, float]:
    """What ``keep_alive`` means.

    Args:
        value: Seconds, as a number or like "90s", "5m" and "1h", of at least 1; 0 and negative ones are
            special.

    Returns:
        Seconds without use after which an object gives its model back (None: never), and seconds for which
        the model stays when its last object is gone:

        - None: never, five minutes;
        - seconds: as long both times;
        - 0: never, not at all; so the model lives as long as the objects;
        - negative: never, for ever.

    Raises:
        InvalidParameterError: It is something else.
    """
    if value is None:
        return None, KEPT
    if isinstance(value, str):
        if (found := _DURATION.fullmatch(value)) is None:
            raise InvalidParameterError(
                f"keep_alive must be seconds or a time such as '90s', '5m' or '1h', got {shown(value)}",
                parameter="keep_alive",
            )
        value = float(found[1]) * _UNITS[found[2]]
    seconds = float(_ANY_NUMBER("keep_alive", value))
    if seconds <= 0:
        return None, math.inf if seconds else 0.0
    return (float(_KEEP_ALIVE("keep_alive", seconds)),) * 2


def is_load_keyword(name: str) -> bool:
    """Whether only loading takes a keyword of that name."""
    return name in LoadOptions.__dataclass_fields__ or name in _BESIDE_OPTIONS


def sort_keywords(
    given: Mapping[str, Any], fields: Collection[str], owner: str, collected: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Sorts the keywords of a constructor into fields.

    Args:
        given: The keywords. ``model_path`` is another name of ``model``.
        fields: The names of the fields.
        owner: The class, for errors.
        collected: Names that are not fields, and the field whose dict takes them. Load options that are not
            fields go into ``load_options``.

    Raises:
        InvalidParameterError: A keyword is unknown, or two of them contradict each other.
    """
    collected = collected or {}
    out: dict[str, Any] = {}
    dicts: dict[str, dict[str, Any]] = {}
    for name in ("load_options", *dict.fromkeys(collected.values())):
        value = given.get(name) or {}
        if not isinstance(value, Mapping):
            raise InvalidParameterError(f"{name} must be a dict, got {type(value).__name__}", parameter=name)
        dicts[name] = dict(value)
    for name, value in given.items():
        if name == "model_path":
            if given.get("model") is not None:
                raise InvalidParameterError(
                    "model and model_path mean the same: give one of them", parameter="model_path"
                )
            out["model"] = value
        elif name in fields:
            out[name] = value
        elif name in collected or is_load_keyword(name):
            into = collected.get(name, "load_options")
            _refuse_both(name, value, into, dicts[into])
            dicts[into][name] = value
        else:
            known = [*fields, *collected, *LoadOptions.__dataclass_fields__, *_BESIDE_OPTIONS, "llama"]
            raise unknown_name(name, [*known, "model_path"], f"argument of {owner}")
    return out | {name: values for name, values in dicts.items() if values or name in given}


def load_options(named: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The options of fields of their own and those of ``load_options`` as one dict.

    Raises:
        InvalidParameterError: One has two values.
    """
    named = {name: value for name, value in named.items() if value is not None}
    for name, value in named.items():
        _refuse_both(name, value, "load_options", more)
    return {**named, **more}


def _refuse_both(name: str, value: Any, into: str, others: Mapping[str, Any]) -> None:
    if name in others and others[name] != value:
        raise InvalidParameterError(
            f"{name} is {shown(value)} and {into} has {shown(others[name])} for it: give it once",
            parameter=name,
        )


def _check_loaded(llama: Any, options: Mapping[str, Any]) -> None:
    if not hasattr(llama, "info"):
        raise InvalidParameterError(
            f"llama must be a loaded llamacpp_core.Llama, got {type(llama).__name__}: a name or path goes "
            "into model=",
            parameter="llama",
        )
    for name in options:
        raise InvalidParameterError(
            f"{name} is decided when a model is loaded: give it to llama=Llama(...)", parameter=name
        )


def _options_of(llama: Any) -> dict[str, Any]:
    """The load options that give this model again; none for a fake that has no options."""
    options = getattr(llama, "options", None)
    if not isinstance(options, LoadOptions):
        return {}
    defaults = LoadOptions()
    names = [field.name for field in dataclasses.fields(LoadOptions)]
    return {
        name: getattr(options, name) for name in names if getattr(options, name) != getattr(defaults, name)
    }
