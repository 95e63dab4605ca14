"""The public class: a model in this process, with the methods that OpenAI's clients taught everybody."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, unknown_name
from llamacpp_core.chat import ChatPreparer
from llamacpp_core.completion import CompletionPreparer
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.info import ModelInfo
from llamacpp_core.llama_tokens import TokenMethods
from llamacpp_core.llama_vectors import VectorMethods
from llamacpp_core.loading import load_engine
from llamacpp_core.options import LoadOptions
from llamacpp_core.progress import LoadProgress
from llamacpp_core.runner import Prepared, aoff_loop, arun, astream, run, stream
from llamacpp_core.vectors import VectorPreparer
from llamacpp_core.vocab import Vocab

if TYPE_CHECKING:
    from llamacpp_core.models import ResolvedModel

__all__ = ["Llama"]


class Llama(VectorMethods, TokenMethods):
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
        self._vectors = VectorPreparer(
            self._engine, self._vocab, self.info, _wordpiece(self._resolved, self.info)
        )
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
            warnings.warn(
                f"{self!r} was not closed: use `with` or call close()", ResourceWarning, source=self
            )
            self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "info"):
            return "<Llama: not loaded>"
        state = "closed" if self._closed else f"n_ctx={self.info.n_ctx}, n_parallel={self.info.n_parallel}"
        return f"<Llama {self.info.name}: {self.info.architecture}, {self.info.quantization}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Llama holds native memory and cannot be pickled: pickle its options and load it again"
        )

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

    async def acreate_completion(
        self, prompt: str | Sequence[int], *, stream: bool = False, **params: Any
    ) -> Any:
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

    async def _arun(
        self, prepared: Prepared, streamed: bool
    ) -> dict[str, Any] | AsyncIterator[dict[str, Any]]:
        return astream(self._engine, prepared) if streamed else await arun(self._engine, prepared)


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
