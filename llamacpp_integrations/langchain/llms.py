"""Text completion with llama.cpp in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._time_limits import anext_timed, atimed, run_in_loop, timed_stream
from llamacpp_integrations.langchain._batch import SharedBatch, gather
from llamacpp_integrations.langchain._errors import translated_errors
from llamacpp_integrations.langchain._model import LlamaCppModel, check_generates
from llamacpp_integrations.langchain._sampling import Sampling

__all__ = ["LlamaCppLLM"]


class LlamaCppLLM(SharedBatch, Sampling, LlamaCppModel, BaseLLM):
    """Text completion with llama.cpp in this process: the model continues the prompt, without a template.

    Setup:
        ``pip install "llamacpp-integrations[langchain,models]"``.

    Key init args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        temperature: 0 picks the likeliest token; higher is more random. Default 0.8.
        max_tokens: Tokens to generate at most. Default: to the end of the context.
        stop: Strings that end the text.
        n_ctx, n_parallel, n_gpu_layers, ...: Any field of :class:`~llamacpp_core.LoadOptions`.

    Instantiate:
        >>> from llamacpp_integrations.langchain import LlamaCppLLM
        >>> llm = LlamaCppLLM(model="smollm2-135m-instruct", temperature=0, max_tokens=16)  # doctest: +SKIP

    Invoke:
        >>> llm.invoke("The capital of France is")  # doctest: +SKIP
        ' Paris.'

    Stream:
        >>> for piece in llm.stream("Once upon a time"):  # doctest: +SKIP
        ...     print(piece, end="", flush=True)

    Async:
        >>> await llm.abatch(["One, two,", "Red, green,"])  # doctest: +SKIP
    """

    temperature: float = 0.8
    """0 picks the likeliest token; higher is more random."""

    logprobs: int | None = None
    """Alternatives to report per token, in ``generation_info``. None: none."""

    echo: bool = False
    """Begin the result with the prompt."""

    suffix: str | None = None
    """Text that follows the answer."""

    @property
    def _llm_type(self) -> str:
        return "llamacpp"

    @property
    def _default_params(self) -> dict[str, Any]:
        values = {"logprobs": self.logprobs, "suffix": self.suffix, "echo": self.echo or None}
        return self._sampling_params | {name: value for name, value in values.items() if value is not None}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._identity | self._default_params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "llamacpp"
        params.setdefault("ls_model_name", self.client.info.name)
        return params

    def _settle(self) -> None:
        super()._settle()
        check_generates(self.client.info)

    def _params(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        self._check_call(given)
        params = {"max_tokens": None} | self._default_params | given
        for name in ("stream", "timeout"):
            params.pop(name, None)
        if stop is not None:
            params["stop"] = stop
        name = params.pop("model", None)
        if name is not None and name not in (self.model, self.client.info.name):
            raise InvalidParameterError(
                f"this object runs {self.model or self.client.info.name!r}, not {name!r}", parameter="model"
            )
        return params

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> LLMResult:
        if not prompts:
            return LLMResult(generations=[])
        if len(prompts) != 1 or self._time_limit(kwargs) is not None:
            return run_in_loop(lambda: self._agenerate(prompts, stop, **kwargs))
        with translated_errors():
            return _result([self.client.create_completion(prompts[0], **self._params(stop, kwargs))])

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> LLMResult:
        if not prompts:
            return LLMResult(generations=[])
        with translated_errors():
            params = self._params(stop, kwargs)
            async with atimed(self._time_limit(kwargs)):
                calls = [
                    lambda prompt=prompt: self.client.acreate_completion(prompt, **params)
                    for prompt in prompts
                ]
                return _result(await gather(calls))

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        with translated_errors():
            params = self._params(stop, kwargs)
            _check_single(params)
            timeout = self._time_limit(kwargs)
            if timeout is None:
                source = self.client.create_completion(prompt, stream=True, **params)
            else:
                source = timed_stream(
                    lambda: self.client.acreate_completion(prompt, stream=True, **params), timeout
                )
            try:
                for chunk in source:
                    piece = _chunk(chunk)
                    if run_manager:
                        run_manager.on_llm_new_token(piece.text, chunk=piece)
                    yield piece
            finally:
                source.close()

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        with translated_errors():
            params = self._params(stop, kwargs)
            _check_single(params)
            timeout = self._time_limit(kwargs)
            deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
            async with atimed(timeout):
                source: Any = await self.client.acreate_completion(prompt, stream=True, **params)
            try:
                while (chunk := await anext_timed(source, deadline)) is not None:
                    piece = _chunk(chunk)
                    if run_manager:
                        await run_manager.on_llm_new_token(piece.text, chunk=piece)
                    yield piece
            finally:
                await source.aclose()

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        with translated_errors():
            return self.client.tokenize(text, add_bos=False)


def _check_single(params: Mapping[str, Any]) -> None:
    if params.get("n", 1) != 1:
        raise InvalidParameterError("a stream gives one answer: n must be 1", parameter="n")


def _chunk(chunk: Mapping[str, Any]) -> GenerationChunk:
    choice = chunk["choices"][0]
    info = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    if choice["finish_reason"] is not None:
        info |= {"finish_reason": choice["finish_reason"]} | _info(chunk)
    return GenerationChunk(text=choice["text"], generation_info=info or None)


def _info(response: Mapping[str, Any]) -> dict[str, Any]:
    names = {"model": "model_name", "usage": "token_usage", "timings": "timings"}
    names["system_fingerprint"] = "system_fingerprint"
    return {new: response[old] for old, new in names.items() if old in response}


def _result(responses: list[dict[str, Any]]) -> LLMResult:
    generations = [
        [
            Generation(
                text=choice["text"],
                generation_info={"finish_reason": choice["finish_reason"]}
                | ({"logprobs": choice["logprobs"]} if choice.get("logprobs") else {})
                | _info(response),
            )
            for choice in response["choices"]
        ]
        for response in responses
    ]
    counted = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = {name: sum(response["usage"][name] for response in responses) for name in counted}
    return LLMResult(
        generations=generations, llm_output={"token_usage": usage, "model_name": responses[0]["model"]}
    )
