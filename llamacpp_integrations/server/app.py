"""The application: routes, and what is common to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from llamacpp_core import Llama, __version__
from llamacpp_integrations.server.adapters_api import AdapterRoutes
from llamacpp_integrations.server.answers import Answers
from llamacpp_integrations.server.chat_page import page_routes
from llamacpp_integrations.server.desk import Desk
from llamacpp_integrations.server.door import Door, problem_response, route_of
from llamacpp_integrations.server.errors import Problem, problem_of
from llamacpp_integrations.server.messages_api import Anthropic
from llamacpp_integrations.server.metrics import CONTENT_TYPE
from llamacpp_integrations.server.models import LoadedModels, Models
from llamacpp_integrations.server.openai_api import OpenAI
from llamacpp_integrations.server.openapi import openapi_document
from llamacpp_integrations.server.responses_api import Responses
from llamacpp_integrations.server.settings import ServerSettings

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["create_app"]

Endpoint = Callable[["Request"], Awaitable[Response]]


def create_app(
    models: Models | Mapping[str, Llama] | Llama, settings: ServerSettings | None = None
) -> Starlette:
    """An ASGI application that answers as OpenAI's and Anthropic's services do.

    It uses the models and does not close them. ``app.state.desk`` has its metrics.

    Args:
        models: A loaded model, several by name, or what gives out models by name.
        settings: The limits and doors.

    Raises:
        InvalidParameterError: There is no model.
    """
    settings = settings or ServerSettings()
    if isinstance(models, Llama):
        models = {models.info.name: models}
    desk = Desk(LoadedModels(models) if isinstance(models, Mapping) else models, settings)
    routes = [*_own_routes(desk), *_api_routes(Answers(desk))]
    if settings.page:
        routes += page_routes()
    paths = frozenset(route.path for route in routes if isinstance(route, Route))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Door, settings=settings, metrics=desk.metrics, routes=paths)],
        exception_handlers={HTTPException: _no_route},
    )
    app.state.desk = desk
    return app


def _api_routes(answers: Answers) -> list[BaseRoute]:
    openai, anthropic, responses = OpenAI(answers), Anthropic(answers), Responses(answers)
    adapters = AdapterRoutes(answers)
    posts: dict[str, Endpoint] = {
        "/v1/chat/completions": openai.chat,
        "/v1/completions": openai.completions,
        "/v1/embeddings": openai.embeddings,
        "/v1/responses": responses.create,
        "/v1/messages": anthropic.messages,
        "/v1/messages/count_tokens": anthropic.count_tokens,
        "/v1/rerank": openai.rerank,
        "/v2/rerank": openai.rerank,
        "/rerank": openai.rerank,
        "/v1/load_lora_adapter": adapters.load,
        "/v1/unload_lora_adapter": adapters.unload,
    }
    return [
        *(Route(path, _answering(endpoint), methods=["POST"]) for path, endpoint in posts.items()),
        Route("/v1/models", _answering(openai.models), methods=["GET"]),
        Route("/v1/models/{name:path}", _answering(openai.model), methods=["GET"]),
    ]


def _own_routes(desk: Desk) -> list[BaseRoute]:
    async def health(_: Request) -> Response:
        return JSONResponse(
            {"status": "ok", "version": __version__, "in_flight": sum(desk.in_flight.values())}
        )

    async def metrics(_: Request) -> Response:
        return Response(desk.metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(_: Request) -> Response:
        return JSONResponse(openapi_document(several_models=len(desk.models.names) > 1))

    return [
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]


def _answering(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose exceptions become answers."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:
            return problem_response(route_of(request.scope), problem_of(error))

    return answer


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, route_of(request.scope)
    found = {
        404: (f"there is no {path} here", "not_found"),
        405: (f"{path} takes no {method}", "wrong_method"),
    }
    message, code = found.get(error.status_code, (error.detail, "http_error"))
    response = problem_response(path, Problem(error.status_code, message, code))
    response.headers.update(error.headers or {})
    return response
