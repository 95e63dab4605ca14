"""The server keeps to its own OpenAPI document, whatever is sent: schemathesis makes the requests."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.applications import Starlette

from llamacpp_core import Llama
from llamacpp_integrations.server import ServerSettings, create_app
from llamacpp_integrations.server.openapi import openapi_document


@pytest.fixture(scope="module")
def app(llm: Llama) -> Starlette:
    return create_app({"chat": llm}, ServerSettings(max_tokens=2, max_waiting=4, timeout=60))


def operations() -> list[tuple[str, str]]:
    paths = openapi_document()["paths"]
    return [(path, method) for path, methods in paths.items() for method in methods]


# No check that what fits the document is accepted: a prompt that is too long, say, fits it.
CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), operations())
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_answers_are_as_documented(
    app: Starlette, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    cases = document[path][method.upper()].as_strategy(generation_mode=mode)

    @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def run(case: schemathesis.Case) -> None:
        case.validate_response(case.call(), checks=CHECKS)

    run()


def test_every_route_is_in_the_document(app: Starlette) -> None:
    shown = set(openapi_document()["paths"])
    aliases = {"/v2/rerank", "/rerank", "/v1/models/{name:path}"}
    routes = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert shown == {path for path in routes - aliases if not path.startswith("/page")} - {"/"}
