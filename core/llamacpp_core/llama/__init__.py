"""The public class ``Llama``, the objects that it owns, and the names it takes over from llama-cpp-python.

``llama.py`` is the class; ``settings.py`` reads its constructor's arguments; ``chat.py``, ``completion.py``,
``vectors.py``, ``tokens.py``, ``evaluation.py`` and ``state.py`` hold its methods by subject. ``lease.py``
lets several owners share one loaded model.
"""

from __future__ import annotations

from llamacpp_core.llama.llama import Llama

__all__ = ["Llama"]
