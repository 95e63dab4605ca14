"""What the objects of both frameworks have in common: their model, how it is loaded, and their copies."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.llama.handle import ModelHandle, is_load_keyword, load_options, sort_keywords
from llamacpp_integrations._neighbours import neighbour_refusal
from llamacpp_integrations._refusals import field_refusal, frozen_refusal

if TYPE_CHECKING:
    from llamacpp_core import Llama, LoraInfo

__all__ = ["LocalModel"]

_NAMED = ("n_ctx", "n_parallel", "n_batch", "n_threads", "n_gpu_layers")


class LocalModel(BaseModel):
    """A share in a model of this process, as a pydantic model.

    Fields that loading reads are frozen; the others are checked when they are assigned as when the object is
    made. :class:`~llamacpp_core.llama.handle.ModelHandle` has the rules of copying, pickling and closing.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=("pydantic_model_",))

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
    keep_alive: float | str | None = Field(
        default=None,
        description="Seconds without use after which the model's memory is freed, as a number or like '5m'; "
        "the next use loads it again. None: it stays while there are objects, and five minutes longer. "
        "0: while there are objects. -1: for ever.",
        frozen=True,
    )
    load_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Any other field of llamacpp_core.LoadOptions; each may also be given as a keyword.",
        frozen=True,
    )

    _handle: ModelHandle | None = PrivateAttr(default=None)

    _load_defaults: ClassVar[Mapping[str, Any]] = {}
    """Load options that this kind of object has by default."""

    _collected: ClassVar[Mapping[str, str]] = {}
    """Keywords that are not fields: the name of the field that collects them, by keyword."""

    # What the classes of a framework fill in

    def _settled(self, name: str, value: Any) -> Any:  # noqa: ARG002 - for the classes below
        """What a field becomes that has this value.

        Raises:
            InvalidParameterError: The value cannot work with this model.
        """
        return value

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords as fields.

        Raises:
            InvalidParameterError: One is unknown, or has two values.
        """
        framework = cls.__module__.split(".")[1]
        known = {*cls.model_fields, *cls._collected, "model_path", "llama"}
        for name in given:
            if name in known or is_load_keyword(name):
                continue
            taken = known | set(LoadOptions.__dataclass_fields__)
            if error := neighbour_refusal(name, cls.__name__, taken, framework=framework):
                raise error
        return sort_keywords(_with_defaults(cls, given), cls.model_fields, cls.__name__, cls._collected)

    # The model

    @property
    def client(self) -> Llama:
        """The loaded model, for instance to make another object of it with ``llama=``.

        Raises:
            EngineClosedError: The object was closed.
        """
        return self._held.llama

    @property
    def _held(self) -> ModelHandle:
        if self._handle is None:  # a validator of the framework asks while the object is being made
            self._handle = self._opened(vars(self))
        return self._handle

    @classmethod
    def _opened(cls, fields: Mapping[str, Any]) -> ModelHandle:
        """The share that these fields describe; nothing is loaded yet."""
        named = {name: fields.get(name) for name in _NAMED}
        options = load_options(named, fields.get("load_options") or {})
        if fields.get("llama") is None:
            options = {**cls._load_defaults, **options}
        model, llama = fields.get("model"), fields.get("llama")
        return ModelHandle(cls.__name__, model, llama, options, fields.get("keep_alive"))

    def _settle(self) -> None:
        """Loads the model and gives every field its final value."""
        _ = self.client
        for name in _adapters(type(self)):
            # Straight into the values, since nobody set it.
            self.__dict__[name] = self._settled(name, getattr(self, name))

    def load_lora(
        self, path: str | os.PathLike[str], name: str | None = None, scale: float = 1.0
    ) -> LoraInfo:
        """Loads a LoRA adapter for all objects that share the model; calls use it with ``lora="name"``.

        It goes with the model: where ``keep_alive`` unloads that, the adapter is to be loaded again.

        Args:
            path: A GGUF file.
            name: What calls name it; None: the file's name without its suffix.
            scale: How strongly it applies.

        Raises:
            LlamaCppError: As :meth:`Llama.load_lora <llamacpp_core.Llama.load_lora>` does.
        """
        return self.client.load_lora(path, name, scale)

    def unload_lora(self, name: str) -> None:
        """Unloads a LoRA adapter; calls that have begun end with it.

        Raises:
            LlamaCppError: As :meth:`Llama.unload_lora <llamacpp_core.Llama.unload_lora>` does.
        """
        self.client.unload_lora(name)

    def close(self) -> None:
        """Gives the share in the model back; the model is freed with the last share.

        The object cannot be used any more; copies of it can. A model given as ``llama=`` stays open.
        """
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Assignments and copies

    def __setattr__(self, name: str, value: Any) -> None:
        field = type(self).model_fields.get(name)
        if field is not None and field.frozen:
            if value == getattr(self, name):
                return
            raise frozen_refusal(name)
        if (adapter := _adapters(type(self)).get(name)) is not None:
            value = _with_defaults(type(self), {name: value})[name]
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
        if self._held.given and "llama" not in loading:
            raise InvalidParameterError(
                f"{loading[0]} is decided when a model is loaded: make a new object of llama=Llama(...)",
                parameter=loading[0],
            )
        kept = copied._kept()
        if "load_options" not in (update or {}):
            older = {name: value for name, value in self.load_options.items() if name not in changes}
            changes["load_options"] = older | changes.get("load_options", {})
        return type(self)(**kept | changes)

    def _kept(self) -> dict[str, Any]:
        """The fields that somebody set, for a new object like this one."""
        return {name: getattr(self, name) for name in self.model_fields_set & set(type(self).model_fields)}

    def __copy__(self) -> Self:
        copied = super().__copy__()
        (copied.__pydantic_private__ or {})["_handle"] = self._held.__copy__()
        return copied

    # Frameworks' own versions leave out, with a warning, whatever cannot be pickled, and load at once.

    def __getstate__(self) -> dict[Any, Any]:
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)


def _with_defaults(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the default where there is None for a field that cannot be None: "not given"."""
    out = dict(given)
    for name in given:
        field = kind.model_fields.get(name)
        if given[name] is None and field is not None and not field.is_required() and not _takes_none(field):
            out[name] = field.get_default(call_default_factory=True, validated_data={})
    return out


def _takes_none(field: Any) -> bool:
    return field.annotation is Any or NoneType in get_args(field.annotation)


@functools.cache
def _adapters(kind: type[LocalModel]) -> dict[str, TypeAdapter[Any]]:
    """What checks a value of each field that one of our classes declares.

    Pydantic's own check of assignments would run the frameworks' validators, which assign again.
    """
    package = __name__.partition(".")[0]
    ours = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == package]
    return {
        name: TypeAdapter(_annotated(kind.model_fields[name]))
        for base in ours
        for name in inspect.get_annotations(base)
        if name in kind.model_fields
    }


def _annotated(field: Any) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
