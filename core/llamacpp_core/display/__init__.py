"""Pictures of what a model does, for notebooks; plain text everywhere else.

Every ``*_html`` function gives an :class:`Html`: a string of HTML that shows itself when it is the last line
of a notebook cell, and whose plain text is what a terminal shows. :func:`show` finds the right one for
what it is given, :func:`stream` shows an answer while it comes. Only the display protocols are used
(``_repr_html_``, ``_repr_mimebundle_``, display ids), so JupyterLab, VS Code and plain IPython all work.

Text of models and users is escaped; it has the page's colour, and other colours are half transparent over the
page's background, so that dark and light themes both work; nothing is loaded from elsewhere, and there is no
script.

>>> from llamacpp_core.display import chat_html
>>> chat_html([{"role": "user", "content": "<b>Hello</b>"}])
user
  <b>Hello</b>
"""

from __future__ import annotations

from llamacpp_core.display.chat import chat_html
from llamacpp_core.display.facts import info_html
from llamacpp_core.display.live import Streamed, astream, stream
from llamacpp_core.display.markup import Html, terminal_text
from llamacpp_core.display.show import show
from llamacpp_core.display.timings import timings_html
from llamacpp_core.display.tokens import TokenChoice, token_choices, tokens_html
from llamacpp_core.display.vectors import embedding_html, rerank_html

__all__ = [
    "Html",
    "Streamed",
    "TokenChoice",
    "astream",
    "chat_html",
    "embedding_html",
    "info_html",
    "rerank_html",
    "show",
    "stream",
    "terminal_text",
    "timings_html",
    "token_choices",
    "tokens_html",
]
