"""The reranker of LlamaIndex: :class:`LlamaCppRerank`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from llamacpp_core._checks import clean_text, text
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_integrations.llama_index._model import LlamaCppComponent

__all__ = ["LlamaCppRerank"]

dispatcher = get_dispatcher(__name__)

_SCORE = "retrieval_score"


class LlamaCppRerank(LlamaCppComponent, BaseNodePostprocessor):
    """Sorts nodes by how well they answer the query, with a model in this process.

    A cross-encoder gives its own score, an embedding model the cosine, and a chat model the probability of
    "yes" when asked whether the node is relevant.

    Args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        llama: A loaded :class:`~llamacpp_core.Llama` to use instead of ``model``.
        fields: The fields below; load options of :class:`~llamacpp_core.LoadOptions`; ``progress``, as for
            :class:`~llamacpp_core.Llama`.

    Raises:
        ModelNotFoundError: There is no such model.
        UnsupportedCapabilityError: The model cannot score documents.
        InvalidParameterError: An argument is unknown or cannot work.

    Example:
        >>> from llamacpp_integrations.llama_index import LlamaCppRerank
        >>> reranker = LlamaCppRerank("bge-reranker-v2-m3", top_n=3)  # doctest: +SKIP
        >>> index.as_query_engine(similarity_top_k=20, node_postprocessors=[reranker])  # doctest: +SKIP
    """

    top_n: int = Field(default=5, description="Nodes to keep, best first.", gt=0)
    keep_retrieval_score: bool = Field(
        default=False, description="Keep the earlier score in the node's metadata, as retrieval_score."
    )
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, description="Which of a node's metadata is scored together with its text."
    )

    clean: bool = Field(
        default=True,
        description="Leave out NUL characters and replace lone surrogates, which texts extracted from files "
        "hold. False makes them errors.",
    )

    def __init__(self, model: Any = None, *, llama: Any = None, **fields: Any) -> None:
        super().__init__(model, llama=llama, **fields)
        info = self.client.info
        if info.capabilities.rerank is None:
            raise UnsupportedCapabilityError(
                f"{info.name} can neither embed nor generate, so it cannot score documents", parameter="model"
            )

    @classmethod
    def class_name(cls) -> str:
        """The name of the class in serialized objects."""
        return "LlamaCppRerank"

    @dispatcher.span
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        nodes, query, texts = self._inputs(nodes, query_bundle)
        if not nodes:
            return []
        with self._event(nodes, query) as done:
            return done(self.client.rerank(query, texts, top_n=self.top_n))

    @dispatcher.span
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        nodes, query, texts = self._inputs(nodes, query_bundle)
        if not nodes:
            return []
        with self._event(nodes, query) as done:
            return done(await self.client.arerank(query, texts, top_n=self.top_n))

    def _inputs(
        self, nodes: Iterable[NodeWithScore], query_bundle: QueryBundle | None
    ) -> tuple[list[NodeWithScore], str, list[str]]:
        """The nodes as a list, the query, and the nodes' texts."""
        if not isinstance(query_bundle, QueryBundle):
            raise InvalidParameterError(
                "a reranker needs the query: pass query_bundle=QueryBundle(...) or query_str=, got "
                f"{query_bundle!r:.80}",
                parameter="query_bundle",
            )
        if isinstance(nodes, str | bytes) or not isinstance(nodes, Iterable):
            raise InvalidParameterError(
                f"nodes must be a list of NodeWithScore, got {type(nodes).__name__}", parameter="nodes"
            )
        found = list(nodes)
        for i, node in enumerate(found):
            if not isinstance(node, NodeWithScore):
                raise InvalidParameterError(
                    f"nodes[{i}] must be a NodeWithScore, got {type(node).__name__}", parameter=f"nodes[{i}]"
                )
        query = text("query", query_bundle.query_str)
        texts = [one.node.get_content(metadata_mode=self.metadata_mode) for one in found]
        return found, query, [clean_text(one) for one in texts] if self.clean else texts

    @contextmanager
    def _event(
        self, nodes: list[NodeWithScore], query: str
    ) -> Iterator[Callable[[Sequence[Mapping[str, Any]]], list[NodeWithScore]]]:
        """Reports the start of a reranking; the function that it yields reports its results."""
        name = self.client.info.name
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=self.top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:

            def done(results: Sequence[Mapping[str, Any]]) -> list[NodeWithScore]:
                ranked = [
                    self._scored(nodes[result["index"]], result["relevance_score"]) for result in results
                ]
                event.on_end(payload={EventPayload.NODES: ranked})
                dispatcher.event(ReRankEndEvent(nodes=ranked))
                return ranked

            yield done

    def _scored(self, found: NodeWithScore, score: float) -> NodeWithScore:
        """A new result for the node; the one that came in is not changed."""
        node: BaseNode = found.node
        if self.keep_retrieval_score:
            # A note about the node, and no part of what a model reads of it.
            update: dict[str, Any] = {"metadata": {**node.metadata, _SCORE: found.score}}
            for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
                update[name] = [*(key for key in getattr(node, name) if key != _SCORE), _SCORE]
            node = node.model_copy(update=update)
        return NodeWithScore(node=node, score=float(score))
