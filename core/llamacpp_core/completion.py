"""From the arguments of a text completion to a request of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamacpp_core._checks import boolean, check_text, integer, text
from llamacpp_core.chat import grammar_text
from llamacpp_core.engine import TASK_COMPLETION, Engine
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.info import ModelInfo
from llamacpp_core.results import CompletionAssembler
from llamacpp_core.runner import Prepared
from llamacpp_core.sampling import sampling_fields
from llamacpp_core.vocab import Vocab

__all__ = ["CompletionPreparer"]


class CompletionPreparer:
    """Plans text completions for one loaded model."""

    def __init__(self, engine: Engine, vocab: Vocab, info: ModelInfo) -> None:
        self._engine = engine
        self._vocab = vocab
        self._info = info

    def prepare(self, prompt: Any, params: Mapping[str, Any]) -> Prepared:
        """Checks and tokenises a text completion.

        Args:
            prompt: Text, or token ids.
            params: Every other argument of the call; None means "not given".

        Raises:
            InvalidParameterError: An argument is unknown or cannot work.
            ContextOverflowError: The prompt is longer than the context.
        """
        if not self._info.capabilities.completion:
            raise UnsupportedCapabilityError(
                f"{self._info.name} computes embeddings only: it cannot generate text"
            )
        args = {name: value for name, value in params.items() if value is not None}
        stream = boolean("stream", args.pop("stream", False))
        echo = boolean("echo", args.pop("echo", False))
        suffix = text("suffix", args.pop("suffix", ""))
        logprobs = args.pop("logprobs", None)
        n_logprobs = None if logprobs is None else integer(0, 100)("logprobs", logprobs)
        include_usage = boolean("include_usage", args.pop("include_usage", False))
        grammar = grammar_text(args.pop("grammar", None))
        model = text("model", args.pop("model", self._info.name))
        fields = sampling_fields(
            args,
            n_vocab=self._vocab.n_tokens,
            n_lora=len(self._info.lora),
            known=("echo", "suffix", "logprobs", "grammar", "stream"),
        )
        fields["stream"] = stream
        if grammar is not None:
            fields |= {"grammar": grammar, "grammar_type": "user"}
        if n_logprobs is not None:
            fields["n_probs"] = max(1, n_logprobs)
        tokens = self._tokens(prompt)
        assembler = CompletionAssembler(
            model=model,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=include_usage,
            echo=self._echo(prompt) if echo else "",
            suffix=suffix,
        )
        return Prepared(self._engine.plan_tokens([tokens]), TASK_COMPLETION, fields, assembler)

    def _tokens(self, prompt: Any) -> list[int]:
        if isinstance(prompt, str):
            tokens = self._vocab.tokenize(check_text("prompt", prompt), add_special=True, parse_special=True)
        else:
            tokens = self._vocab.check(prompt, "prompt")
        if not tokens:
            if self._vocab.bos < 0:
                raise InvalidParameterError("the prompt has no tokens: give some text", parameter="prompt")
            tokens = [self._vocab.bos]
        if len(tokens) >= self._info.n_ctx:
            raise ContextOverflowError(
                f"the prompt has {len(tokens)} tokens and the context of one request holds {self._info.n_ctx}: "
                "shorten it or load the model with a larger n_ctx",
                n_prompt_tokens=len(tokens),
                n_ctx=self._info.n_ctx,
                parameter="prompt",
            )
        return tokens

    def _echo(self, prompt: Any) -> str:
        if isinstance(prompt, str):
            return prompt
        return self._vocab.detokenize(prompt, special=False).decode("utf-8", "replace")
