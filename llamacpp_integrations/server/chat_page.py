"""The page to chat in: a few files, served as they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["page_routes"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
#: The page loads nothing from elsewhere, and what a model writes can neither run nor call anything.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def page_routes() -> list[Route]:
    """The routes of the page and of its files."""
    routes = []
    for entry in (files("llamacpp_integrations.server") / "page").iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if suffix in _TYPES:
            path = "/" if entry.name == "index.html" else f"/page/{entry.name}"
            routes.append(Route(path, _sender(entry.read_bytes(), _TYPES[suffix]), methods=["GET"]))
    return routes


def _sender(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_HEADERS)

    return send
