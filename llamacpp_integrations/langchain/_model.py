"""What all classes here have in common: which model, how it is loaded, and who holds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_integrations._refusals import field_refusal, frozen_refusal, refuse_load_options
from llamacpp_integrations.langchain._errors import translated_errors

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["LlamaCppModel", "check_generates"]

_log = logging.getLogger("llamacpp_core.langchain")

#: Arguments of models behind a server that have nothing to act on here.
_WITHOUT_EFFECT = ("api_key", "max_retries")

_NAMED = ("n_ctx", "n_parallel", "n_batch", "n_threads", "n_gpu_layers")

#: Fields that are read once, when the model is loaded.
_LOADING = ("model", "llama", "load_options", *_NAMED)


class LlamaCppModel(BaseModel):
    """The model behind a LangChain object, shared with all objects that load it the same way.

    The model is loaded, or found already loaded, when the object is made. It is freed with the last object
    that uses it. Copies and pickles carry the configuration only and load, or share, again.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=(), extra="ignore")

    model: str | None = None
    """A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``. Also ``model_path``."""

    llama: Any = Field(default=None, exclude=True, repr=False)
    """A ready :class:`~llamacpp_core.Llama` to use in place of ``model``; it stays yours to close."""

    n_ctx: int | None = None
    """Context length of one request, in tokens. None: what the model was trained with."""

    n_parallel: int | None = None
    """Requests that run at once in one batch. None: 4, and 32 for encoders."""

    n_batch: int | None = None
    """Tokens that one step takes in at most. None: 512."""

    n_threads: int | None = None
    """CPU threads. None: one per physical core."""

    n_gpu_layers: int | None = None
    """Layers to keep on the GPU. -1: all; None: as many as fit."""

    load_options: dict[str, Any] = Field(default_factory=dict)
    """Any other field of :class:`~llamacpp_core.LoadOptions`; each may also be given as a keyword."""

    _lease: Any = PrivateAttr(default=None)

    _collected: ClassVar[Mapping[str, str]] = {}
    """Keywords that are no field: the name of the field that collects them, by keyword."""

    if not TYPE_CHECKING:  # keeps the fields as the signature that type checkers see

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            with translated_errors():
                given = self._arguments(kwargs)
                try:
                    super().__init__(*args, **given)
                except ValidationError as error:
                    raise field_refusal(error) from None
                self._check_source()
                self._check_fields()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _LOADING and value != getattr(self, name):
            with translated_errors():
                raise frozen_refusal(name)
        super().__setattr__(name, value)

    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Sorts keywords into fields and the dicts that collect the rest.

        Raises:
            InvalidParameterError: A keyword is unknown.
        """
        from llamacpp_core.engine.load.options import LoadOptions

        out: dict[str, Any] = {}
        more: dict[str, dict[str, Any]] = {}
        aliases = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
        for name, value in given.items():
            if name in cls.model_fields or name in aliases:
                out[name] = value
            elif name == "model_path":
                if given.get("model") is not None:
                    raise InvalidParameterError(
                        "model and model_path mean the same: give one of them", parameter="model_path"
                    )
                out["model"] = value
            elif name in cls._collected:
                more.setdefault(cls._collected[name], {})[name] = value
            elif name in LoadOptions.__dataclass_fields__:
                more.setdefault("load_options", {})[name] = value
            elif name in _WITHOUT_EFFECT:
                _log.debug("%s has no effect on %s: there is no server", name, cls.__name__)
            else:
                known = [*cls.model_fields, *cls._collected, *LoadOptions.__dataclass_fields__, "model_path"]
                raise unknown_name(name, known, f"argument of {cls.__name__}")
        for field, values in more.items():
            out[field] = {**(out.get(field) or {}), **values}
        if isinstance(out.get("model"), os.PathLike):
            out["model"] = os.fspath(out["model"])
        return out

    def _check_source(self) -> None:
        if (self.model is None) == (self.llama is None):
            raise InvalidParameterError(
                f"{type(self).__name__} needs model='name, path or hf:...' or a loaded llama=, "
                "and only one of them",
                parameter="model",
            )
        if self.llama is None:
            return
        if not hasattr(self.llama, "info"):
            raise InvalidParameterError(
                f"llama must be a loaded llamacpp_core.Llama, got {type(self.llama).__name__}: a name or "
                "path goes into model=",
                parameter="llama",
            )
        for name, value in self._options().items():
            if value is not None:
                raise InvalidParameterError(
                    f"{name} has no effect on a Llama that is loaded already: give it to Llama(...), or use "
                    "model= in place of llama=",
                    parameter=name,
                )

    def _check_fields(self) -> None:
        """Loads the model, and checks what has to fit to it.

        Raises:
            InvalidParameterError: A value cannot work; names it.
        """
        _ = self.client

    def _check_call(self, given: Mapping[str, Any]) -> None:
        """Refuses arguments of a call that only loading can take."""
        refuse_load_options(given, type(self).__name__)

    # The engine

    @property
    def client(self) -> Llama:
        """The loaded model."""
        if self.llama is not None:
            return self.llama  # type: ignore[no-any-return]
        if self._lease is None:
            from llamacpp_core.llama.lease import lease

            assert self.model is not None
            self._lease = lease(self.model, **self._options())
        return self._lease.llama  # type: ignore[no-any-return]

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMED} | self.load_options

    def close(self) -> None:
        """Gives the share in the model back; the last one frees the model. A later call loads again."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    @property
    def _identity(self) -> dict[str, Any]:
        """What makes two objects give the same answers: the weights and how they are loaded."""
        info = self.client.info
        return {
            "model": self.model or info.name,
            "path": info.path,
            "quantization": info.quantization,
            "n_ctx": info.n_ctx,
            "lora": info.lora,
            "chat_template": _digest(info.chat_template),
            "load_options": self._options() if self.llama is None else {},
        }

    # Copies

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
        """A copy with some fields changed; one that changes how the model is loaded loads, or shares, again.

        Args:
            update: New values by field; they are checked as those of a new object are.
            deep: Copy the values of the other fields as well.

        Raises:
            InvalidParameterError: A name is unknown or a value cannot work.
        """
        copied = super().model_copy(deep=deep)
        if not update:
            return copied
        fields = type(self).model_fields
        kept = {name: getattr(copied, name) for name in copied.model_fields_set & set(fields)}
        # What the model itself says is asked again.
        if "profile" in kept and kept["profile"] == getattr(self, "_resolve_model_profile", dict)():
            del kept["profile"]
        return type(self)(**kept | dict(update))

    def __getstate__(self) -> dict[Any, Any]:
        if self.llama is not None:
            raise TypeError(
                f"a {type(self).__name__} made with llama= cannot be pickled: give it model= and load options"
            )
        state = super().__getstate__()
        private = dict(state.get("__pydantic_private__") or {})
        private["_lease"] = None
        return {**state, "__pydantic_private__": private}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        memo = {} if memo is None else memo
        for shared in (self.llama, self._lease):
            memo[id(shared)] = shared
        return super().__deepcopy__(memo)


def check_generates(info: ModelInfo) -> None:
    """Refuses a model that has no text to give.

    Raises:
        UnsupportedCapabilityError: It computes embeddings or scores only.
    """
    if not info.capabilities.completion:
        raise UnsupportedCapabilityError(
            f"{info.name} computes embeddings or scores only: it cannot generate text. Use it with "
            "LlamaCppEmbeddings or LlamaCppRerank",
            parameter="model",
        )


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:16]
