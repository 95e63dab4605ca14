"""A server whose models share a budget of memory: loaded when asked for, unloaded for one another."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from openai import OpenAI

from llamacpp_core import ModelPool
from llamacpp_integrations.server import create_app, serving

MODELS = {"chat": "smollm2-135m-instruct", "embedder": "all-minilm-l6-v2"}
#: Less than both models take together, more than each alone.
BUDGET = "250MiB"
COMMAND = (sys.executable, "-c", "from llamacpp_integrations.cli import main; main()")


@pytest.fixture(scope="module")
def pool() -> Iterator[ModelPool]:
    options = {"n_ctx": 512, "n_threads": 1}
    models = {name: {"model": model, **options} for name, model in MODELS.items()}
    with ModelPool(models, budget=BUDGET) as pool:
        yield pool


@pytest.fixture(scope="module")
def client(pool: ModelPool) -> Iterator[OpenAI]:
    with (
        serving(create_app(pool)) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=100) as client,
    ):
        yield client


def ask(client: OpenAI) -> str:
    messages = [{"role": "user", "content": "Say hello."}]
    answer = client.chat.completions.create(
        model="chat",
        messages=messages,  # type: ignore[arg-type]
        max_tokens=4,
        temperature=0,
    )
    return answer.choices[0].message.content or ""


def embed(client: OpenAI) -> list[float]:
    return client.embeddings.create(model="embedder", input="a boat").data[0].embedding


def test_models_are_loaded_one_for_the_other(client: OpenAI, pool: ModelPool) -> None:
    assert [model.id for model in client.models.list()] == list(MODELS)
    first = ask(client)
    assert pool.info()["chat"].loaded
    assert not pool.info()["embedder"].loaded
    vector = embed(client)
    assert pool.info()["embedder"].loaded
    assert not pool.info()["chat"].loaded
    assert ask(client) == first
    assert embed(client) == pytest.approx(vector, abs=1e-6)


def test_requests_for_both_models_at_once_are_all_answered(client: OpenAI, pool: ModelPool) -> None:
    expected = ask(client)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(ask, client) for _ in range(6)]
        vectors = [threads.submit(embed, client) for _ in range(6)]
        assert [answer.result() for answer in answers] == [expected] * 6
        assert {len(vector.result()) for vector in vectors} == {384}
    deadline = time.monotonic() + 20
    while any(model.users for model in pool.info().values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def served_by_the_command(*arguments: str) -> Iterator[str]:
    """The address of ``llamacpp serve``, which SIGTERM ends in order."""
    command = [*COMMAND, "serve", *arguments, "--port", "0", "--threads", "1", "--n-ctx", "512"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://[\w.]+:\d+", line):
                break
        assert found is not None, said
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
        assert process.wait(30) in (0, -signal.SIGTERM), rest
        assert "Traceback" not in rest


def test_the_command_serves_models_in_a_budget() -> None:
    named = [f"{name}={model}" for name, model in MODELS.items()]
    with (
        served_by_the_command(*named, "--budget", BUDGET, "--keep-alive", "60") as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=100) as client,
    ):
        assert ask(client)
        assert len(embed(client)) == 384
        assert httpx.get(f"{url}/health").json()["in_flight"] == 0


def test_a_budget_that_is_none_is_an_error_of_the_command() -> None:
    command = [*COMMAND, "serve", "smollm2-135m-instruct", "--budget", "much"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: budget must be")
    assert done.stderr.count("\n") == 1
