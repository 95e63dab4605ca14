"""What the objects for LlamaIndex have in common beside :class:`~llamacpp_integrations._model.LocalModel`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import Field, ValidationError
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseComponent

from llamacpp_integrations._model import LocalModel
from llamacpp_integrations._refusals import field_refusal
from llamacpp_integrations.llama_index.tokenizer import LlamaCppTokenizer

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["LlamaCppComponent"]


class LlamaCppComponent(LocalModel, BaseComponent):
    """What the chat model, the embedding model and the reranker share: where their model comes from.

    The framework compares and saves objects by their fields, so ``model`` and ``load_options`` describe a
    model that was given as ``llama=`` too.
    """

    model: str = Field(
        description="A catalog name, a path to a GGUF file, or hf:owner/repo:file-or-glob.gguf.", frozen=True
    )

    def __init__(
        self, model: str | os.PathLike[str] | None = None, *, llama: Llama | None = None, **fields: Any
    ) -> None:
        fields = self._sorted(fields if model is None else {"model": model, **fields})
        handle = self._opened({**fields, "llama": llama})
        fields["model"] = handle.model
        if llama is not None:
            fields["load_options"] = handle.options
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise field_refusal(error) from None
        self._handle = handle
        self._settle()

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        # The class's name is a part of to_dict(), which from_dict() or pydantic may bring back.
        return super()._sorted({name: value for name, value in given.items() if name != "class_name"})

    @property
    def tokenizer(self) -> LlamaCppTokenizer:
        """The model's own tokenizer, for ``Settings.tokenizer`` and for splitters."""
        return LlamaCppTokenizer(self._held)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        fields = dict(state["__dict__"])
        if "callback_manager" in fields and not _picklable(fields["callback_manager"]):
            fields["callback_manager"] = CallbackManager([])  # handlers belong to this process
        return {**state, "__dict__": fields}


def _picklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
