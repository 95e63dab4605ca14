"""From a call's arguments to a planned request: messages, tools, template, constraint, sampling.

``chat_settings.py`` reads a chat's arguments once, ``completion.py`` those of a completion. ``chat.py``,
``completion.py`` and ``vectors.py`` prepare the three kinds of request; ``runner.py`` submits what they
prepared and hands out the response. The other files are the steps in between: ``template.py`` lets the engine
write the prompt, ``formatted.py`` a formatter in Python.
"""

from __future__ import annotations

__all__: list[str] = []
