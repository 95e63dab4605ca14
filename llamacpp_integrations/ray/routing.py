"""Which replica answers a request: the one that has read the beginning of its conversation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

__all__ = ["ConversationRouter", "affinity_of"]

#: A client may name its conversation: the header that Ray Serve has for sessions.
_SESSION_HEADER = "x-session-id"
#: Where a conversation is, and what stands before it.
_CONVERSATIONS = {
    "/v1/chat/completions": ("messages", None),
    "/v1/messages": ("messages", "system"),
    "/v1/responses": ("input", "instructions"),
    "/v1/completions": ("prompt", None),
}
#: Characters or tokens of a prompt without messages that tell it from others.
_BEGINNING = 1000
#: How often the first replica is asked. Ray waits a tenth of a second for its answer, then twice as long each
#: time, and a replica whose cores compute may need more than once.
_TRIES = 4


class ConversationRouter(RequestRouter):
    """Sends the requests of a conversation to one replica, which has their beginning in its cache.

    Each conversation has an order of its own among the replicas, by the hash of both (rendezvous hashing), so
    that every router comes to the same order, and a new or a lost replica moves only its share. A replica
    that runs ``max_ongoing_requests`` already is passed over for the next one. Requests without a
    conversation go to the replica with the shortest queue.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replicas in the order in which the request tries them, as ranks."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # when all of them are busy
        conversation = pending_request.metadata.session_id
        if not conversation or not candidate_replicas:
            return [candidate_replicas]
        by_weight = sorted(
            candidate_replicas, key=lambda replica: _digest([conversation, replica.replica_id.unique_id])
        )
        return [[replica] for replica in [by_weight[0]] * _TRIES + by_weight[1:]]


def affinity_of(path: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """What tells the conversation of a request from others; None where any replica will do.

    That is the session that the client names, in the header ``x-session-id`` or in OpenAI's field
    ``prompt_cache_key``; else how the conversation begins, up to its first user's message, which stays in
    all later requests. A system prompt that conversations share does not bring them to one replica.

    Args:
        path: The request's path, without the prefix of the application's route.
        headers: The request's headers, by their names in small letters.
        body: The request's body.
    """
    if session := headers.get(_SESSION_HEADER):
        return session
    if path not in _CONVERSATIONS:
        return None
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    field, before = _CONVERSATIONS[path]
    named = request.get("prompt_cache_key")
    beginning = named or [_text(request.get(before)), *_beginning(request.get(field))]
    return _digest([request.get("model"), beginning])


def _beginning(conversation: Any) -> list[Any]:
    """A conversation up to its first user's message, or a prompt's beginning."""
    if not isinstance(conversation, list) or not all(isinstance(entry, dict) for entry in conversation):
        return [conversation[:_BEGINNING] if isinstance(conversation, str | list) else None]
    found = []
    for message in conversation:
        found.append(_text(message.get("content")))
        if message.get("role") == "user":
            break
    return found


def _text(content: Any) -> Any:
    """The text of a message, however it is given, without the marks that move from request to request."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
