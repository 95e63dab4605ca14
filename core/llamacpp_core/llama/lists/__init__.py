"""Lists of requests: :meth:`Llama.map` and :meth:`Llama.amap`.

``methods.py`` has both methods, ``asking.py`` makes a request of a row, ``run.py`` sends requests through the
shared batch, ``gathered.py`` those that embed a text, many at once. ``answered.py`` keeps answers in a file,
so that interrupted work goes on where it stopped.
"""

from __future__ import annotations

from llamacpp_core.llama.lists.methods import amap, map

__all__ = ["amap", "map"]
