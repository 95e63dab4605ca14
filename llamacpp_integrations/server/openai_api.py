"""OpenAI's routes: chat completions, completions, embeddings, models; and reranking as others have it."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server import prompts
from llamacpp_integrations.server.answers import Answers, Chunks
from llamacpp_integrations.server.body import given, read_object
from llamacpp_integrations.server.errors import Problem, RefusedError, openai_error
from llamacpp_integrations.server.stream import event

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["OpenAI", "encoded", "stream_problem"]

_DONE = b"data: [DONE]\n\n"

#: Fields that only matter to OpenAI's own service: what they ask for is not there, or changes no answer.
_OF_THE_SERVICE = (
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)


class OpenAI:
    """The routes of OpenAI's API.

    Args:
        answers: Runs the requests.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._desk = answers.desk
        self._started = int(time.time())

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        body = await read_object(request)
        name, shown = self._desk.asked(body)
        messages = _messages(body)
        params = self._chat_params(body)
        if params.pop("stream", None):
            return await self._answers.streamed(
                name,
                params.get("n"),
                lambda llm: llm.acreate_chat_completion(messages, stream=True, model=shown, **params),
                encoded,
                stream_problem,
            )

        async def work(llm: Llama) -> dict[str, Any]:
            return dict(await llm.acreate_chat_completion(messages, model=shown, **params))

        return JSONResponse(await self._answers.whole(name, params.get("n"), work))

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        body = await read_object(request)
        name, shown = self._desk.asked(body)
        texts = prompts.listed(body.pop("prompt", None))
        params = self._params(body) | {"model": shown}
        most = max((params[k] for k in ("n", "best_of") if isinstance(params.get(k), int)), default=1)
        n = len(texts) * most
        if params.pop("stream", None):
            return await self._answers.streamed(
                name, n, lambda llm: prompts.stream_all(llm, texts, params), encoded, stream_problem
            )
        return JSONResponse(
            await self._answers.whole(name, n, lambda llm: prompts.answer_all(llm, texts, params))
        )

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        body = await read_object(request)
        name = self._desk.name_of(body.pop("model", None))
        texts = prompts.listed(body.pop("input", None), "input", most=2048)
        dimensions = given(body, "dimensions", int, "a whole number")
        encoding = given(body, "encoding_format", str, "'float' or 'base64'") or "float"
        if encoding not in ("float", "base64"):
            raise InvalidParameterError(
                "encoding_format must be 'float' or 'base64'", parameter="encoding_format"
            )
        for field in ("dimensions", "encoding_format", *_OF_THE_SERVICE):
            body.pop(field, None)
        params = {field: value for field, value in body.items() if value is not None}

        async def work(llm: Llama) -> dict[str, Any]:
            prompts.check_dimensions(llm, dimensions)
            return await llm.acreate_embedding(texts, model=name, **params)

        answer = await self._answers.whole(name, 1, work)
        if encoding == "base64":
            prompts.to_base64(answer)
        return JSONResponse(answer)

    async def rerank(self, request: Request) -> Response:
        """``POST /v1/rerank``."""
        body = await read_object(request)
        name = self._desk.name_of(body.pop("model", None))
        query = given(body, "query", str, "a string")
        if query is None:
            raise InvalidParameterError("query is missing", parameter="query")
        documents = prompts.documents(body.get("documents"))
        top_n = given(body, "top_n", int, "a whole number")
        with_documents = given(body, "return_documents", bool, "true or false")
        known = {"query", "documents", "top_n", "return_documents", "max_tokens_per_doc", "user"}
        prompts.check_known(body, known)

        async def work(llm: Llama) -> dict[str, Any]:
            return await llm.acreate_rerank(query, documents, model=name, top_n=top_n)

        answer = await self._answers.whole(name, 1, work)
        if with_documents:
            for result in answer["results"]:
                result["document"] = {"text": documents[result["index"]]}
        return JSONResponse({"id": f"rerank-{uuid.uuid4().hex}", "object": "list", **answer})

    async def models(self, _: Request) -> Response:
        """``GET /v1/models``; has what Anthropic's clients look for too."""
        data = [self._model(name) for name in self._desk.models.names]
        data += [
            self._model(name, one) for name in self._desk.models.names for one in self._desk.adapters(name)
        ]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return JSONResponse({"object": "list", "data": data, "has_more": False, **ends})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{name}``."""
        wanted = request.path_params["name"]
        if wanted in self._desk.models.names:
            return JSONResponse(self._model(wanted))
        name, _, adapter = wanted.rpartition(":")
        if name in self._desk.models.names and adapter in self._desk.adapters(name):
            return JSONResponse(self._model(name, adapter))
        raise RefusedError(404, f"there is no model {wanted!r} here", "model_not_found", parameter="model")

    def _model(self, name: str, adapter: str | None = None) -> dict[str, Any]:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started))
        shown = name if adapter is None else f"{name}:{adapter}"
        parent = {} if adapter is None else {"parent": name}
        return {
            "id": shown,
            **parent,
            "object": "model",
            "type": "model",
            "created": self._started,
            "created_at": created,
            "display_name": shown,
            "owned_by": "llamacpp-integrations",
            "meta": _meta(self._desk.facts.get(name)),
        }

    def _chat_params(self, body: dict[str, Any]) -> dict[str, Any]:
        params = self._params(body)
        if (modalities := params.pop("modalities", None)) not in (None, ["text"]):
            raise InvalidParameterError(
                f"modalities must be ['text']: the models here write text, got {modalities!r}",
                parameter="modalities",
            )
        if params.get("max_completion_tokens") is not None:
            if params.get("max_tokens") is not None:
                raise InvalidParameterError(
                    "give max_completion_tokens or max_tokens, not both", parameter="max_tokens"
                )
            params["max_tokens"] = params["max_completion_tokens"]
        params.pop("max_completion_tokens", None)
        params["max_tokens"] = self._answers.limited(params.get("max_tokens"))
        return {field: value for field, value in params.items() if value is not None}

    def _params(self, body: dict[str, Any]) -> dict[str, Any]:
        """What goes to the engine: every other field of the request, under its own name."""
        given(body, "stream", bool, "true or false")
        params = {
            field: value
            for field, value in body.items()
            if value is not None and field not in _OF_THE_SERVICE
        }
        options = params.get("stream_options")
        if isinstance(options, Mapping):
            params["stream_options"] = {k: v for k, v in options.items() if k != "include_obfuscation"}
        if "max_tokens" in params:
            params["max_tokens"] = self._answers.limited(params["max_tokens"])
        for name in ("messages", "self"):  # no field of this route: they are named parameters of Python's
            if name in params:
                raise InvalidParameterError(f"unknown parameter {name!r}", parameter=name)
        return params


def _messages(body: dict[str, Any]) -> list[Any]:
    """The conversation, without fields that OpenAI puts into answers and that may come back empty."""
    messages = body.pop("messages", None)
    if not isinstance(messages, list):
        what = "is missing" if messages is None else "must be a list of messages"
        raise InvalidParameterError(f"messages {what}", parameter="messages")
    return [
        {key: value for key, value in message.items() if value or key not in ("annotations", "audio")}
        if isinstance(message, dict)
        else message
        for message in messages
    ]


def _meta(info: ModelInfo | None) -> dict[str, Any]:
    """What is known of a model once it was in use."""
    if info is None:
        return {}
    can = info.capabilities
    return {
        "n_ctx": info.n_ctx,
        "n_ctx_train": info.n_ctx_train,
        "n_parallel": info.n_parallel,
        "n_embd": info.n_embd,
        "n_params": info.n_params,
        "quantization": info.quantization,
        "capabilities": {
            "chat": can.chat,
            "completion": can.completion,
            "embedding": can.embedding,
            "rerank": can.rerank,
            "tools": can.tools,
            "reasoning": can.reasoning,
            "image": can.image,
            "audio": can.audio,
        },
    }


async def encoded(chunks: Chunks) -> AsyncIterator[bytes]:
    """Chunks as OpenAI's events."""
    async for chunk in chunks:
        yield event(chunk)
    yield _DONE


def stream_problem(problem: Problem) -> bytes:
    """A problem in the middle of a stream, as OpenAI's clients read it."""
    return event(openai_error(problem))
