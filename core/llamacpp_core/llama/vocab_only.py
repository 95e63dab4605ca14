"""A model of which only the vocabulary is loaded: tokens and text, nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from llamacpp_core.engine.adapters import Adapters
from llamacpp_core.engine.info import Capabilities, ModelInfo, PromptCache
from llamacpp_core.errors import EngineClosedError, UnsupportedCapabilityError

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.models import ResolvedModel

__all__ = ["NoWeights", "VocabEngine", "load_vocab", "vocab_info"]


def load_vocab(llama: Llama, resolved: ResolvedModel) -> None:
    """Gives a model its vocabulary, and what refuses everything else."""
    engine: Any = VocabEngine(resolved, llama.options.kv_overrides)
    llama._engine, llama.info = engine, vocab_info(resolved, engine)
    llama._adapters = Adapters(engine, ())
    nothing: Any = NoWeights()
    llama._chat = llama._completion = llama._vectors = llama._sessions = nothing


class VocabEngine:
    """Takes the engine's place: it has a model, and no requests.

    Args:
        resolved: The model.
        overrides: Metadata to replace.

    Raises:
        ModelLoadError: The file is not a usable model.
    """

    n_active = 0

    def __init__(
        self, resolved: ResolvedModel, overrides: Mapping[str, bool | int | float | str] | None = None
    ) -> None:
        from llamacpp_core.lowlevel import Model
        from llamacpp_core.models.metadata import check_override_types

        check_override_types(overrides, resolved.header.metadata)
        self._model = Model(resolved.path, vocab_only=True, metadata_overrides=overrides)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._model.closed

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The ``llama_model *``, valid inside the block."""
        if self._model.closed:
            raise EngineClosedError("the model is closed: create a new Llama")
        yield self._model._pointer

    def close(self) -> None:
        """Frees the vocabulary. Can be repeated."""
        self._model.close()


class NoWeights:
    """Stands where requests are planned; says that there is nothing to run them."""

    def __getattr__(self, name: str) -> NoReturn:
        raise UnsupportedCapabilityError(
            "this model was loaded with vocab_only=True: it has no weights; load it without",
            parameter="vocab_only",
        )


def vocab_info(resolved: ResolvedModel, engine: VocabEngine) -> ModelInfo:
    """Facts about a model of which only the vocabulary is loaded."""
    header = resolved.header
    vocabulary = engine._model.vocabulary
    special = vocabulary.special_tokens
    names = {name: vocabulary.token_text(token) for name, token in special.items()}
    return ModelInfo(
        name=resolved.name,
        path=os.fspath(resolved.path),
        architecture=header.architecture or "unknown",
        n_params=header.n_params,
        size_bytes=0,
        quantization=header.file_type or "unknown",
        n_ctx_train=header.context_length or 0,
        n_ctx=header.context_length or 0,
        n_ctx_reduced=None,
        n_parallel=0,
        n_batch=0,
        n_ubatch=0,
        n_threads=0,
        n_embd=header.embedding_length or 0,
        n_vocab=len(vocabulary),
        pooling=header.pooling_type or "unspecified",
        bos_token=names.get("bos", ""),
        eos_token=names.get("eos", ""),
        chat_template=header.chat_template or "",
        prompt_cache=PromptCache(slot_tokens=0, slot_bytes=0, ram_mib=0),
        capabilities=Capabilities(
            completion=False,
            chat=False,
            tools="generic",
            parallel_tool_calls=False,
            system_role=False,
            reasoning=False,
            embedding=False,
            rerank=None,
            image=False,
            audio=False,
        ),
    )
