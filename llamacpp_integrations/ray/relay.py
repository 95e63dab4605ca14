"""A request on its way from the ingress of Ray Serve to a replica, and its answer on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from llamacpp_integrations.ray.routing import affinity_of
from llamacpp_integrations.server.door import problem_response, route_of, unless_gone
from llamacpp_integrations.server.errors import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Relay", "answers_of"]

#: What of a request a replica gets to know.
_SCOPE = ("type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
#: Replicas that may die one after another before a request has begun to be answered.
_ATTEMPTS = 3


class Relay:
    """An ASGI application that hands requests to the replicas that have the models.

    Args:
        max_body_bytes: Bytes of a body that are read; a replica refuses one that is longer.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        body = await self._read(receive)
        if body is None:
            return
        await unless_gone(self._hand_over(scope, body, receive, send), receive)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None when the client went away before all of it had come."""
        parts, size = [], 0
        while size <= self._limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    async def _hand_over(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = route_of(scope)
        conversation = affinity_of(route, headers, body)
        asked = {name: scope[name] for name in _SCOPE if name in scope}
        asked["headers"] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        ingress: Any = serve.get_replica_context().servable_object
        for left in reversed(range(_ATTEMPTS)):
            begun = False
            handle = ingress.models.options(stream=True, session_id=conversation or "")
            stream = handle.answer.remote(asked, body)
            try:
                async for message in stream:
                    begun = True
                    await send(message)
                return
            except BackPressureError:
                problem = Problem(429, "all replicas are busy: try again later", "queue_full")
            except RayActorError:
                if begun:
                    raise  # which ends the connection: half an answer is none
                problem = Problem(503, "the replica that had this request died: try again", "replica_died")
                if left:
                    continue
            finally:
                stream.cancel()
            await problem_response(route, problem)(scope, receive, send)
            return


async def answers_of(
    app: ASGIApp, scope: Mapping[str, Any], body: bytes, more_headers: Mapping[str, str]
) -> AsyncGenerator[Message, None]:
    """What an ASGI application sends as the answer to a request.

    When the generator is closed or cancelled, the application finds that its client has gone.

    Args:
        app: The application.
        scope: The request.
        body: Its body.
        more_headers: Headers that the answer gets.
    """
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    gone = asyncio.Event()
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if left:
            return left.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            raw = [(name.encode(), value.encode()) for name, value in more_headers.items()]
            message = {**message, "headers": [*message.get("headers", ()), *raw]}
        await sent.put(message)

    work = asyncio.ensure_future(app(dict(scope), receive, send))
    work.add_done_callback(lambda _: sent.put_nowait(None))
    try:
        while (message := await sent.get()) is not None:
            yield message
    finally:
        gone.set()
        await work
