"""The public class ``Llama``, the objects that it owns, and the names it takes over from llama-cpp-python.

``llama.py`` is the class: what it owns, and a list of its methods. The methods are functions of a ``Llama``,
by subject in ``chat.py``, ``completion.py``, ``vectors.py``, ``tokens.py``, ``evaluation.py``, ``state.py``;
``running.py`` runs what they prepared. ``settings.py`` reads the constructor's arguments, ``chat_formats.py``
finds what writes the prompts. ``lists/`` answers lists of requests; ``lease.py`` and ``handle.py`` let many
owners share one loaded model.
"""

from __future__ import annotations

from llamacpp_core.llama.llama import Llama

__all__ = ["Llama"]
