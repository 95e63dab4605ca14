"""Who may come in, with what, and what the server says to those who may not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server.conftest import Served
from starlette.applications import Starlette
from starlette.routing import Mount

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_integrations.server import LoadedModels, ServerSettings, create_app, serving
from llamacpp_integrations.server.door import route_of

ServeWith = Callable[..., AbstractContextManager[Any]]
ASK = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "model": "chat"}


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["param"]


def test_keys(serve_with: ServeWith) -> None:
    with serve_with(api_keys=("one", "two")) as served, httpx.Client(base_url=served.url) as http:
        assert http.get("/health").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            assert problem(http.get(path))[:2] == (401, "invalid_api_key"), path
        for headers in ({"authorization": "Bearer on"}, {"x-api-key": "twoo"}, {"authorization": "one"}):
            assert http.get("/v1/models", headers=headers).status_code == 401
        for headers in ({"authorization": "bearer one"}, {"x-api-key": "two"}):
            assert http.get("/v1/models", headers=headers).status_code == 200
        refused = http.post("/v1/chat/completions", json=ASK)
        assert refused.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "root_path", "route"),
    [
        ("/v1/messages", "", "/v1/messages"),
        ("/v1/messages", "/llm", "/v1/messages"),
        ("/llm/v1/messages", "/llm", "/v1/messages"),
        ("/llm/v1/messages", "/llm/", "/v1/messages"),
        ("/llm", "/llm", "/"),
        ("/llmv1/messages", "/llm", "/llmv1/messages"),
    ],
)
def test_the_route_below_a_prefix(path: str, root_path: str, route: str) -> None:
    assert route_of({"path": path, "root_path": root_path}) == route


def test_under_a_prefix_everything_is_the_same(llm: Llama) -> None:
    app = create_app({"chat": llm}, ServerSettings(api_keys=("one",)))
    with serving(Starlette(routes=[Mount("/llm", app=app)])) as url, httpx.Client(base_url=url) as http:
        assert http.get("/llm/health").status_code == 200
        refused = http.post("/llm/v1/messages", json={}).json()
        assert (refused["type"], refused["error"]["type"]) == ("error", "authentication_error")
        wrong = http.post("/llm/v1/messages", json={"max_tokens": 1}, headers={"x-api-key": "one"}).json()
        assert wrong["error"]["type"] == "invalid_request_error"
        counted = http.get("/llm/metrics", headers={"x-api-key": "one"}).text
        assert 'route="/v1/messages"' in counted


def test_a_page_of_another_site_is_refused(http: httpx.Client) -> None:
    refused = http.post("/v1/chat/completions", json=ASK, headers={"origin": "https://evil.example"})
    assert problem(refused)[:2] == (403, "origin_not_allowed")
    own = str(http.base_url).rstrip("/")
    assert http.get("/v1/models", headers={"origin": own}).status_code == 200


def test_a_site_that_may_call(serve_with: ServeWith) -> None:
    site = {"origin": "https://good.example"}
    with serve_with(origins=("https://good.example",), api_keys=("k",)) as served:
        asked = httpx.options(f"{served.url}/v1/chat/completions", headers=site)
        assert asked.status_code == 204  # the browser asks without the key
        assert asked.headers["access-control-allow-origin"] == "https://good.example"
        assert "POST" in asked.headers["access-control-allow-methods"]
        answer = httpx.get(f"{served.url}/v1/models", headers=site | {"x-api-key": "k"})
        assert answer.headers["access-control-allow-origin"] == "https://good.example"


def test_a_name_that_points_here_is_refused(serve_with: ServeWith) -> None:
    with serve_with(hosts=("127.0.0.1", "[::1]")) as served:
        assert httpx.get(f"{served.url}/health").status_code == 200
        assert httpx.get(f"{served.url}/health", headers={"host": "[::1]:80"}).status_code == 200
        refused = httpx.get(f"{served.url}/health", headers={"host": "evil.example:8080"})
        assert problem(refused)[:2] == (403, "host_not_allowed")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large(serve_with: ServeWith, announced: bool) -> None:
    body = b'{"a": "' + b"x" * 2000 + b'"}'
    content = body if announced else iter([body])
    with serve_with(max_body_bytes=1000) as served:
        headers = {"content-type": "application/json"}
        refused = httpx.post(f"{served.url}/v1/embeddings", content=content, headers=headers)
    assert problem(refused)[:2] == (413, "body_too_large")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"{}", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"[]", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b'{"temperature": NaN}', "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 400, "invalid_json"),
        (b"{}", "application/json; charset=utf-8", 400, "invalid_parameter"),
    ],
)
def test_what_is_no_json_object(
    http: httpx.Client, content: bytes, kind: str, status: int, code: str
) -> None:
    refused = http.post("/v1/chat/completions", content=content, headers={"content-type": kind})
    assert problem(refused)[:2] == (status, code)


def test_what_is_not_there(http: httpx.Client) -> None:
    assert problem(http.get("/v1/nothing")) == (404, "not_found", None)
    wrong = http.get("/v1/chat/completions")
    assert problem(wrong) == (405, "wrong_method", None)
    assert wrong.headers["allow"] == "POST"


def test_a_model_has_to_be_named_where_there_are_several(http: httpx.Client) -> None:
    without = {key: value for key, value in ASK.items() if key != "model"}
    assert problem(http.post("/v1/chat/completions", json=without)) == (400, "invalid_parameter", "model")
    assert problem(http.post("/v1/chat/completions", json=ASK | {"model": 1}))[2] == "model"


def test_the_servers_bound_on_an_answer(serve_with: ServeWith) -> None:
    with serve_with(max_tokens=3) as served:
        for more in ({}, {"max_tokens": None}, {"max_tokens": 50}, {"max_completion_tokens": 50}):
            asked = {**ASK, "ignore_eos": True, "max_tokens": None, **more}
            answer = httpx.post(f"{served.url}/v1/chat/completions", json=asked, timeout=60).json()
            assert answer["usage"]["completion_tokens"] == 3
        text = {"model": "chat", "prompt": "a", "ignore_eos": True, "max_tokens": 9}
        answer = httpx.post(f"{served.url}/v1/completions", json=text, timeout=60).json()
        assert answer["usage"]["completion_tokens"] == 3
        wrong = httpx.post(f"{served.url}/v1/chat/completions", json=ASK | {"max_tokens": "many"})
        assert problem(wrong)[2] == "max_tokens"


def test_metrics(serve_with: ServeWith) -> None:
    with serve_with() as served, httpx.Client(base_url=served.url, timeout=60) as http:
        usage = http.post("/v1/chat/completions", json=ASK).json()["usage"]
        http.post("/v1/chat/completions", json=ASK | {"stream": True})
        http.post("/v1/chat/completions", json=ASK | {"temperature": -1})
        http.get("/made/up/1")
        http.get("/made/up/2")
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(http.get("/metrics").text)
            for sample in family.samples
        }
    route, model = ("route", "/v1/chat/completions"), ("model", "chat")
    assert found["llamacpp_requests_total", route, ("status", "200")] == 2
    assert found["llamacpp_requests_total", route, ("status", "400")] == 1
    assert found["llamacpp_requests_total", ("route", "other"), ("status", "404")] == 2
    assert found["llamacpp_request_seconds_count", route] == 3
    assert found["llamacpp_prompt_tokens_total", model] == 2 * usage["prompt_tokens"]
    assert found["llamacpp_generated_tokens_total", model] == 2
    assert found["llamacpp_first_token_seconds_count", model] == 1
    assert found["llamacpp_requests_in_flight", model] == 0


def test_rerank(http: httpx.Client) -> None:
    ask = {
        "model": "embedder",
        "query": "How hot is the Sun?",
        "documents": ["Boats float.", {"text": "The Sun's surface has 5,500 degrees."}, "Bread rises."],
    }
    answer = http.post("/v1/rerank", json=ask).json()
    assert answer["model"] == "embedder"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 30
    assert answer["results"][0]["index"] == 1
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    best = http.post("/v2/rerank", json=ask | {"top_n": 1, "return_documents": True}).json()["results"]
    assert [result["document"]["text"] for result in best] == ["The Sun's surface has 5,500 degrees."]
    for more, field in (
        ({"query": None}, "query"),
        ({"documents": "x"}, "documents"),
        ({"documents": [1]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
        ({"topn": 1}, "topn"),
    ):
        assert problem(http.post("/v1/rerank", json=ask | more))[2] == field


def test_health_and_models_say_what_is_there(http: httpx.Client) -> None:
    assert http.get("/health").json()["status"] == "ok"
    http.post("/v1/chat/completions", json=ASK)
    chat = http.get("/v1/models").json()["data"][0]
    assert chat["meta"]["n_ctx"] == 2048
    assert chat["meta"]["capabilities"]["chat"] is True


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"max_waiting": -1}, "max_waiting"),
        ({"timeout": 0}, "timeout"),
        ({"api_keys": ["a"]}, "api_keys"),
        ({"api_keys": (" ",)}, "api_keys[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ServerSettings(**settings)
    assert caught.value.parameter == field


def test_a_server_without_models() -> None:
    with pytest.raises(InvalidParameterError, match="at least one"):
        LoadedModels({})


def test_every_route_is_in_the_openapi_document(served: Served) -> None:
    shown = set(httpx.get(f"{served.url}/openapi.json").json()["paths"])
    aliases = {"/v2/rerank", "/rerank", "/v1/models/{name:path}", "/"}
    routes = {route.path for route in served.app.routes}  # type: ignore[attr-defined]
    assert shown == {path for path in routes - aliases if not path.startswith("/page/")}


@pytest.mark.parametrize("several", [False, True])
def test_the_openapi_document_says_where_a_model_has_to_be_named(
    llm: Llama, embedder: Llama, tmp_path: Path, several: bool
) -> None:
    models = {"chat": llm, "embedder": embedder} if several else {"chat": llm}
    app = create_app(models, ServerSettings(lora_dir=tmp_path))
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        paths = client.get("/openapi.json").json()["paths"]
        posts = {path: one["post"] for path, one in paths.items() if "post" in one}
        for path, post in posts.items():
            schema = post["requestBody"]["content"]["application/json"]["schema"]
            allowed = schema["properties"]["model"]["type"]
            assert ("model" in schema["required"], allowed == "string") == (several, several)
            for body in ({}, {"model": None}):
                answer = client.post(path, json=body)
                about_model = "model is missing" in answer.text
                assert about_model == several, (path, answer.text)
        assert len(posts) > 5
        message = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        answer = client.post("/v1/chat/completions", json={"model": None, **message})
        assert answer.status_code == (400 if several else 200)
