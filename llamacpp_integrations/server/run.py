"""Serving the application over HTTP: until a signal ends it, or beside other work."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from llamacpp_core.errors import EngineError

if TYPE_CHECKING:
    from socket import socket

    from starlette.types import ASGIApp

__all__ = ["serve", "serving"]

_START_SECONDS = 30


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            self._on_start(f"http://{host}:{address[1]}")


def _server(
    app: ASGIApp, host: str, port: int, grace_seconds: int, on_start: Callable[[str], None], **more: Any
) -> _Server:
    settings: dict[str, Any] = {
        "host": host,
        "port": port,
        "log_level": "warning",
        "access_log": False,
        "lifespan": "off",
        "server_header": False,
        "timeout_graceful_shutdown": grace_seconds,
    }
    return _Server(uvicorn.Config(app, **settings | more), on_start)


def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    grace_seconds: int = 10,
    on_start: Callable[[str], None] | None = None,
    **more: Any,
) -> None:
    """Serves an application until SIGINT or SIGTERM.

    New connections are then refused and running requests get ``grace_seconds`` to end; after that, or after a
    second signal, they are cancelled.

    Args:
        app: The application.
        host: The address to listen on.
        port: The port; 0 for any free one.
        grace_seconds: Seconds for running requests at the end.
        on_start: Is told the address when the server listens; None prints it on stderr.
        more: Further settings of uvicorn, such as ``ssl_keyfile`` and ``ssl_certfile``.

    Raises:
        SystemExit: The address cannot be had.
    """
    _server(app, host, port, grace_seconds, on_start or _print_address, **more).run()


@contextmanager
def serving(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, grace_seconds: int = 10, **more: Any
) -> Generator[str, None, None]:
    """Serves an application on a thread while the block runs, in a notebook or a test.

    Args:
        app: The application.
        host: The address to listen on.
        port: The port; 0 for any free one.
        grace_seconds: Seconds for running requests at the end.
        more: Further settings of uvicorn.

    Yields:
        The server's address.

    Raises:
        EngineError: The server does not start.
    """
    started = threading.Event()
    address = ""

    def on_start(found: str) -> None:
        nonlocal address
        address = found
        started.set()

    def run() -> None:
        try:
            server.run()
        except SystemExit:  # uvicorn's way to say that the address is taken; its log has the reason
            pass
        finally:
            started.set()

    server = _server(app, host, port, grace_seconds, on_start, **more)
    thread = threading.Thread(target=run, name="llamacpp-serving", daemon=True)
    thread.start()
    started.wait(_START_SECONDS)
    if not address:
        raise EngineError(f"the server did not start on {host}:{port}: is the port taken?")
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join()


def _print_address(address: str) -> None:
    sys.stderr.write(f"listening on {address}\n")
    sys.stderr.flush()
