"""What all objects here have in common: which model, how it is loaded, and what their fields may be."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from llama_index.core.bridge.pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FieldInfo,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseComponent

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._refusals import field_refusal, frozen_refusal
from llamacpp_integrations.llama_index._handle import ModelHandle
from llamacpp_integrations.llama_index.tokenizer import LlamaCppTokenizer

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["LlamaCppComponent"]

_NAMED = ("n_ctx", "n_parallel", "n_batch", "n_threads", "n_gpu_layers")

#: What loading takes beside the load options.
_NOT_IN_OPTIONS = ("progress", "verbose")


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
        more = fields.get("load_options", {})
        named = {name: fields[name] for name in _NAMED if fields.get(name) is not None}
        if llama is not None:
            for option in (*named, *more):
                raise InvalidParameterError(
                    f"{option} is decided when a model is loaded: give it to llama=Llama(...)",
                    parameter=option,
                )
            model, options = _as_loaded(llama)
            fields["load_options"] = options
        else:
            for option in named:
                _refuse_both(option, named[option], more)
            options = {**self._load_defaults, **named, **more}
        name = _model_name(model)
        handle = ModelHandle(name, options, llama)
        handle.llama  # noqa: B018 - loads now, so that an error shows here and not in the middle of a query
        try:
            super().__init__(model=name, **fields)  # type: ignore[call-arg]
        except ValidationError as error:
            raise field_refusal(error) from None
        self._handle = handle
        for name in _adapters(type(self)):
            # Straight into the values, since nobody set it.
            self.__dict__[name] = self._settled(name, getattr(self, name))

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords as fields, with load options that have no field of their own under ``load_options``."""
        from llamacpp_core.engine.load.options import LoadOptions

        fields: dict[str, Any] = {}
        collected = given.get("load_options") or {}
        if not isinstance(collected, Mapping):
            raise InvalidParameterError(
                f"load_options must be a dict, got {type(collected).__name__}", parameter="load_options"
            )
        options = dict(collected)
        for name, value in given.items():
            if name in cls.model_fields:
                fields[name] = value
            elif name in LoadOptions.__dataclass_fields__ or name in _NOT_IN_OPTIONS:
                _refuse_both(name, value, options)
                options[name] = value
            elif name != "class_name":  # a part of to_dict(), which from_dict() or pydantic may bring back
                raise cls._unknown(name)
        if options:
            fields["load_options"] = options
        return fields

    @classmethod
    def _unknown(cls, name: str) -> InvalidParameterError:
        """The error for a keyword that does not exist."""
        from llamacpp_core.engine.load.options import LoadOptions

        known = [*cls.model_fields, *LoadOptions.__dataclass_fields__, *_NOT_IN_OPTIONS, "llama"]
        return unknown_name(name, known, f"argument of {cls.__name__}")

    def _settled(self, name: str, value: Any) -> Any:  # noqa: ARG002 - for the classes below
        """What a field becomes that has this value.

        Raises:
            InvalidParameterError: The value cannot work with this model.
        """
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if (adapter := _adapters(type(self)).get(name)) is not None:
            if type(self).model_fields[name].frozen:
                raise frozen_refusal(name)
            try:
                value = self._settled(name, adapter.validate_python(value))
            except ValidationError as error:
                raise field_refusal(error, name) from None
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed; one that changes how the model is loaded loads, or shares, again.

        Args:
            update: New values by field; they are checked as those of a new object are.
            deep: Copy the values of the other fields as well.

        Raises:
            InvalidParameterError: A name is unknown or a value cannot work.
        """
        copied: Self = super().model_copy(deep=deep)
        changes = self._sorted(update or {})
        loading = [name for name in changes if type(self).model_fields[name].frozen]
        if not loading:
            for name, value in changes.items():
                setattr(copied, name, value)
            return copied
        if self._handle.given:
            raise InvalidParameterError(
                f"{loading[0]} is decided when a model is loaded: make a new object of llama=Llama(...)",
                parameter=loading[0],
            )
        kept = {name: getattr(copied, name) for name in copied.model_fields_set}
        if "load_options" not in (update or {}):
            older = {name: value for name, value in self.load_options.items() if name not in changes}
            changes["load_options"] = older | changes.get("load_options", {})
        return type(self)(**kept | changes)

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


@functools.cache
def _adapters(kind: type[LlamaCppComponent]) -> dict[str, TypeAdapter[Any]]:
    """What checks a value of each field that one of our classes declares.

    Pydantic's own check of assignments would run the framework's validators, which assign again.
    """
    package = __name__.partition(".")[0]
    ours = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == package]
    return {
        name: TypeAdapter(_annotated(kind.model_fields[name]))
        for base in ours
        for name in inspect.get_annotations(base)
        if name in kind.model_fields
    }


def _annotated(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _refuse_both(name: str, value: Any, options: Mapping[str, Any]) -> None:
    if name in options and options[name] != value:
        raise InvalidParameterError(
            f"{name} is {value!r} and load_options has {options[name]!r} for it: give it once",
            parameter=name,
        )


def _model_name(model: Any) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise InvalidParameterError(
        "model must be a catalog name, a path or 'hf:owner/repo:file.gguf', got "
        f"{type(model).__name__}: a loaded Llama goes into llama=",
        parameter="model",
    )


def _as_loaded(llama: Any) -> tuple[str, dict[str, Any]]:
    """The path and the load options that give this model again."""
    from llamacpp_core.engine.load.options import LoadOptions

    if not hasattr(llama, "info"):
        raise InvalidParameterError(
            f"llama must be a loaded llamacpp_core.Llama, got {type(llama).__name__}: a name or path goes "
            "into model=",
            parameter="llama",
        )
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
