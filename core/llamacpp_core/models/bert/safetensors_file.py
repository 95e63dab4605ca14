"""A reader of safetensors files, memory-mapped, with numpy only.

Layout: header length u64 little-endian, a JSON header naming each tensor's type, shape and byte range, the
data. Source: the safetensors format description.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import ModelLoadError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["as_float32", "read_safetensors"]

_MAX_HEADER = 100 << 20
_SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}


def read_safetensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], NDArray[np.uint8]]]:
    """Maps every tensor of a file.

    Returns:
        By name: its type (``"F32"``, ``"F16"``, ``"BF16"``, ...), shape and raw bytes.

    Raises:
        ModelLoadError: The file is damaged or truncated.
    """
    import numpy as np

    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        length = int.from_bytes(data[:8].tobytes(), "little")
        if not 2 <= length <= min(_MAX_HEADER, data.size - 8):
            raise ValueError(f"its header claims {length:,} bytes")
        header = json.loads(data[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        return {name: _tensor(name, entry, data[8 + length :]) for name, entry in header.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelLoadError(f"{path} is not a sound safetensors file: {error}", path=str(path)) from error


def _tensor(name: str, entry: Any, data: NDArray[np.uint8]) -> tuple[str, tuple[int, ...], NDArray[np.uint8]]:
    kind, shape, (start, end) = str(entry["dtype"]), tuple(map(int, entry["shape"])), entry["data_offsets"]
    wanted = math.prod(shape) * _SIZES.get(kind, 0)
    if not 0 <= start <= end <= data.size or (kind in _SIZES and end - start != wanted):
        raise ValueError(f"tensor {name!r} of shape {shape} lies at bytes {start} to {end} of {data.size}")
    return kind, shape, data[start:end]


def as_float32(kind: str, shape: tuple[int, ...], raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of one tensor.

    Raises:
        ValueError: They are not of a floating-point type known here.
    """
    import numpy as np

    if kind == "F32":
        return raw.view("<f4").reshape(shape).astype(np.float32, copy=False)
    if kind == "F16":
        return raw.view("<f2").reshape(shape).astype(np.float32)
    if kind == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    raise ValueError(f"it has the type {kind}")
