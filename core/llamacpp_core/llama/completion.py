"""The text completion methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_core.request.runner import Prepared, Runs, aoff_loop, arun, astream, run, stream

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.engine.load.options import LoadOptions
    from llamacpp_core.engine.python_loop.sessions import SessionPool
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.llama.settings import Settings
    from llamacpp_core.lowlevel.vocab import Vocab
    from llamacpp_core.request.completion import CompletionPreparer
    from llamacpp_core.types import CompletionParameters, CreateCompletionResponse

__all__ = ["CompletionMethods", "call_arguments", "default_arguments"]


class CompletionMethods:
    """Text completion; mixed into ``Llama``, which sets the attributes."""

    info: ModelInfo
    settings: Settings
    _engine: Engine
    _vocab: Vocab
    _completion: CompletionPreparer
    _sessions: SessionPool
    options: LoadOptions
    _seed: int | None
    _last: Prepared | None

    @overload
    def create_completion(
        self,
        prompt: str | Sequence[int],
        *,
        stream: Literal[True],
        **parameters: Unpack[CompletionParameters],
    ) -> Generator[CreateCompletionResponse, None, None]: ...

    @overload
    def create_completion(
        self,
        prompt: str | Sequence[int],
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[CompletionParameters],
    ) -> CreateCompletionResponse: ...

    @overload
    def create_completion(
        self, prompt: str | Sequence[int], *arguments: Any, **parameters: Any
    ) -> CreateCompletionResponse | Generator[CreateCompletionResponse, None, None]: ...

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
        stopping_criteria: Any = None,
        logits_processor: Any = None,
        grammar: LlamaGrammar | str | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        n: int = 1,
        best_of: int | None = None,
        **more: Any,
    ) -> CreateCompletionResponse | Generator[CreateCompletionResponse, None, None]:
        """Continues a text.

        Args:
            prompt: Text, or token ids. Names of control tokens in a text become those tokens.
            suffix: Text that comes after the answer, for models that can fill in the middle.
            max_tokens: Tokens to generate at most; None, 0 or less: to the end of the context.
            temperature: 0 picks the likeliest token; higher is more random.
            top_p: Keep the likeliest tokens that together reach this probability.
            min_p: Drop tokens less likely than this fraction of the likeliest.
            typical_p: Locally typical sampling; 1 turns it off.
            logprobs: Alternatives to report per token; None for none. With ``echo`` also of the prompt.
            echo: Put the prompt in front of the answer.
            stop: Strings that end the answer.
            frequency_penalty: Lower a token's logit by this for each time it occurred.
            presence_penalty: Lower a token's logit by this once it occurred.
            repeat_penalty: Divide the logits of recent tokens by this; 1 turns it off.
            top_k: Keep this many likeliest tokens; 0 turns it off.
            stream: Return an iterator of chunks.
            seed: Makes the random choices the same for the same logits; None for new ones each time. The
                logits of the same request can differ in their last digits with what runs beside it and what
                is cached, and then an answer takes another turn: ``deterministic=True`` rules that out.
            tfs_z: Accepted at 1 only: llama.cpp has dropped tail-free sampling.
            mirostat_mode: 0, 1 or 2.
            mirostat_tau: Mirostat's target entropy.
            mirostat_eta: Mirostat's learning rate.
            model: The name to report in the response.
            stopping_criteria: A function of (token ids so far, logits) that says whether to stop, or
                several in a list. The request then runs in a context of its own, beside the batch.
            logits_processor: A function of (token ids so far, logits) that returns logits, or several in a
                list; runs as ``stopping_criteria`` do.
            grammar: A LlamaGrammar, or GBNF text.
            logit_bias: From token id to a number to add to its logit; -inf or False bans it.
            n: Answers to generate.
            best_of: Answers to generate and to choose the ``n`` likeliest from, per token.
            more: ``stream_options`` (``{"include_usage": True}``), ``lora`` (from the position of an
                adapter to its scale, for this request), ``deterministic`` (the same request gives the same
                tokens, whatever runs beside it and is cached, in this process or another on the same
                machine; without a seed, the seed is 0. It is computed in steps of its own, which slows down
                what runs beside it, and uses of the cache only whole steps of ``n_batch`` tokens that
                requests of its kind have left) and the names in
                :data:`~llamacpp_core.request.sampling.EXTRA_FIELDS`.

        Returns:
            A ``CreateCompletionResponse``, or with ``stream`` an iterator of such chunks with ``close()``.

        Raises:
            InvalidParameterError: A parameter is unknown or cannot work.
            UnsupportedCapabilityError: The model cannot do what was asked.
            ContextOverflowError: The prompt is longer than the context.
        """
        params = call_arguments(locals(), "prompt")
        runs, prepared = self._prepare_completion(prompt, params)
        return self._run(prepared, stream, runs)  # type: ignore[return-value]

    __call__ = create_completion

    @overload
    async def acreate_completion(
        self,
        prompt: str | Sequence[int],
        *,
        stream: Literal[True],
        **parameters: Unpack[CompletionParameters],
    ) -> AsyncGenerator[CreateCompletionResponse, None]: ...

    @overload
    async def acreate_completion(
        self,
        prompt: str | Sequence[int],
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[CompletionParameters],
    ) -> CreateCompletionResponse: ...

    async def acreate_completion(
        self, prompt: str | Sequence[int], *, stream: bool = False, **parameters: Any
    ) -> CreateCompletionResponse | AsyncGenerator[CreateCompletionResponse, None]:
        """:meth:`create_completion` for coroutines; with ``stream`` it gives an async iterator."""
        params = default_arguments(CompletionMethods.create_completion) | parameters | {"stream": stream}
        size = len(prompt) if isinstance(prompt, str) else 0
        runs, prepared = await aoff_loop(lambda: self._prepare_completion(prompt, params), size)
        return await self._arun(prepared, stream, runs)  # type: ignore[return-value]

    # What both kinds of completion share

    def _prepare_completion(self, prompt: Any, params: dict[str, Any]) -> tuple[Runs, Prepared]:
        runs = self._runs(
            params, prompt_logprobs=params.get("echo") is True and params.get("logprobs") is not None
        )
        return runs, self._completion.prepare(prompt, self._with_defaults(params))

    def _with_defaults(self, params: dict[str, Any]) -> dict[str, Any]:
        """The arguments with what was set for the whole model where the call says nothing."""
        if params.get("seed") is None and self._seed is not None:
            params = params | {"seed": self._seed}
        if params.get("deterministic") is None and self.options.deterministic:
            params = params | {"deterministic": True}
        if params.get("deterministic") is True:
            self._check_repeatable()
        if self.info.lora and params.get("lora") is None:
            # llama-server forgets to clear a slot's cache where a request names no adapters.
            params = params | {"lora": {i: scale for i, (_, scale) in enumerate(self.info.lora)}}
        if self.settings.last_n_tokens_size != 64 and params.get("repeat_last_n") is None:
            params = params | {"repeat_last_n": self.settings.last_n_tokens_size}
        return params

    def _check_repeatable(self) -> None:
        if self.options.kv_unified or not self.info.prompt_cache.shares_prefixes:
            raise UnsupportedCapabilityError(
                "deterministic=True needs a cache of its own for each request (kv_unified=False), and a "
                "build with the changes of llama.cpp (LLAMACPP_CHANGES=ON)",
                parameter="deterministic",
            )

    def _runs(self, params: dict[str, Any], *, prompt_logprobs: bool = False) -> Runs:
        """What is to run a request: the engine, unless Python takes part in it. Takes the functions out."""
        from llamacpp_core.engine.python_loop.callbacks import callbacks

        processors = callbacks("logits_processor", params.pop("logits_processor", None))
        criteria = callbacks("stopping_criteria", params.pop("stopping_criteria", None))
        if not (processors or criteria or prompt_logprobs):
            return self._engine
        from llamacpp_core.engine.python_loop.loop import CustomLoop

        return CustomLoop(
            self._sessions,
            self._vocab,
            self.info,
            processors=processors,
            criteria=criteria,
            prompt_logprobs=prompt_logprobs,
        )

    def _run(
        self, prepared: Prepared, streamed: bool, runs: Runs
    ) -> dict[str, Any] | Generator[dict[str, Any], None, None]:
        self._last = prepared
        return stream(runs, prepared) if streamed else run(runs, prepared)

    async def _arun(
        self, prepared: Prepared, streamed: bool, runs: Runs
    ) -> dict[str, Any] | AsyncGenerator[dict[str, Any], None]:
        self._last = prepared
        return astream(runs, prepared) if streamed else await arun(runs, prepared)


def call_arguments(names: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    """The keyword arguments of the calling method, with its ``**more`` merged in."""
    more: dict[str, Any] = names.pop("more")
    return {name: value for name, value in names.items() if name != "self" and name not in leave_out} | more


@cache
def default_arguments(method: Callable[..., Any]) -> dict[str, Any]:
    """The default values of a method's parameters, for its async twin."""
    import inspect

    parameters = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
