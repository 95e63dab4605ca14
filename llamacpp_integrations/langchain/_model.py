"""What all classes here have in common beside :class:`~llamacpp_integrations._model.LocalModel`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError

from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_integrations._model import LocalModel
from llamacpp_integrations._refusals import field_refusal, refuse_load_options
from llamacpp_integrations.langchain._errors import translated_errors

if TYPE_CHECKING:
    from llamacpp_core import ModelInfo

__all__ = ["LlamaCppModel", "check_generates"]

_log = logging.getLogger("llamacpp_core.langchain")

#: Arguments of models on a server that have no effect here.
_WITHOUT_EFFECT = ("api_key", "max_retries")


class LlamaCppModel(LocalModel):
    """The model of a LangChain object, shared with all objects that load it the same way.

    The model is loaded, or found already loaded, when the object is made, and freed with the last object that
    uses it. :meth:`close` gives this object's share back; then the object cannot be used any more.
    """

    model_config = ConfigDict(protected_namespaces=(), extra="ignore")

    model: str | None = Field(default=None, frozen=True)
    """A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``. Also ``model_path``."""

    llama: Any = Field(default=None, exclude=True, repr=False, frozen=True)
    """A ready :class:`~llamacpp_core.Llama` to use in place of ``model``; it stays yours to close."""

    if not TYPE_CHECKING:  # keeps the fields as the signature that type checkers see

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            with translated_errors():
                fields = self._sorted(kwargs)
                if isinstance(fields.get("model"), os.PathLike):
                    fields["model"] = os.fspath(fields["model"])
                handle = self._opened(fields)
                try:
                    super().__init__(*args, **fields)
                except ValidationError as error:
                    raise field_refusal(error) from None
                if self._handle is None:
                    self._handle = handle
                self._settle()

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        aliases = [field.alias for field in cls.model_fields.values() if field.alias]
        out = {name: given[name] for name in aliases if name in given}
        rest = {name: value for name, value in given.items() if name not in out}
        for name in _WITHOUT_EFFECT:
            if rest.pop(name, None) is not None:
                _log.debug("%s has no effect on %s: there is no server", name, cls.__name__)
        return out | super()._sorted(rest)

    def __setattr__(self, name: str, value: Any) -> None:
        with translated_errors():
            super().__setattr__(name, value)

    def _check_call(self, given: Mapping[str, Any]) -> None:
        """Refuses arguments of a call that only loading can take."""
        refuse_load_options(given, type(self).__name__)

    @property
    def _identity(self) -> dict[str, Any]:
        """What makes two objects give the same answers: the weights and how they are loaded."""
        info = self.client.info
        return {
            "model": self.model or info.name,
            "path": info.path,
            "quantization": info.quantization,
            "n_ctx": info.n_ctx,
            # not "lora": that is the argument of calls, whose values take the place of these
            "adapters": [(one.name, one.path, one.scale, one.digest.hex()) for one in self.client.loras],
            "chat_template": _digest(info.chat_template),
            "load_options": {} if self._held.given else self._held.options,
        }

    def _kept(self) -> dict[str, Any]:
        kept = super()._kept()
        # What the model itself says is asked again.
        if "profile" in kept and kept["profile"] == getattr(self, "_resolve_model_profile", dict)():
            del kept["profile"]
        return kept

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
        """As of :class:`~llamacpp_integrations._model.LocalModel`, with LangChain's errors."""
        with translated_errors():
            return super().model_copy(update=update, deep=deep)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        if self.llama is None:
            return state
        # The copy loads what was given here.
        described = {"llama": None, "model": self._held.model, "load_options": self._held.options}
        return {**state, "__dict__": {**state["__dict__"], **described}}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        memo = {} if memo is None else memo
        memo[id(self.llama)] = self.llama
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
