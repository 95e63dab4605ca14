"""Clients that go away, queues that are full, time that runs out: no slot stays taken."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpx
import pytest
from running import wait_until_idle

from llamacpp_core import Llama
from llamacpp_integrations.server.models import Lender

ServeWith = Callable[..., AbstractContextManager[Any]]
LONG = {
    "model": "chat",
    "messages": [{"role": "user", "content": "Count from one to ten thousand."}],
    "max_tokens": 1900,
    "ignore_eos": True,
}

# A client that asks for many long answers at once, says so, and waits to be killed.
CLIENT = """
import asyncio, json, sys, httpx

async def main(url, body, n):
    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None)) as http:
        async def one(i):
            async with http.stream("POST", url, json=body | {"stream": i % 2 == 0}) as answer:
                async for _ in answer.aiter_lines():
                    pass
        await asyncio.gather(*(one(i) for i in range(n)))

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])))
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(
    serve_with: ServeWith, llm: Llama, idle: Callable[[], None], stream: bool
) -> None:
    with serve_with() as served:
        url, body = f"{served.url}/v1/chat/completions", LONG | {"stream": stream}
        if stream:
            with httpx.stream("POST", url, json=body, timeout=60) as answer:
                next(answer.iter_lines())
        else:
            with suppress(httpx.ReadTimeout):
                httpx.post(url, json=body, timeout=0.3)
        wait_until_idle(llm)
        assert served.desk.in_flight["chat"] == 0
        until(lambda: served.desk.metrics.value("llamacpp_disconnects_total") == 1)
    idle()


def test_a_killed_client_in_the_middle_of_many_requests(
    serve_with: ServeWith, llm: Llama, idle: Callable[[], None]
) -> None:
    with serve_with(max_waiting=1000) as served:
        url = f"{served.url}/v1/chat/completions"
        client = subprocess.Popen([sys.executable, "-c", CLIENT, url, json.dumps(LONG), "200"])
        try:
            until(lambda: served.desk.in_flight["chat"] == 200, 60)
            until(lambda: llm.n_active > 100)
        finally:
            client.send_signal(signal.SIGKILL)
            client.wait()
        until(lambda: served.desk.in_flight["chat"] == 0)
        wait_until_idle(llm)
    idle()


def test_a_full_queue_says_when_to_come_again(serve_with: ServeWith, llm: Llama) -> None:
    with serve_with(max_waiting=0) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        short = LONG | {"max_tokens": 1}
        assert http.post("/v1/chat/completions", json=short).status_code == 200
        with occupied(served.url, llm.info.n_parallel, lambda: served.desk.in_flight["chat"]):
            refused = http.post("/v1/chat/completions", json=short)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "queue_full"
            assert int(refused.headers["retry-after"]) > 0
            # The other model is not busy.
            ask = {"model": "embedder", "input": "x"}
            assert http.post("/v1/embeddings", json=ask).status_code == 200
        assert http.post("/v1/chat/completions", json=short).status_code == 200
        assert served.desk.metrics.value("llamacpp_refused_total", model="chat") == 1


@pytest.mark.parametrize(
    ("route", "more"),
    [
        ("chat/completions", {"messages": LONG["messages"], "n": 900}),
        ("completions", {"prompt": "a", "n": 900}),
        ("completions", {"prompt": "a", "best_of": 900}),
        ("completions", {"prompt": ["a"] * 128, "n": 10}),
    ],
)
def test_a_request_for_more_than_the_server_takes(
    serve_with: ServeWith, llm: Llama, route: str, more: dict[str, Any]
) -> None:
    with serve_with() as served:
        refused = httpx.post(f"{served.url}/v1/{route}", json={"model": "chat", "max_tokens": 1, **more})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


@contextmanager
def occupied(url: str, n: int, in_flight: Callable[[], int]) -> Iterator[None]:
    """So many streams that run on."""
    with httpx.Client(base_url=url, timeout=60) as http:
        streams = [
            http.stream("POST", "/v1/chat/completions", json=LONG | {"stream": True}) for _ in range(n)
        ]
        for stream in streams:
            stream.__enter__()
        assert in_flight() == n
        yield
        for stream in streams:
            stream.__exit__(None, None, None)
    until(lambda: in_flight() == 0)


def test_time_that_runs_out(serve_with: ServeWith, llm: Llama) -> None:
    with serve_with(timeout=0.4) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        late = http.post("/v1/chat/completions", json=LONG)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        with http.stream("POST", "/v1/chat/completions", json=LONG | {"stream": True}) as stream:
            events = [line for line in stream.iter_lines() if line.startswith("data: ")]
        assert stream.status_code == 200
        assert json.loads(events[-1][6:])["error"]["code"] == "timeout"
        wait_until_idle(llm)


def test_a_quiet_stream_sends_comments(serve_with: ServeWith, llm: Llama) -> None:
    with (
        serve_with(keep_alive_seconds=0.05) as served,
        occupied(served.url, llm.info.n_parallel, lambda: served.desk.in_flight["chat"]),
        httpx.Client(base_url=served.url, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", json=LONG | {"stream": True}) as stream,
    ):
        assert next(stream.iter_lines()).startswith(":")


class SlowModels:
    """A model whose loading takes as long as the test says."""

    def __init__(self) -> None:
        self.names = ["slow"]
        self.may_load = threading.Event()
        self.used = 0

    @contextmanager
    def use(self, name: str) -> Iterator[Any]:
        self.may_load.wait(20)
        self.used += 1
        try:
            yield name
        finally:
            self.used -= 1


async def test_leaving_while_the_model_loads_gives_it_back() -> None:
    models = SlowModels()
    lender = Lender(models)

    async def work() -> None:
        async with lender.lend("slow"):
            raise AssertionError("was cancelled")

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    models.may_load.set()
    async with lender.lend("slow") as llm:
        assert llm == "slow"
    deadline = time.monotonic() + 5
    while models.used and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert models.used == 0


def test_a_stopped_server_ends_what_runs(tmp_path: Any) -> None:
    from cli.process import COMMAND

    server = subprocess.Popen(
        [*COMMAND, "serve", "chat=smollm2-135m-instruct", "--port", "0", "--n-ctx", "2048", "--grace", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"LLAMACPP_API_KEY": "k"},
    )
    try:
        assert server.stderr is not None
        url = server.stderr.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=60, headers={"x-api-key": "k"}) as http:
            assert http.get("/health").status_code == 200
            with http.stream("POST", "/v1/chat/completions", json=LONG | {"stream": True}) as stream:
                lines = stream.iter_lines()
                next(lines)
                server.send_signal(signal.SIGTERM)
                with suppress(httpx.RemoteProtocolError):
                    list(lines)
        assert server.wait(20) in (0, -signal.SIGTERM)
        assert "Traceback" not in server.stderr.read()
    finally:
        server.kill()
        server.communicate()
