"""The door in front of every route: who may come in, with how much, and what happens when they leave."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from llamacpp_integrations.server.errors import (
    Problem,
    RefusedError,
    anthropic_error,
    anthropic_status,
    openai_error,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from llamacpp_integrations.server.metrics import Metrics
    from llamacpp_integrations.server.settings import ServerSettings

__all__ = ["Door", "problem_response", "route_of", "speaks_anthropic"]

_OPEN = ("/", "/health", "/page/")
_CORS = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-max-age": "600",
}


def route_of(scope: Mapping[str, Any]) -> str:
    """The path of a request, without the prefix under which the application is mounted.

    Args:
        scope: An ASGI scope; servers differ in whether its ``path`` begins with its ``root_path``.
    """
    path, prefix = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return path[len(prefix) :] or "/" if path == prefix or path.startswith(f"{prefix}/") else path


def speaks_anthropic(path: str) -> bool:
    """Whether a route answers in Anthropic's form."""
    return path.startswith("/v1/messages")


def problem_response(path: str, problem: Problem) -> JSONResponse:
    """A problem as the API of a route says it."""
    headers = {} if problem.retry_after is None else {"retry-after": str(problem.retry_after)}
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if speaks_anthropic(path):
        return JSONResponse(anthropic_error(problem), anthropic_status(problem), headers)
    return JSONResponse(openai_error(problem), problem.status, headers)


class Door:
    """Checks host, origin, key and size of a request, and cancels its work when its client goes away.

    Args:
        app: What answers.
        settings: The limits.
        metrics: Where requests are counted.
        routes: The paths to tell apart in the metrics.
    """

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, routes: frozenset[str]
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._routes = routes
        self._keys = [key.encode() for key in settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), route_of(scope)
        send = self._counted(path, send)
        try:
            self._check_host(headers)
            origin = self._check_origin(headers)
            send = _with_headers(send, origin)
            if scope["method"] == "OPTIONS" and origin:
                await Response(status_code=204, headers=_CORS)(scope, receive, send)
                return
            self._check_key(path, headers)
            body = await self._read(receive, headers)
        except RefusedError as error:
            await problem_response(path, error.problem)(scope, receive, send)
            return
        if body is not None:
            await self._attend(scope, body, receive, send)

    def _counted(self, path: str, send: Send) -> Send:
        """Counts the answer and its time when it is complete."""
        route, start, status = path if path in self._routes else "other", time.monotonic(), ""

        async def counting(message: Message) -> None:
            nonlocal status
            status = str(message.get("status", status))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._metrics.add("llamacpp_requests_total", route=route, status=status)
                self._metrics.observe("llamacpp_request_seconds", time.monotonic() - start, route=route)

        return counting

    def _check_host(self, headers: Headers) -> None:
        allowed = self._settings.hosts
        if allowed is not None and _host_name(headers.get("host", "")) not in allowed:
            raise RefusedError(403, f"this server is {', '.join(allowed)} only", "host_not_allowed")

    def _check_origin(self, headers: Headers) -> dict[str, str]:
        """Headers that let a page of another site read the answer; empty for everyone else."""
        origin = headers.get("origin")
        if origin is None or urlsplit(origin).netloc == headers.get("host"):
            return {}
        if origin in self._settings.origins or "*" in self._settings.origins:
            return {"access-control-allow-origin": origin, "vary": "Origin"}
        raise RefusedError(403, f"pages of {origin} may not call this server", "origin_not_allowed")

    def _check_key(self, path: str, headers: Headers) -> None:
        if not self._keys or path in _OPEN or path.startswith(_OPEN[2]):
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # Every key is compared, so that the time tells nothing about which one was close.
        if not sum(hmac.compare_digest(given.strip().encode(), key) for key in self._keys):
            what = "this API key is not known here" if given else "an API key is needed"
            raise RefusedError(
                401, f"{what}: send it as Authorization: Bearer KEY, or as x-api-key", "invalid_api_key"
            )

    async def _read(self, receive: Receive, headers: Headers) -> bytes | None:
        """The request's body; None when the client went away before all of it had come."""
        limit = self._settings.max_body_bytes
        announced = headers.get("content-length", "0")
        size, parts = 0, []
        too_large = announced.isdigit() and int(announced) > limit
        while not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            parts.append(part)
            too_large = size > limit
            if not message.get("more_body", False):
                break
        if too_large:
            raise RefusedError(413, f"a request may have {limit} bytes", "body_too_large")
        return b"".join(parts)

    async def _attend(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Runs the route; cancels it as soon as nobody waits for its answer any more."""
        if not await unless_gone(self._app(scope, _replay(body, receive), send), receive):
            self._metrics.add("llamacpp_disconnects_total")


def _with_headers(send: Send, more: Mapping[str, str]) -> Send:
    raw = [(name.encode(), value.encode()) for name, value in more.items()]

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *raw]}
        await send(message)

    return sender if raw else send


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then what comes after it."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed


async def unless_gone(answering: Awaitable[None], receive: Receive) -> bool:
    """Waits for an answer, and cancels it as soon as its client has gone.

    Args:
        answering: What answers the request.
        receive: What tells about the client; the body was read already.

    Returns:
        Whether the answer came to its end before the client went.
    """
    work = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_disconnected(receive))
    is_whole = False
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        is_whole = work.done()
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    return is_whole


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
