"""What this CPU's arithmetic lets tests expect."""

from __future__ import annotations

from llamacpp_core.native import lib, text

__all__ = ["OWN_ATTENTION", "PACKED_BYTES", "PRODUCTS", "TO_THE_BIT"]

_FEATURES = text(lib.llama_print_system_info())
#: Whether a token's numbers are the same however many are computed with it. Elsewhere the kernels for one
#: token and for many round differently.
TO_THE_BIT = "AVX2 = 1" in _FEATURES and "AMX_INT8 = 1" not in _FEATURES
#: Whether attention is computed by our code, which needs vectors that unpack halves. Elsewhere llama.cpp's
#: own adds up in half precision and reads each sequence in its own memory.
OWN_ATTENTION = all(f"{name} = 1" in _FEATURES for name in ("AVX2", "FMA", "F16C")) or "NEON = 1" in _FEATURES
#: The products that the self-test knows, such as "f16 packed as words".
PRODUCTS = [text(lib.lc_selftest_name(index)) for index in range(lib.lc_selftest_count())]
#: Whether encoders can compute in bytes (``precision="fast"``), and it is the fastest way.
PACKED_BYTES = "f16 packed as bytes" in PRODUCTS and "f16 packed as tiles" not in PRODUCTS
