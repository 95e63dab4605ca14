"""What this CPU's arithmetic lets tests expect."""

from __future__ import annotations

from llamacpp_core.native import lib, text
from llamacpp_core.native.build_info import build_info

__all__ = ["OWN_ATTENTION", "PACKED_BYTES", "TO_THE_BIT"]

_FEATURES = text(lib.llama_print_system_info())
#: Whether a token's numbers are the same however many are computed with it. Elsewhere the kernels for one
#: token and for many round differently.
TO_THE_BIT = "AVX2 = 1" in _FEATURES and "AMX_INT8 = 1" not in _FEATURES
#: Whether attention is computed by our code, which needs vectors that unpack halves. Elsewhere llama.cpp's
#: own adds up in half precision and reads each sequence in its own memory.
OWN_ATTENTION = all(f"{name} = 1" in _FEATURES for name in ("AVX2", "FMA", "F16C")) or "NEON = 1" in _FEATURES
#: Whether encoders can compute in bytes (``precision="fast"``).
PACKED_BYTES = "encoders" in build_info()["changes"] and any(
    f"{name} = 1" in _FEATURES for name in ("AVX512_VNNI", "AVX_VNNI")
)
