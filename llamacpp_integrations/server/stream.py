"""Answers as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from llamacpp_core.errors import LlamaCppError
from llamacpp_integrations.server.errors import Problem, problem_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["EventStream", "dumps", "event"]

_COMMENT = b": waiting\n\n"


def dumps(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + dumps(data) + b"\n\n"


class EventStream(Response):
    """A response whose events come from an async iterator.

    Args:
        events: The events as bytes.
        resources: What is closed when the stream ends, however it ends.
        deadline: The event loop's time at which it has to end; None for never.
        on_error: The event that tells of a problem in the middle of the stream.
        pause: Seconds without an event after which a comment shows that the server is there.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        resources: AsyncExitStack,
        *,
        deadline: float | None,
        on_error: Callable[[Problem], bytes],
        pause: float,
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._resources = resources
        self._deadline = deadline
        self._on_error = on_error
        self._pause = pause
        self._last = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Sends the events."""
        async with self._resources:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            ticking = asyncio.ensure_future(self._tick(send))
            try:
                await self._send_events(send)
            finally:
                ticking.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                async for data in self._events:
                    self._last = time.monotonic()
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, LlamaCppError | TimeoutError):
                return  # the client went away
            # The status is sent already: what went wrong comes as an event.
            last = self._on_error(problem_of(error))
            await send({"type": "http.response.body", "body": last, "more_body": True})

    async def _tick(self, send: Send) -> None:
        """Sends comments while nothing else is sent, for proxies that close quiet connections."""
        while True:
            await asyncio.sleep(self._pause)
            if time.monotonic() - self._last >= self._pause:
                await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
