"""LoRA adapters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import file_path, number
from llamacpp_core.errors import EngineError, InvalidParameterError, ModelLoadError
from llamacpp_core.lowlevel._owned import NativeHandle, NativeObject, because
from llamacpp_core.models.loadable import check_companion
from llamacpp_core.native import checked, ffi, lib
from llamacpp_core.native.log import drain_errors

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.model import Model

__all__ = ["LoraAdapter"]


class LoraAdapter(NativeObject):
    """A LoRA adapter of a model; use it with :meth:`Context.set_loras`.

    Contexts that use it keep its memory until they are closed or given other adapters.

    Args:
        model: The model that the adapter was trained on.
        path: A GGUF file with the adapter.

    Raises:
        ModelNotFoundError: No such file.
        ModelLoadError: Not a LoRA adapter for this model.
    """

    def __init__(self, model: Model, path: str | os.PathLike[str]) -> None:
        from llamacpp_core.lowlevel.model import _check_file, _read

        file = file_path("path", path)
        model._require_weights()
        _check_file(file)
        check_companion(file, "LoRA adapter")
        with model._exclusive():
            native = model._pointer
            pointer = checked(ModelLoadError, lib.llama_adapter_lora_init, native, os.fsencode(file))
        reasons = drain_errors()
        if pointer == ffi.NULL:
            raise ModelLoadError(
                f"{file} is not a LoRA adapter for this model{because(reasons)}", path=str(file)
            )
        super().__init__(NativeHandle(pointer, lib.llama_adapter_lora_free, model._handle), model)
        self.model = model
        count = lib.llama_adapter_meta_count(pointer)
        self.metadata: dict[str, str] = {
            _read(lib.llama_adapter_meta_key_by_index, pointer, index): _read(
                lib.llama_adapter_meta_val_str_by_index, pointer, index
            )
            for index in range(count)
        }


def apply_loras(context: Any, model: Model, adapters: Mapping[LoraAdapter, float]) -> list[NativeHandle]:
    """Gives a native context its adapters, all at once; returns what must stay alive meanwhile."""
    if not isinstance(adapters, Mapping):
        raise InvalidParameterError("adapters must map LoraAdapter to a scale", parameter="adapters")
    handles, pointers, scales = [], [], []
    for adapter, scale in adapters.items():
        if not isinstance(adapter, LoraAdapter):
            raise InvalidParameterError(
                f"adapters must map LoraAdapter to a scale, not {adapter!r}", parameter="adapters"
            )
        if adapter.model is not model:
            raise InvalidParameterError("an adapter belongs to another model", parameter="adapters")
        pointers.append(adapter._pointer)
        handles.append(adapter._handle)
        scales.append(number()("scale", scale))
    status = checked(
        EngineError,
        lib.llama_set_adapters_lora,
        *(
            context,
            ffi.new("struct llama_adapter_lora *[]", pointers),
            len(pointers),
            ffi.new("float[]", scales),
        ),
    )
    if status != 0:
        raise EngineError("llama.cpp could not apply the adapters")
    return [handle for handle in handles if handle is not None]
