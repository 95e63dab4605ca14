"""The server on Ray Serve: replicas that have the models, and an ingress that chooses among them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.routing import Mount

from llamacpp_core._checks import integer, number, shown, text
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.ray.relay import Relay, answers_of
from llamacpp_integrations.ray.routing import ConversationRouter
from llamacpp_integrations.server import ServerSettings, create_app

__all__ = ["build_app"]

_AT_LEAST_ONE = integer(1)


class _Models:
    """A replica: the models of one process, and the application of ``llamacpp serve`` over them."""

    def __init__(self, models: Mapping[str, Mapping[str, Any]], settings: ServerSettings) -> None:
        from llamacpp_core import Llama

        self._app = create_app({name: Llama(**options) for name, options in models.items()}, settings)
        self._headers = {"x-replica-id": serve.get_replica_context().replica_id.unique_id}

    async def answer(self, scope: dict[str, Any], body: bytes) -> AsyncGenerator[Any, None]:
        """The messages of the answer to one request."""
        async for message in answers_of(self._app, scope, body, self._headers):
            yield message


class _Ingress:
    """What Ray Serve's proxies talk to; it has no model."""

    def __init__(self, models: DeploymentHandle[Any]) -> None:
        self.models = models


def build_app(
    models: str | Mapping[str, Any],
    settings: ServerSettings | None = None,
    *,
    num_replicas: int | str = 1,
    num_cpus: float = 1,
    num_gpus: float | None = None,
    max_ongoing_requests: int = 16,
    ingress_replicas: int = 1,
    deployment_options: Mapping[str, Any] | None = None,
) -> serve.Application:
    """The application of ``llamacpp serve`` for ``serve.run``, with replicas on the nodes of a cluster.

    All requests of a conversation go to one replica while that has room, so that what it has read of it is in
    its cache. Answers name their replica in the header ``x-replica-id``. A request whose replica dies
    before it has begun to answer goes to another one.

    Args:
        models: The models by the names that requests give: what :class:`~llamacpp_core.Llama` takes, or a
            dict of all its arguments. A text is one model, by its own name.
        settings: The limits and doors, of each replica.
        num_replicas: Replicas, each with all models; "auto" lets Ray choose.
        num_cpus: CPUs of a replica, which set ``n_threads``. One replica for each node is best.
        num_gpus: GPUs of a replica.
        max_ongoing_requests: Requests that a replica has at once, those that wait in it included; further
            ones of its conversations go to the next replica.
        ingress_replicas: Processes that hand requests over.
        deployment_options: Further options of ``serve.deployment`` for the replicas, such as
            ``autoscaling_config``, ``max_queued_requests`` and ``ray_actor_options``.

    Raises:
        InvalidParameterError: An argument cannot work.

    Example:
        >>> from ray import serve  # doctest: +SKIP
        >>> serve.run(build_app({"chat": "smollm2-135m-instruct"}, num_replicas=2))  # doctest: +SKIP
    """
    settings = settings or ServerSettings()
    cpus = number(0, above=True)("num_cpus", num_cpus)
    given = dict(deployment_options or {})
    if settings.lora_dir is not None and (num_replicas != 1 or "autoscaling_config" in given):
        raise InvalidParameterError(
            "lora_dir: one replica would load an adapter and the others not: give it with num_replicas=1, or "
            "give the adapters with the models",
            parameter="settings",
        )
    actor_options = {**given.pop("ray_actor_options", {}), "num_cpus": num_cpus}
    if num_gpus is not None:
        actor_options["num_gpus"] = number(0)("num_gpus", num_gpus)
    options: dict[str, Any] = {
        "name": "models",
        "num_replicas": num_replicas,
        "max_ongoing_requests": _AT_LEAST_ONE("max_ongoing_requests", max_ongoing_requests),
        "max_queued_requests": max(settings.max_waiting, 1),
        "request_router_config": {"request_router_class": ConversationRouter},
        "ray_actor_options": actor_options,
    }
    if "autoscaling_config" in given:
        del options["num_replicas"]
    replicas: serve.Deployment = serve.deployment(**options | given)(_Models)
    limit = settings.max_body_bytes

    def ingress() -> Starlette:
        return Starlette(routes=[Mount("/", app=Relay(limit))])

    door: serve.Deployment = serve.deployment(
        name="ingress",
        num_replicas=_AT_LEAST_ONE("ingress_replicas", ingress_replicas),
        max_ongoing_requests=10_000,
        ray_actor_options={"num_cpus": 0},
    )(serve.ingress(ingress)(_Ingress))
    return door.bind(replicas.bind(_by_name(models, max(1, int(cpus))), settings))


def _by_name(models: str | Mapping[str, Any], n_threads: int) -> dict[str, dict[str, Any]]:
    """The arguments of each model."""
    if isinstance(models, str):
        models = {models: models}
    if not isinstance(models, Mapping) or not models:
        raise InvalidParameterError(
            f"models must be a dict with at least one model, got {shown(models)}", parameter="models"
        )
    found = {}
    for name, model in models.items():
        options = dict(model) if isinstance(model, Mapping) else {"model": model}
        found[text("models", name)] = {"n_threads": n_threads, **options}
    return found
