"""Several models in one budget of memory: loaded when they are used, unloaded when others need the room.

``pool.py`` decides who waits and what is unloaded, ``models.py`` has what is known of each model,
``footprint.py`` loads one and measures what it takes.
"""

from __future__ import annotations

from llamacpp_core.llama.pool.models import PooledModel
from llamacpp_core.llama.pool.pool import ModelPool

__all__ = ["ModelPool", "PooledModel"]
