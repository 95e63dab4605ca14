"""The server on Ray Serve: real replicas on a real cluster, asked by OpenAI's own client over HTTP."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from ray import serve
from ray.cluster_utils import Cluster

from llamacpp_core import InvalidParameterError
from llamacpp_integrations.ray import build_app
from llamacpp_integrations.ray.routing import affinity_of
from llamacpp_integrations.server import ServerSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning"),  # Ray's own
]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def url(running_cluster: Cluster) -> Iterator[str]:
    """Two replicas of one model behind an ingress, with a key."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    settings = ServerSettings(api_keys=("secret",), max_body_bytes=20_000)
    model = {"model": "smollm2-135m-instruct", "n_ctx": 512, "n_parallel": 2}
    serve.run(build_app({"chat": model}, settings, num_replicas=2, num_cpus=0.5), name="llamacpp")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0, timeout=120) as opened:
        yield opened


def ask(client: OpenAI, messages: list[dict[str, str]], **more: Any) -> tuple[str, Any]:
    """The replica that answered, and the answer."""
    settings = {"model": "chat", "max_tokens": 8, "temperature": 0} | more
    raw = client.chat.completions.with_raw_response.create(messages=messages, **settings)  # type: ignore[call-overload]
    return raw.headers["x-replica-id"], raw.parse()


def conversation(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You answer questions about numbers, briefly and in plain words."},
        {"role": "user", "content": f"Tell me something about the number {number}."},
    ]


def test_conversations_stay_on_their_replica_and_use_both(client: OpenAI) -> None:
    def talk(number: int) -> list[tuple[str, Any]]:
        messages, found = conversation(number), []
        for _ in range(3):
            replica, answer = ask(client, messages)
            found.append((replica, answer.usage))
            messages += [
                {"role": "assistant", "content": answer.choices[0].message.content},
                {"role": "user", "content": "And what else?"},
            ]
        return found

    with ThreadPoolExecutor(4) as pool:
        talks = list(pool.map(talk, range(12)))
    assert all(len({replica for replica, _ in turns}) == 1 for turns in talks)
    assert len({turns[0][0] for turns in talks}) == 2
    # Nobody else talks: what was read before is not read again.
    (_, first), *later = talk(99)
    assert all(usage.prompt_tokens_details.cached_tokens >= first.prompt_tokens - 1 for _, usage in later)


def test_streams_come_piece_by_piece(client: OpenAI) -> None:
    (_, whole) = ask(client, conversation(3), max_tokens=12)
    stream = client.chat.completions.create(
        model="chat", messages=conversation(3), max_tokens=12, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 5


def test_the_doors_are_those_of_the_server(url: str) -> None:
    key = {"authorization": "Bearer secret"}
    with httpx.Client(base_url=url, timeout=60) as http:
        assert http.post(CHAT, json={}).status_code == 401
        long = http.post(CHAT, headers=key, json={"messages": "x" * 30_000})
        assert (long.status_code, long.json()["error"]["code"]) == (413, "body_too_large")
        wrong = http.post(CHAT, headers=key, json={"messages": [], "temperature": "hot"})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "temperature")
        assert http.get("/v1/models", headers=key).json()["data"][0]["id"] == "chat"
        assert http.get("/health").json()["status"] == "ok"
        assert http.get("/nothing", headers=key).status_code == 404
        assert "<title>" in http.get("/").text


def test_a_client_that_goes_away_frees_its_slots(url: str, client: OpenAI) -> None:
    headers = {"authorization": "Bearer secret"}
    endless = {"model": "chat", "stream": True, "max_tokens": 400, "logit_bias": {"2": -100}}
    for number in range(8):  # more than both replicas have slots
        body = endless | {"messages": conversation(number), "temperature": 2.0}
        with httpx.stream("POST", url + CHAT, headers=headers, json=body, timeout=120) as answer:
            next(answer.iter_lines())
    deadline = time.monotonic() + 60
    while True:
        text = [httpx.get(f"{url}/health", headers=headers).json()["in_flight"] for _ in range(6)]
        if not any(text):
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    assert ask(client, conversation(1))[1].choices[0].message.content


@pytest.mark.parametrize(
    ("path", "first", "later"),
    [
        (
            CHAT,
            {"messages": [{"role": "user", "content": "Hi"}]},
            {
                "messages": [
                    {"role": "user", "content": [{"text": "Hi"}]},
                    {"role": "assistant"},
                ]
            },
        ),
        (
            "/v1/messages",
            {"system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]},
            {
                "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
                "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hm."}],
            },
        ),
        (
            "/v1/responses",
            {"input": "Hi"},
            {"input": [{"role": "user", "content": "Hi"}, {"role": "a"}]},
        ),
        ("/v1/completions", {"prompt": "a" * 1000}, {"prompt": "a" * 2000}),
        (CHAT, {"prompt_cache_key": "k", "messages": []}, {"prompt_cache_key": "k", "messages": [{"a": 1}]}),
    ],
)
def test_what_a_conversation_is_known_by(path: str, first: dict[str, Any], later: dict[str, Any]) -> None:
    keys = [affinity_of(path, {}, json.dumps(body).encode()) for body in (first, later)]
    assert keys[0] is not None
    assert keys[0] == keys[1]
    other = json.loads(json.dumps(first).replace("Hi", "Ho").replace("aa", "bb").replace('"k"', '"l"'))
    assert affinity_of(path, {}, json.dumps(other).encode()) != keys[0]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b"7", b"null", b"[]"])
def test_a_body_that_says_nothing_goes_anywhere(body: bytes) -> None:
    assert affinity_of(CHAT, {}, body) is None
    assert affinity_of(CHAT, {"x-session-id": "mine"}, body) == "mine"
    assert affinity_of("/v1/embeddings", {}, b'{"input": "Hi"}') is None


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("models", {"models": {}}),
        ("models", {"models": 7}),
        ("num_cpus", {"models": "m", "num_cpus": 0}),
        ("num_gpus", {"models": "m", "num_gpus": -1}),
        ("max_ongoing_requests", {"models": "m", "max_ongoing_requests": 0}),
        ("ingress_replicas", {"models": "m", "ingress_replicas": 0}),
        ("settings", {"models": "m", "num_replicas": 2, "settings": ServerSettings(lora_dir=Path())}),
    ],
)
def test_arguments_are_checked_before_anything_runs(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        build_app(**arguments)
    assert caught.value.parameter == field
