"""What this CPU's arithmetic lets tests expect."""

from __future__ import annotations

from llamacpp_core.native import lib, text

__all__ = ["TO_THE_BIT"]

_FEATURES = text(lib.llama_print_system_info())
#: Whether a token's numbers are the same however many are computed with it. Elsewhere the kernels for one
#: token and for many round differently.
TO_THE_BIT = "AVX2 = 1" in _FEATURES and "AMX_INT8 = 1" not in _FEATURES
