"""LoRA adapters over HTTP: loaded, named by requests, unloaded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from adapter_files import write_adapter

from llamacpp_core import Llama, ModelPool
from llamacpp_integrations.server import ServerSettings, create_app, serving

pytestmark = pytest.mark.changes("prefix")

BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name a colour."}],
    "max_tokens": 8,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("adapters")
    for i in range(2):
        write_adapter(found / f"adapter{i}.gguf", i)
    (found / "damaged.gguf").write_bytes((found / "adapter0.gguf").read_bytes()[:2000])
    write_adapter(found.parent / "outside.gguf", 3)
    return found


@pytest.fixture
def client(llm: Llama, embedder: Llama, folder: Path) -> Iterator[httpx.Client]:
    app = create_app({"chat": llm, "embedder": embedder}, ServerSettings(lora_dir=folder))
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http
    for one in llm.loras:
        llm.unload_lora(one.name)


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def said(client: httpx.Client, **more: Any) -> str:
    return str(post(client, "/v1/chat/completions", **BODY, **more)["choices"][0]["message"]["content"])


def test_an_adapter_is_loaded_named_and_unloaded(client: httpx.Client, llm: Llama) -> None:
    plain = said(client, model="chat")
    loaded = post(client, "/v1/load_lora_adapter", model="chat", lora_name="law", lora_path="adapter0.gguf")
    assert loaded["id"] == "chat:law"
    listed = {one["id"]: one for one in client.get("/v1/models").json()["data"]}
    assert listed["chat:law"]["parent"] == "chat"
    assert client.get("/v1/models/chat:law").json()["id"] == "chat:law"
    assert client.get("/v1/models/chat:tax").status_code == 404
    direct = llm.create_chat_completion(BODY["messages"], max_tokens=8, temperature=0, lora="law")
    named = said(client, model="chat:law")
    assert named == direct["choices"][0]["message"]["content"] != plain
    for lora in ("law", ["law"], {"law": 1.0}, {"0": 1.0}, [{"id": 0, "scale": 1.0}]):
        assert said(client, model="chat", lora=lora) == named
    assert said(client, model="chat") == plain
    answer = post(client, "/v1/chat/completions", model="chat:law", **BODY)
    assert answer["model"] == "chat:law"
    post(client, "/v1/unload_lora_adapter", model="chat", lora_name="law")
    assert client.post("/v1/chat/completions", json={**BODY, "model": "chat:law"}).status_code == 404
    refused = client.post("/v1/chat/completions", json={**BODY, "model": "chat", "lora": "law"})
    assert refused.status_code == 400
    assert said(client, model="chat") == plain


def test_every_route_that_writes_text_takes_one(client: httpx.Client) -> None:
    post(client, "/v1/load_lora_adapter", model="chat", lora_name="law", lora_path="adapter0.gguf", scale=2)
    short: dict[str, Any] = {"temperature": 0}
    for model in ("chat", "chat:law"):
        text = post(client, "/v1/completions", model=model, prompt="Tea is", max_tokens=8, **short)
        reply = post(client, "/v1/responses", model=model, input="Tea?", max_output_tokens=16, **short)
        message = post(client, "/v1/messages", model=model, messages=BODY["messages"], max_tokens=8, **short)
        assert {one["model"] for one in (text, reply, message)} == {model}
        found = (
            text["choices"][0]["text"],
            reply["output"][0]["content"][0]["text"],
            message["content"][0]["text"],
        )
        if model == "chat":
            plain = found
    assert all(one != other for one, other in zip(plain, found, strict=True))


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"lora_name": "a", "lora_path": "../outside.gguf"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "/etc/passwd"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "nothing.gguf"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "damaged.gguf"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "a\0b"}, 400, "lora_path"),
        ({"lora_name": "7", "lora_path": "adapter0.gguf"}, 400, "lora_name"),
        ({"lora_name": "", "lora_path": "adapter0.gguf"}, 400, "lora_name"),
        ({"lora_name": "a"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "adapter0.gguf", "scale": 0}, 400, "scale"),
        ({"lora_name": "a", "lora_path": "adapter0.gguf", "scale": "x"}, 400, "scale"),
        ({"lora_name": "a", "lora_path": "adapter0.gguf", "strength": 1}, 400, "strength"),
        ({"lora_name": "a", "lora_path": "adapter0.gguf", "model": "embedder"}, 400, "lora_path"),
        ({"lora_name": "a", "lora_path": "adapter0.gguf", "model": "nobody"}, 404, "model"),
    ],
)
def test_adapters_that_cannot_be_loaded(
    client: httpx.Client, llm: Llama, body: dict[str, Any], status: int, parameter: str
) -> None:
    response = client.post("/v1/load_lora_adapter", json={"model": "chat", **body})
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == parameter
    assert llm.loras == ()


def test_what_is_taken_or_not_there(client: httpx.Client) -> None:
    body = {"model": "chat", "lora_name": "law", "lora_path": "adapter0.gguf"}
    post(client, "/v1/load_lora_adapter", **body)
    taken = client.post("/v1/load_lora_adapter", json=body)
    assert (taken.status_code, taken.json()["error"]["param"]) == (400, "lora_name")
    gone = client.post("/v1/unload_lora_adapter", json={"model": "chat", "lora_name": "tax"})
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "lora_name")
    both = client.post("/v1/chat/completions", json={**BODY, "model": "chat:law", "lora": {"law": 0.5}})
    assert (both.status_code, both.json()["error"]["param"]) == (400, "lora")
    odd = client.post(
        "/v1/chat/completions", json={**BODY, "model": "chat", "lora": [{"id": [1], "scale": 1}]}
    )
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "lora[0].id")
    colon = client.post(
        "/v1/load_lora_adapter", json={"model": "chat", "lora_name": "a:b", "lora_path": "adapter0.gguf"}
    )
    assert (colon.status_code, colon.json()["error"]["param"]) == (400, "lora_name")
    counted = [
        client.post("/v1/messages/count_tokens", json={"messages": BODY["messages"], "model": model}).json()
        for model in ("chat", "chat:law")
    ]
    assert counted[0] == counted[1]


def test_without_a_folder_nobody_loads(llm: Llama) -> None:
    with serving(create_app(llm)) as url, httpx.Client(base_url=url) as http:
        for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            response = http.post(path, json={"lora_name": "law", "lora_path": "adapter0.gguf"})
            assert response.status_code == 403
            assert "--lora-dir" in response.json()["error"]["message"]


def test_a_pool_brings_them_back_with_their_model(smollm2_path: Path, folder: Path) -> None:
    given = (str(write_adapter(folder / "given.gguf", 7)), 0.0)
    models = {"chat": {"model": str(smollm2_path), "n_ctx": 512, "lora": [given]}}
    with ModelPool(models) as pool:
        app = create_app(pool, ServerSettings(lora_dir=folder))
        with serving(app) as url, httpx.Client(base_url=url, timeout=60) as http:
            post(http, "/v1/load_lora_adapter", lora_name="law", lora_path="adapter0.gguf")
            named = said(http, model="chat:law")
            assert named != said(http)
            given_named = said(http, model="chat:given")
            assert given_named != said(http)
            while not pool.unload("chat"):  # the last answer has come before its request has ended
                time.sleep(0.01)
            assert said(http, model="chat:law") == named
            assert said(http, model="chat:given") == given_named
