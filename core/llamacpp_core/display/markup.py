"""What all fragments share: escaping, the style sheet, and the string that shows itself."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Html", "escape", "fragment", "join", "terminal_text"]


# The last two ranges turn the direction of writing round: what is shown would not be what is there.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Html(str):
    """HTML that shows itself in a notebook, and its plain text elsewhere.

    ``str(fragment)`` is the HTML, ``repr(fragment)`` and ``fragment.text`` the plain text.

    Args:
        html: The HTML.
        text: The same, for a terminal.

    Attributes:
        text: The same, for a terminal.
    """

    text: str

    def __new__(cls, html: str, text: str = "") -> Html:
        """Makes the fragment."""
        made = super().__new__(cls, html)
        made.text = text
        return made

    def _repr_html_(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/plain": self.text, "text/html": str(self)}

    def __html__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return self.text


def escape(value: Any) -> str:
    """Text that is safe in HTML, also inside quotes; control characters become visible."""
    return html.escape(terminal_text(str(value)), quote=True)


def terminal_text(text: str) -> str:
    """Text without what would command a terminal: control characters but newline and tab become visible.

    So do those that turn the direction of writing round, which text in Arabic or Hebrew does not need.
    Half of a surrogate pair, which no encoding holds, becomes U+FFFD.
    """
    text = _CONTROLS.sub(lambda found: _picture(found[0]), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _picture(character: str) -> str:
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "\ufffd"


def fragment(body: str, text: str) -> Html:
    """A whole fragment: the style sheet and a body of escaped HTML."""
    return Html(f'<div class="lcpp"><style>{_style()}</style>{body}</div>', text)


@cache
def _style() -> str:
    """The style sheet without comments and line breaks, since every fragment brings it."""
    sheet = Path(__file__).with_name("style.css").read_text("utf-8")
    return re.sub(r"\s*\n\s*", "", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL))


def join(*parts: Html) -> Html:
    """Fragments below one another as one."""
    return Html("".join(parts), "\n\n".join(part.text for part in parts))
