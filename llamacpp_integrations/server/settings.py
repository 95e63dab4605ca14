"""How a server behaves towards its callers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from llamacpp_core._checks import boolean, integer, number, text
from llamacpp_core.errors import InvalidParameterError

__all__ = ["LOOPBACK", "ServerSettings"]

#: Names under which a server on this machine alone is reached.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclasses.dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits and doors of a server, checked once.

    Attributes:
        api_keys: Keys of which every request has to bring one; empty for none.
        max_body_bytes: Bytes that a request may have.
        max_waiting: Requests that may wait for each model, beside those that run.
        timeout: Seconds that a request may take, waiting included; None for no limit.
        max_tokens: Tokens that an answer may have; None for the rest of the context.
        keep_alive_seconds: A stream in which nothing happens for so long sends a comment.
        hosts: Names under which the server may be reached, without port; None for any. A page on another
            site cannot reach a server on this machine by a name of its own.
        origins: Sites whose pages may call the server from a browser; "*" for all.
        page: Whether the page to chat in is served.
        lora_dir: The folder from which requests may load LoRA adapters; None: they may not.
    """

    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 16 * 2**20
    max_waiting: int = 64
    timeout: float | None = 600.0
    max_tokens: int | None = None
    keep_alive_seconds: float = 15.0
    hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
    page: bool = True
    lora_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("api_keys", "origins", "hosts"):
            _texts(name, getattr(self, name))
        integer(1)("max_body_bytes", self.max_body_bytes)
        integer(0)("max_waiting", self.max_waiting)
        number(0, above=True)("keep_alive_seconds", self.keep_alive_seconds)
        boolean("page", self.page)
        if self.lora_dir is not None and not Path(self.lora_dir).is_dir():
            raise InvalidParameterError(f"lora_dir: {self.lora_dir} is not a folder", parameter="lora_dir")
        if self.timeout is not None:
            number(0, above=True)("timeout", self.timeout)
        if self.max_tokens is not None:
            integer(1)("max_tokens", self.max_tokens)


def _texts(name: str, values: Sequence[str] | None) -> None:
    if values is None:
        return
    if not isinstance(values, tuple):
        raise InvalidParameterError(f"{name} must be a tuple of strings", parameter=name)
    for i, value in enumerate(values):
        if not text(f"{name}[{i}]", value).strip():
            raise InvalidParameterError(f"{name}[{i}] is empty", parameter=f"{name}[{i}]")
