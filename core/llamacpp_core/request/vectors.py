"""Plans embeddings and reranking: tokens that fit into the model, one list for each vector or score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llamacpp_core._checks import boolean, check_text, choice, clean_text, integer
from llamacpp_core.engine.engine import TASK_COMPLETION, TASK_RERANK, Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.engine.plan import Plan
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.response.vectors import EmbeddingBatch, JoinedBatches, RerankBatch

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["OVERFLOW", "VectorPreparer", "check_query"]

Overflow = Literal["error", "truncate", "chunk"]
OVERFLOW = ("error", "truncate", "chunk")

YES_NO = (
    "Document:\n{document}\n\nQuestion: {query}\n\n"
    'Is the document relevant to the question? Answer "Yes" or "No".'
)


def check_query(query: Any) -> None:
    """Checks the query of a reranking.

    Raises:
        InvalidParameterError: It is not text, or empty.
    """
    if not isinstance(query, str) or not query:
        raise InvalidParameterError("query must be a string that is not empty", parameter="query")
    check_text("query", query)


class VectorPreparer:
    """Plans embeddings and reranking for one loaded model.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        info: Facts about the model.
        tokenize: Token ids of a text for embedding, with the tokens that belong around it.
    """

    def __init__(
        self,
        engine: Engine,
        vocab: Vocabulary,
        info: ModelInfo,
        tokenize: Callable[[str], list[int]] | None = None,
    ) -> None:
        self._engine = engine
        self._vocab = vocab
        self._info = info
        self._leaves_nul_out = tokenize is not None  # as BERT's tokenizer does
        self._tokenize = tokenize or (lambda s: vocab.tokenize(s, add_special=True, parse_special=False))

    @property
    def limit(self) -> int:
        """Tokens that one input may have."""
        return min(self._info.n_ctx, self._info.n_ubatch)

    def check_embedding(self, options: Mapping[str, Any]) -> int:
        """Checks what does not depend on the texts.

        Args:
            options: ``normalize``, ``overflow``, ``max_tokens`` and ``clean`` of a call.

        Returns:
            Tokens that one piece may have.

        Raises:
            UnsupportedCapabilityError: The model was loaded without embeddings.
            InvalidParameterError: An option has a value that cannot work.
        """
        if not self._info.capabilities.embedding:
            raise UnsupportedCapabilityError(
                "embeddings are off: load the model with Llama(..., embedding=True)", parameter="embedding"
            )
        if self._info.pooling == "rank":
            raise UnsupportedCapabilityError(
                f"{self._info.name} is a reranker: it computes scores, not embeddings"
            )
        if self._info.pooling == "none":
            raise UnsupportedCapabilityError(
                "pooling_type='none' gives no vector per text: load the model with pooling_type='mean', "
                "'cls' or 'last'",
                parameter="pooling_type",
            )
        boolean("normalize", options["normalize"])
        boolean("clean", options["clean"])
        choice(*OVERFLOW)("overflow", options["overflow"])
        if options["max_tokens"] is None:
            return self.limit
        lowered: int = integer(3)("max_tokens", options["max_tokens"])
        return min(self.limit, lowered)

    def embedding(
        self,
        texts: Sequence[Any],
        *,
        unit: bool,
        overflow: Any,
        max_tokens: int | None,
        clean: bool = False,
        first: int = 0,
    ) -> EmbeddingBatch:
        """Checks and tokenizes texts.

        Args:
            texts: Strings, or lists of token ids.
            unit: Scale the vectors to length 1.
            overflow: What to do with a text that is too long: "error", "truncate" or "chunk".
            max_tokens: A limit below the model's own.
            clean: Leave out, or replace, what no tokenizer takes.
            first: The number of the first text, for messages.

        Raises:
            UnsupportedCapabilityError: The model was loaded without embeddings.
            ContextOverflowError: A text is too long, and ``overflow`` is "error".
        """
        batch, pieces = self.unplanned(
            texts, unit=unit, overflow=overflow, max_tokens=max_tokens, clean=clean, first=first
        )
        if pieces:
            batch.plan = self._engine.plan_tokens(pieces)
        return batch

    def unplanned(
        self,
        texts: Sequence[Any],
        *,
        unit: bool,
        overflow: Any,
        max_tokens: int | None,
        clean: bool = False,
        first: int = 0,
    ) -> tuple[EmbeddingBatch, list[list[int]]]:
        """:meth:`embedding` for a batch that is computed together with others: see :meth:`joined`.

        Returns:
            The batch without a plan, and the tokens of its pieces.
        """
        limit = self.check_embedding(
            {"normalize": unit, "overflow": overflow, "max_tokens": max_tokens, "clean": clean}
        )
        if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Sequence):
            raise InvalidParameterError(
                f"input must be a list of texts, got {type(texts).__name__}", parameter="input"
            )
        pieces: list[list[int]] = []
        owners: list[int] = []
        for i, entry in enumerate(texts):
            for piece in self._fit(first + i, self._tokens(first + i, entry, clean), overflow, limit):
                pieces.append(piece)
                owners.append(i)
        lengths = [len(piece) for piece in pieces]
        return EmbeddingBatch(None, owners, lengths, len(texts), unit, self._info.n_embd), pieces

    def joined(self, parts: Sequence[tuple[EmbeddingBatch, list[list[int]]]]) -> JoinedBatches:
        """Plans batches as one: of :meth:`unplanned`, with the same ``unit``."""
        plan = self._engine.plan_tokens([piece for _, pieces in parts for piece in pieces])
        return JoinedBatches(plan, [batch for batch, _ in parts])

    def _tokens(self, index: int, entry: Any, clean: bool) -> list[int]:
        name = f"input[{index}]"
        if isinstance(entry, str):
            if clean:
                entry = clean_text(entry)
            elif self._leaves_nul_out:
                entry = entry.replace("\0", "")
            tokens = self._tokenize(check_text(name, entry))
        else:
            tokens = self._vocab.check_all(entry, name)
        if not tokens:
            special = self._vocab.special_tokens
            filler = next((special[name] for name in ("bos", "eos", "nl") if name in special), None)
            if filler is None:
                raise InvalidParameterError(f"{name} has no tokens: give some text", parameter=name)
            tokens = [filler]
        return tokens

    def _fit(self, index: int, tokens: list[int], overflow: str, limit: int) -> list[list[int]]:
        if len(tokens) <= limit:
            return [tokens]
        if overflow == "error":
            lowered = limit < self.limit
            raise ContextOverflowError(
                f"input[{index}] has {len(tokens)} tokens and {'max_tokens' if lowered else 'the model'} "
                f"allows {limit} at once: shorten it, pass overflow='truncate' or overflow='chunk', or "
                + (
                    "raise max_tokens"
                    if lowered
                    else "load the model with larger n_ctx, n_batch and n_ubatch"
                ),
                n_prompt_tokens=len(tokens),
                n_ctx=limit,
                parameter=f"input[{index}]",
            )
        head, tail = self._frame(tokens)
        body = tokens[len(head) : len(tokens) - len(tail)]
        room = limit - len(head) - len(tail)
        starts = range(0, len(body), room) if overflow == "chunk" else (0,)
        return [[*head, *body[start : start + room], *tail] for start in starts]

    def _frame(self, tokens: list[int]) -> tuple[list[int], list[int]]:
        """The tokens around the text, which every piece keeps: without them a vector is another one."""
        head = tokens[:1] if tokens[0] == self._vocab.bos else []
        special = self._vocab.special_tokens
        tail = tokens[-1:] if tokens[-1] in (special.get("eos"), special.get("sep")) else []
        return head, tail

    def rerank(self, query: Any, documents: Sequence[Any]) -> EmbeddingBatch | RerankBatch:
        """Checks a query and documents and plans their scores.

        Raises:
            UnsupportedCapabilityError: The model can neither score nor generate.
            ContextOverflowError: The query and a document together are too long.
        """
        check_query(query)
        if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Sequence):
            raise InvalidParameterError(
                f"documents must be a list of strings, got {type(documents).__name__}",
                parameter="documents",
            )
        for i, document in enumerate(documents):
            if not isinstance(document, str):
                raise InvalidParameterError(f"documents[{i}] must be a string", parameter=f"documents[{i}]")
            check_text(f"documents[{i}]", document)
        mode = self._info.capabilities.rerank
        if mode == "cross-encoder":
            plan = self._engine.plan_rerank(query, documents)
            self._check_pairs(plan)
            return RerankBatch(plan, TASK_RERANK, {}, len(documents))
        if mode == "embedding":
            return self.embedding([query, *documents], unit=True, overflow="chunk", max_tokens=None)
        if mode == "yes-no":
            return self._yes_no(query, documents)
        raise UnsupportedCapabilityError(
            f"{self._info.name} can neither embed nor generate: it cannot rerank"
        )

    def _check_pairs(self, plan: Plan) -> None:
        for i in range(plan.n_prompts):
            if plan.n_tokens(i) > self.limit:
                raise ContextOverflowError(
                    f"the query and documents[{i}] have {plan.n_tokens(i)} tokens together and the model "
                    f"takes {self.limit} at once: shorten the document, or load the model with larger n_ctx "
                    "and n_ubatch",
                    n_prompt_tokens=plan.n_tokens(i),
                    n_ctx=self.limit,
                    parameter=f"documents[{i}]",
                )

    def _yes_no(self, query: str, documents: Sequence[str]) -> RerankBatch:
        prompts = []
        for i, document in enumerate(documents):
            content = YES_NO.format(document=document, query=query)
            if self._info.capabilities.chat:
                tokens = self._engine.plan_chat({"messages": [{"role": "user", "content": content}]}).tokens()
            else:
                tokens = self._vocab.tokenize(content + "\nAnswer:", add_special=True, parse_special=False)
            if len(tokens) >= self._info.n_ctx:
                raise ContextOverflowError(
                    f"the query and documents[{i}] have {len(tokens)} tokens together and the context of one "
                    f"request holds {self._info.n_ctx}: shorten the document",
                    n_prompt_tokens=len(tokens),
                    n_ctx=self._info.n_ctx,
                    parameter=f"documents[{i}]",
                )
            prompts.append(tokens)
        params = {"n_predict": 1, "n_probs": 200, "temperature": 0.0, "cache_prompt": True}
        return RerankBatch(self._engine.plan_tokens(prompts), TASK_COMPLETION, params, len(documents))
