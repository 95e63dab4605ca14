"""The public class: a model in this process, with the methods that OpenAI's clients taught everybody."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, integer, unknown_name
from llamacpp_core.chat import ChatPreparer
from llamacpp_core.completion import CompletionPreparer
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.info import ModelInfo
from llamacpp_core.loading import load_engine
from llamacpp_core.options import LoadOptions
from llamacpp_core.progress import LoadProgress, batch_progress
from llamacpp_core.runner import Prepared, aoff_loop, arun, astream, run, stream
from llamacpp_core.vectors import EmbeddingBatch, RerankBatch, VectorPreparer
from llamacpp_core.vocab import Vocab

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.models import ResolvedModel

__all__ = ["Llama"]


class Llama:
    """A language model in this process.

    One object serves any number of threads and event loops at once: their requests share the steps of one
    batch. Close it, or use it in a ``with`` block, to free the memory.

    Args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        model_path: The same under llama-cpp-python's name.
        verbose: Show llama.cpp's log on stderr.
        progress: Show progress of downloads and slow loads on stderr. None: on a terminal only.
        load_options: The fields of :class:`~llamacpp_core.options.LoadOptions`, as keywords.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelLoadError: The file is not a usable model.
        ModelAllocationError: The weights or the context do not fit into memory.
        InvalidParameterError: A load option is unknown or cannot work.

    Example:
        >>> with Llama("smollm2-135m-instruct") as llm:  # doctest: +SKIP
        ...     llm.create_chat_completion([{"role": "user", "content": "Hello!"}])
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        model_path: str | os.PathLike[str] | None = None,
        verbose: bool = False,
        progress: bool | None = None,
        **load_options: Any,
    ) -> None:
        self._closed = True  # until everything below has worked
        if (model is None) == (model_path is None):
            raise InvalidParameterError("give one model: Llama('name, path or hf:...')", parameter="model")
        if boolean("verbose", verbose):
            _show_log()
        from llamacpp_core.models import resolve_model

        self.options = _options(load_options)
        self._resolved = resolve_model(model if model is not None else model_path, progress=progress)  # type: ignore[arg-type]
        self._load(progress)

    def _load(self, progress: bool | None) -> None:
        with LoadProgress(self._resolved.name, progress) as on_progress:
            self._engine, self.info = load_engine(self._resolved, self.options, on_progress)
        self._vocab = Vocab(self._engine)
        self._chat = ChatPreparer(self._engine, self._vocab, self.info)
        self._completion = CompletionPreparer(self._engine, self._vocab, self.info)
        self._vectors = VectorPreparer(self._engine, self._vocab, self.info, _wordpiece(self._resolved, self.info))
        self._closed = False

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None = None,
        *,
        revision: str | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        verbose: bool = False,
        progress: bool | None = None,
        **load_options: Any,
    ) -> Llama:
        """Loads a model from the Hugging Face Hub, fetching it on first use.

        Args:
            repo_id: ``owner/repo``.
            filename: Name of the GGUF file, or a glob that matches one model.
            revision: Branch, tag or commit.
            local_dir: Folder to put the file into.
            cache_dir: Folder of the hub's cache.
            token: Token for gated repositories; None for the hub's own rules.
            verbose: Show llama.cpp's log on stderr.
            progress: Show progress on stderr. None: on a terminal only.
            load_options: As for :class:`Llama`.
        """
        from llamacpp_core.models import resolve_hub

        llama = cls.__new__(cls)
        llama._closed = True
        if verbose:
            _show_log()
        llama.options = _options(load_options)
        llama._resolved = resolve_hub(
            repo_id,
            filename,
            revision=revision,
            local_dir=local_dir,
            cache_dir=cache_dir,
            token=token,
            progress=progress,
        )
        llama._load(progress)
        return llama

    # Life

    def close(self) -> None:
        """Ends all requests with :class:`~llamacpp_core.errors.EngineClosedError` and frees the memory."""
        if not self._closed:
            self._closed = True
            self._engine.close()

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"{self!r} was not closed: use `with` or call close()", ResourceWarning, source=self)
            self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "info"):
            return "<Llama: not loaded>"
        state = "closed" if self._closed else f"n_ctx={self.info.n_ctx}, n_parallel={self.info.n_parallel}"
        return f"<Llama {self.info.name}: {self.info.architecture}, {self.info.quantization}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Llama holds native memory and cannot be pickled: pickle its options and load it again")

    # Text

    def create_completion(
        self,
        prompt: str | Sequence[int],
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | Sequence[str] | None = None,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        grammar: Any = None,
        logit_bias: Mapping[Any, float] | None = None,
        **more: Any,
    ) -> Any:
        """Continues a text.

        Args:
            prompt: Text, or token ids.
            suffix: Text to put behind the answer.
            max_tokens: Tokens to generate at most; None or 0: to the end of the context.
            temperature: 0 picks the likeliest token; higher is more random.
            top_p: Keep the likeliest tokens that together reach this probability.
            min_p: Drop tokens less likely than this fraction of the likeliest.
            typical_p: Locally typical sampling; 1 turns it off.
            logprobs: Alternatives to report per token; None for none.
            echo: Put the prompt in front of the answer.
            stop: Strings that end the answer.
            frequency_penalty: Lower a token's logit by this for each time it occurred.
            presence_penalty: Lower a token's logit by this once it occurred.
            repeat_penalty: Divide the logits of recent tokens by this; 1 turns it off.
            top_k: Keep this many likeliest tokens; 0 turns it off.
            stream: Return an iterator of chunks.
            seed: Makes the answer repeatable; None for a new one each time.
            tfs_z: Accepted at 1 only: llama.cpp has dropped tail-free sampling.
            mirostat_mode: 0, 1 or 2.
            mirostat_tau: Mirostat's target entropy.
            mirostat_eta: Mirostat's learning rate.
            model: The name to report in the response.
            grammar: A LlamaGrammar, or GBNF text.
            logit_bias: From token id to a number to add to its logit.
            more: ``n`` and the names in :data:`~llamacpp_core.sampling.EXTRA_FIELDS`.

        Returns:
            A ``CreateCompletionResponse``, or with ``stream`` an iterator of such chunks with ``close()``.

        Raises:
            InvalidParameterError: A parameter is unknown or cannot work.
            ContextOverflowError: The prompt is longer than the context.
        """
        params = _arguments(locals(), "prompt")
        prepared = self._completion.prepare(prompt, params)
        return self._run(prepared, stream)

    __call__ = create_completion

    async def acreate_completion(self, prompt: str | Sequence[int], *, stream: bool = False, **params: Any) -> Any:
        """:meth:`create_completion` for coroutines; with ``stream`` it gives an async iterator."""
        params = _defaults("create_completion") | params | {"stream": stream}
        size = len(prompt) if isinstance(prompt, str) else 0
        prepared = await aoff_loop(lambda: self._completion.prepare(prompt, params), size)
        return await self._arun(prepared, stream)

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: str | Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        grammar: Any = None,
        logit_bias: Mapping[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        n: int = 1,
        parallel_tool_calls: bool | None = None,
        reasoning_effort: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        stream_options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        """Answers a conversation, through the model's own chat template.

        Args:
            messages: OpenAI chat messages.
            functions: Deprecated form of ``tools``.
            function_call: Deprecated form of ``tool_choice``.
            tools: Functions that the model may call.
            tool_choice: "none", "auto", "required", or ``{"type": "function", "function": {"name": ...}}``.
            temperature: 0 picks the likeliest token; higher is more random.
            top_p: Keep the likeliest tokens that together reach this probability.
            top_k: Keep this many likeliest tokens; 0 turns it off.
            min_p: Drop tokens less likely than this fraction of the likeliest.
            typical_p: Locally typical sampling; 1 turns it off.
            stream: Return an iterator of chunks.
            stop: Strings that end the answer.
            seed: Makes the answer repeatable; None for a new one each time.
            response_format: ``{"type": "json_object"}``, or ``{"type": "json_schema", "json_schema": {...}}``.
            max_tokens: Tokens to generate at most; None or 0: to the end of the context.
            presence_penalty: Lower a token's logit by this once it occurred.
            frequency_penalty: Lower a token's logit by this for each time it occurred.
            repeat_penalty: Divide the logits of recent tokens by this; 1 turns it off.
            tfs_z: Accepted at 1 only: llama.cpp has dropped tail-free sampling.
            mirostat_mode: 0, 1 or 2.
            mirostat_tau: Mirostat's target entropy.
            mirostat_eta: Mirostat's learning rate.
            model: The name to report in the response.
            grammar: A LlamaGrammar, or GBNF text.
            logit_bias: From token id to a number to add to its logit.
            logprobs: Report the tokens' log-probabilities.
            top_logprobs: Alternatives to report per token.
            n: Answers to generate.
            parallel_tool_calls: Whether one answer may hold several calls.
            reasoning_effort: "none" to "xhigh", for templates that know it.
            chat_template_kwargs: Variables for the template.
            stream_options: ``{"include_usage": True}`` sends the usage as a last chunk of its own.
            more: ``continue_final_message``, ``add_generation_prompt``, ``reasoning_format``,
                ``reasoning_budget_tokens`` and the names in :data:`~llamacpp_core.sampling.EXTRA_FIELDS`.

        Returns:
            A ``CreateChatCompletionResponse``, or with ``stream`` an iterator of
            ``CreateChatCompletionStreamResponse`` with ``close()``; the last chunk holds the usage.

        Raises:
            InvalidMessageError: A message cannot be used; names its index.
            InvalidParameterError: Another argument is unknown or cannot work.
            ContextOverflowError: The conversation is longer than the context.
        """
        params = _arguments(locals(), "messages")
        prepared = self._chat.prepare(messages, params)
        return self._run(prepared, stream)

    async def acreate_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], *, stream: bool = False, **params: Any
    ) -> Any:
        """:meth:`create_chat_completion` for coroutines; with ``stream`` it gives an async iterator."""
        params = _defaults("create_chat_completion") | params | {"stream": stream}
        prepared = await aoff_loop(lambda: self._chat.prepare(messages, params), _size(messages, params))
        return await self._arun(prepared, stream)

    def _run(self, prepared: Prepared, streamed: bool) -> dict[str, Any] | Iterator[dict[str, Any]]:
        return stream(self._engine, prepared) if streamed else run(self._engine, prepared)

    async def _arun(self, prepared: Prepared, streamed: bool) -> dict[str, Any] | AsyncIterator[dict[str, Any]]:
        return astream(self._engine, prepared) if streamed else await arun(self._engine, prepared)

    # Vectors

    def embed(
        self,
        texts: str | Sequence[str] | Sequence[Sequence[int]],
        *,
        normalize: bool = True,
        overflow: str = "error",
        max_tokens: int | None = None,
        progress: bool | None = False,
    ) -> NDArray[np.float32]:
        """Embeds texts.

        Args:
            texts: One text, or several; a text may be a list of token ids.
            normalize: Scale the vectors to Euclidean length 1.
            overflow: What to do with a text that is too long for the model: "error", "truncate" it, or
                "chunk" it and average the pieces' vectors, weighted by their tokens.
            max_tokens: A limit below the model's own, in tokens.
            progress: Show a progress bar on stderr. None: on a terminal only.

        Returns:
            float32, shape [n, dim]; for a single text [dim].

        Raises:
            UnsupportedCapabilityError: The model was loaded without embeddings.
            ContextOverflowError: A text is too long, and ``overflow`` is "error".
        """
        single = isinstance(texts, str)
        batch = self._vectors.embedding(
            [texts] if single else texts, unit=normalize, overflow=overflow, max_tokens=max_tokens
        )
        self._collect(batch, progress)
        return batch.vectors()[0] if single else batch.vectors()

    async def aembed(
        self,
        texts: str | Sequence[str] | Sequence[Sequence[int]],
        *,
        normalize: bool = True,
        overflow: str = "error",
        max_tokens: int | None = None,
    ) -> NDArray[np.float32]:
        """:meth:`embed` for coroutines."""
        single = isinstance(texts, str)
        batch = await aoff_loop(
            lambda: self._vectors.embedding(
                [texts] if single else texts, unit=normalize, overflow=overflow, max_tokens=max_tokens
            ),
            sum(map(len, texts)),
        )
        await self._acollect(batch)
        return batch.vectors()[0] if single else batch.vectors()

    def create_embedding(self, input: str | Sequence[str], model: str | None = None, **params: Any) -> dict[str, Any]:
        """Embeds texts and answers in OpenAI's form.

        Args:
            input: One text, or several.
            model: The name to report.
            params: ``normalize``, ``overflow`` and ``max_tokens``, as for :meth:`embed`.
        """
        batch = self._embedding_batch(input, params)
        self._collect(batch, False)
        return self._embedding_response(batch, model)

    async def acreate_embedding(
        self, input: str | Sequence[str], model: str | None = None, **params: Any
    ) -> dict[str, Any]:
        """:meth:`create_embedding` for coroutines."""
        batch = await aoff_loop(lambda: self._embedding_batch(input, params), sum(map(len, input)))
        await self._acollect(batch)
        return self._embedding_response(batch, model)

    def _embedding_batch(self, texts: str | Sequence[str], params: dict[str, Any]) -> EmbeddingBatch:
        unknown = set(params) - {"normalize", "overflow", "max_tokens"}
        if unknown:
            raise unknown_name(unknown.pop(), ("normalize", "overflow", "max_tokens"), "parameter")
        return self._vectors.embedding(
            [texts] if isinstance(texts, str) else texts,
            unit=boolean("normalize", params.get("normalize", True)),
            overflow=params.get("overflow", "error"),
            max_tokens=params.get("max_tokens"),
        )

    def _embedding_response(self, batch: EmbeddingBatch, model: str | None) -> dict[str, Any]:
        rows = batch.vectors().tolist()
        return {
            "object": "list",
            "data": [{"object": "embedding", "embedding": row, "index": i} for i, row in enumerate(rows)],
            "model": model or self.info.name,
            "usage": {"prompt_tokens": batch.n_tokens, "total_tokens": batch.n_tokens},
        }

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        return_documents: bool = False,
    ) -> list[dict[str, Any]]:
        """Sorts documents by how well they answer a query.

        A cross-encoder gives its own score, an embedding model the cosine, any other model the
        probability of "yes" against "no" when asked; ``info.capabilities.rerank`` says which.

        Args:
            query: The question.
            documents: The texts to sort.
            top_n: Keep this many.
            return_documents: Put each document into its result.

        Returns:
            Best first: ``{"index": position in documents, "relevance_score": float}``.
        """
        if not documents:
            return []
        batch = self._vectors.rerank(query, documents)
        self._collect(batch, False)
        return _ranking(batch, documents, top_n, return_documents)

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        return_documents: bool = False,
    ) -> list[dict[str, Any]]:
        """:meth:`rerank` for coroutines."""
        if not documents:
            return []
        batch = await aoff_loop(lambda: self._vectors.rerank(query, documents), sum(map(len, documents)))
        await self._acollect(batch)
        return _ranking(batch, documents, top_n, return_documents)

    def _collect(self, batch: EmbeddingBatch | RerankBatch, progress: bool | None) -> None:
        if batch.plan is None:
            return
        request = self._engine.submit(batch.plan, batch.kind, batch.params)
        try:
            with batch_progress(batch.plan.n_prompts, progress) as advance:
                while not batch.done:
                    batch.add(request.next())
                    advance()
        finally:
            request.cancel()

    async def _acollect(self, batch: EmbeddingBatch | RerankBatch) -> None:
        if batch.plan is None:
            return
        request = self._engine.submit(batch.plan, batch.kind, batch.params)
        try:
            while not batch.done:
                batch.add(await request.anext())
        finally:
            request.cancel()

    # Tokens

    def tokenize(self, text: bytes | str, add_bos: bool = True, special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            text: UTF-8 bytes, or a string.
            add_bos: Add the tokens that the model expects around a text.
            special: Read the names of control tokens as those tokens.
        """
        return self._vocab.tokenize(text, add_special=add_bos, parse_special=special)

    def detokenize(self, tokens: Sequence[int], special: bool = False) -> bytes:
        """The text of token ids, as UTF-8 bytes.

        Args:
            tokens: Token ids.
            special: Write control tokens by their names instead of leaving them out.
        """
        return self._vocab.detokenize(tokens, special=special)

    def count_tokens(
        self,
        text: str | None = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **template: Any,
    ) -> int:
        """How many tokens a text, or a conversation with its template, has.

        Args:
            text: Plain text, counted without special tokens.
            messages: A conversation, counted as the model would read it.
            tools: Tools that go with the conversation.
            template: As for :meth:`apply_chat_template`.
        """
        if (text is None) == (messages is None):
            raise InvalidParameterError("give text or messages", parameter="text")
        if text is not None:
            return len(self._vocab.tokenize(text, add_special=False, parse_special=False))
        return self._chat.plan_for(messages, tools, template.pop("tool_choice", None), template).n_tokens()

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        tokenize: bool = False,
        tool_choice: str | Mapping[str, Any] | None = None,
        **template: Any,
    ) -> str | list[int]:
        """The prompt that a conversation becomes.

        Args:
            messages: The conversation.
            tools: Tools that go with it.
            tokenize: Return token ids instead of text.
            tool_choice: As for :meth:`create_chat_completion`.
            template: ``add_generation_prompt``, ``continue_final_message``, ``chat_template_kwargs``,
                ``reasoning_effort``.
        """
        plan = self._chat.plan_for(messages, tools, tool_choice, template)
        return plan.tokens() if tokenize else str(plan.info["prompt"])

    # What llama-cpp-python offers as methods

    def n_ctx(self) -> int:
        """Context length of one request, in tokens."""
        return self.info.n_ctx

    def n_embd(self) -> int:
        """Length of an embedding."""
        return self.info.n_embd

    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.info.n_vocab

    def token_bos(self) -> int:
        """The token that begins a prompt; -1 if there is none."""
        return self._vocab.bos

    def token_eos(self) -> int:
        """The token that ends an answer; -1 if there is none."""
        return self._vocab.eos

    def token_nl(self) -> int:
        """The newline token; -1 if there is none."""
        return self._vocab.nl

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the model file, without its long arrays."""
        return {key: value for key, value in self._resolved.header.metadata.items() if not hasattr(value, "count")}


def _arguments(names: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    """The keyword arguments of the calling method, with its ``**more`` merged in."""
    more = names.pop("more")
    return {name: value for name, value in names.items() if name != "self" and name not in leave_out} | more


@cache
def _defaults(method: str) -> dict[str, Any]:
    """The default values of a method's parameters, for its async twin."""
    import inspect

    parameters = inspect.signature(getattr(Llama, method)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _options(given: dict[str, Any]) -> LoadOptions:
    names = LoadOptions.__dataclass_fields__
    for name in given:
        if name not in names:
            raise unknown_name(name, names, "load option")
    return LoadOptions(**given)


def _size(messages: Any, params: Mapping[str, Any]) -> int:
    """Roughly how much text a chat request holds; tools make it costly to plan."""
    if params.get("tools") or params.get("functions") or params.get("response_format"):
        return sys.maxsize
    try:
        return sum(len(message.get("content") or "") for message in messages)
    except (TypeError, AttributeError):
        return 0


def _ranking(
    batch: EmbeddingBatch | RerankBatch, documents: Sequence[str], top_n: int | None, with_documents: bool
) -> list[dict[str, Any]]:
    if isinstance(batch, EmbeddingBatch):
        vectors = batch.vectors()
        scores = (vectors[1:] @ vectors[0]).tolist()
    else:
        scores = batch.scores
    order = sorted(range(len(documents)), key=lambda i: -scores[i])
    if top_n is not None:
        order = order[: integer(1)("top_n", top_n)]
    results = [{"index": i, "relevance_score": scores[i]} for i in order]
    if with_documents:
        for result in results:
            result["document"] = documents[result["index"]]
    return results


def _wordpiece(resolved: ResolvedModel, info: ModelInfo) -> Any:
    """BERT's own tokenizer where llama.cpp's differs from it; None for every other model."""
    if resolved.header.metadata.get("tokenizer.ggml.model") != "bert" or not info.capabilities.embedding:
        return None
    from llamacpp_core.models.wordpiece import WordPieceTokenizer

    return WordPieceTokenizer.from_gguf(resolved.path).encode


def _show_log() -> None:
    logger = logging.getLogger("llamacpp_core")
    if not any(getattr(handler, "llamacpp_verbose", False) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.llamacpp_verbose = True  # type: ignore[attr-defined]
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
