"""The model behind a LlamaIndex object: loaded once, shared, and carried by its configuration only."""

from __future__ import annotations

import dataclasses
import os
import pickle
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseComponent

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import EngineClosedError, InvalidParameterError
from llamacpp_integrations.llama_index.tokenizer import LlamaCppTokenizer

if TYPE_CHECKING:
    from llamacpp_core import Llama
    from llamacpp_core.info import ModelInfo
    from llamacpp_core.shared import Lease

__all__ = ["LlamaCppComponent", "ModelHandle"]

_NAMED = ("n_ctx", "n_parallel", "n_batch", "n_threads", "n_gpu_layers")


class ModelHandle:
    """A share in a loaded model.

    A pickle of it holds the name and the load options; the copy loads, or shares, the model on first use.
    Copies within this process are this same object.

    Args:
        model: What to load, as for :class:`~llamacpp_core.Llama`.
        options: Load options, and ``progress``.
        llama: A loaded model to use as it is; it stays its owner's to close.
    """

    def __init__(self, model: str, options: Mapping[str, Any], llama: Llama | None = None) -> None:
        self._model = model
        self._options = dict(options)
        self._given = llama
        self._lease: Lease | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def llama(self) -> Llama:
        """The loaded model.

        Raises:
            EngineClosedError: The object was closed.
        """
        if self._given is not None and not self._closed:
            return self._given
        lease = self._lease
        return lease.llama if lease is not None else self._load()

    @property
    def info(self) -> ModelInfo:
        """Facts about the model."""
        return self.llama.info

    def _load(self) -> Llama:
        from llamacpp_core.shared import lease

        with self._lock:
            if self._closed:
                raise EngineClosedError("this object was closed: make a new one")
            if self._lease is None:
                self._lease = lease(self._model, **self._options)
            return self._lease.llama

    def close(self) -> None:
        """Gives the share back; the model is freed with the last one."""
        with self._lock:
            self._closed = True
            if self._lease is not None:
                self._lease.release()
                self._lease = None

    def __getstate__(self) -> dict[str, Any]:
        if self._given is not None:
            from llamacpp_core import Llama

            if not isinstance(self._given, Llama):
                raise TypeError(
                    f"an object made with llama={self._given!r} cannot be pickled: give it model="
                )
        return {"model": self._model, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"], state["options"])  # type: ignore[misc]

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class LlamaCppComponent(BaseComponent):
    """What the chat model, the embedding model and the reranker share: where their model comes from."""

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=("pydantic_model_",))

    model: str = Field(
        description="A catalog name, a path to a GGUF file, or hf:owner/repo:file-or-glob.gguf.", frozen=True
    )
    n_ctx: int | None = Field(
        default=None,
        description="Context length of one request, in tokens. None: what the model was trained with.",
        frozen=True,
    )
    n_parallel: int | None = Field(
        default=None,
        description="Requests that run at once in one batch. None: 4, and 32 for encoders.",
        frozen=True,
    )
    n_batch: int | None = Field(
        default=None, description="Tokens that one step takes in at most. None: 512.", frozen=True
    )
    n_threads: int | None = Field(
        default=None, description="CPU threads. None: one per physical core.", frozen=True
    )
    n_gpu_layers: int | None = Field(
        default=None, description="Layers to keep on the GPU. -1: all. None: as many as fit.", frozen=True
    )
    load_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Any other field of llamacpp_core.LoadOptions; each may also be given as a keyword.",
        frozen=True,
    )

    _handle: ModelHandle = PrivateAttr()

    #: Load options that this kind of object has by default.
    _load_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self, model: str | os.PathLike[str] | None = None, *, llama: Llama | None = None, **fields: Any
    ) -> None:
        if (model is None) == (llama is None):
            raise InvalidParameterError(
                f"{type(self).__name__} needs model='name, path or hf:...' or a loaded llama=, and only one "
                "of them",
                parameter="model",
            )
        fields = self._sorted(fields)
        if llama is not None:
            if given := [name for name in (*_NAMED, "load_options") if fields.get(name)]:
                raise InvalidParameterError(
                    f"{given[0]} is decided when a model is loaded: give it to llama=Llama(...)",
                    parameter=given[0],
                )
            model, options = _as_loaded(llama)
            fields["load_options"] = options
        else:
            options = {name: fields[name] for name in _NAMED if fields.get(name) is not None}
            options = {**self._load_defaults, **options, **fields.get("load_options", {})}
        name = os.fspath(model)  # type: ignore[arg-type]
        handle = ModelHandle(name, options, llama)
        handle.llama  # noqa: B018 - loads now, so that an error shows here and not in the middle of a query
        super().__init__(model=name, **fields)  # type: ignore[call-arg]
        self._handle = handle

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords as fields, with load options that have no field of their own under ``load_options``."""
        from llamacpp_core.options import LoadOptions

        fields: dict[str, Any] = {}
        options: dict[str, Any] = dict(given.get("load_options") or {})
        known = [*cls.model_fields, *LoadOptions.__dataclass_fields__, "llama", "progress"]
        for name, value in given.items():
            if name in cls.model_fields:
                fields[name] = value
            elif name in LoadOptions.__dataclass_fields__ or name == "progress":
                options[name] = value
            elif name != "class_name":  # a part of to_dict(), which from_dict() or pydantic may bring back
                raise unknown_name(name, known, f"argument of {cls.__name__}")
        if options:
            fields["load_options"] = options
        return fields

    @property
    def client(self) -> Llama:
        """The loaded model, for instance to make another object of it with ``llama=``."""
        return self._handle.llama

    @property
    def tokenizer(self) -> LlamaCppTokenizer:
        """The model's own tokenizer, for ``Settings.tokenizer`` and for splitters."""
        return LlamaCppTokenizer(self._handle)

    def close(self) -> None:
        """Gives the share in the model back; the model is freed with the last share.

        A model that was given as ``llama=`` stays open.
        """
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # The framework's own versions leave out, with a warning, whatever cannot be pickled, and load at once.

    def __getstate__(self) -> dict[str, Any]:
        state = BaseModel.__getstate__(self)
        fields = dict(state["__dict__"])
        if "callback_manager" in fields and not _picklable(fields["callback_manager"]):
            fields["callback_manager"] = CallbackManager([])  # handlers belong to this process
        return {**state, "__dict__": fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        BaseModel.__setstate__(self, state)


def _as_loaded(llama: Any) -> tuple[str, dict[str, Any]]:
    """The path and the load options that give this model again."""
    from llamacpp_core.options import LoadOptions

    options = getattr(llama, "options", None)
    if not isinstance(options, LoadOptions):
        return llama.info.path, {}
    defaults = LoadOptions()
    given = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(LoadOptions)
        if getattr(options, field.name) != getattr(defaults, field.name)
    }
    return llama.info.path, given


def _picklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
