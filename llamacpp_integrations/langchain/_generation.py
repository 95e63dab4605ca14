"""One generation: reading its stream, and checking that it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.outputs import ChatGenerationChunk

from llamacpp_core.response.cut_off import MessageSoFar, check_complete
from llamacpp_integrations.langchain._messages import final_chunk, stream_chunk

__all__ = ["StreamReader", "check_response"]


class StreamReader:
    """Turns the chunks of one chat completion into LangChain's.

    Args:
        params: The arguments of the completion.
        blocks: Give the content as standard content blocks.

    Attributes:
        params: The arguments of the completion.
    """

    def __init__(self, params: dict[str, Any], *, blocks: bool) -> None:
        self.params = params
        self._blocks = blocks
        self._so_far = MessageSoFar()

    def read(self, chunk: Mapping[str, Any]) -> list[ChatGenerationChunk]:
        """What a chunk adds.

        Raises:
            IncompleteOutputError: The answer was cut off where only a whole one is of use.
        """
        if not chunk["choices"]:
            return []
        choice = chunk["choices"][0]
        delta = choice["delta"]
        self._so_far.add(delta)
        piece = stream_chunk(delta, choice.get("logprobs"), blocks=self._blocks)
        out = [] if piece is None else [piece]
        reason = choice["finish_reason"]
        if reason is not None:
            check_complete(self._so_far.message, reason, self.params)
            out.append(final_chunk(chunk, reason, blocks=self._blocks))
        return out


def check_response(response: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Makes sure that answers that are only of use as a whole are whole.

    Raises:
        IncompleteOutputError: One was cut off.
    """
    for choice in response["choices"]:
        check_complete(choice["message"], choice["finish_reason"], params)
