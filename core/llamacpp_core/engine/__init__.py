"""The native engine: loading it, submitting requests to it, and waiting for their events.

``engine.py`` owns the native engine and the thread that delivers events; ``plan.py`` is a planned request,
``in_flight.py`` a running one, and ``events.py`` what it gives. ``load/`` turns options into an engine.
``python_loop/`` generates with Python in every token: logits processors, stopping criteria, ``eval``.
"""

from __future__ import annotations

__all__: list[str] = []
