"""From the arguments of a text completion to a request of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, check_text, integer, text
from llamacpp_core.engine.engine import TASK_COMPLETION, Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.chat import grammar_text
from llamacpp_core.request.runner import Prepared
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_core.response.assemblers import CompletionAssembler

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocab import Vocab

__all__ = ["CompletionPreparer"]

_KNOWN = ("best_of", "echo", "grammar", "include_usage", "logprobs", "stream", "stream_options", "suffix")


class CompletionPreparer:
    """Plans text completions for one loaded model.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        info: Facts about the model.
        suffix_first: Filling in the middle puts the suffix before the prefix.
    """

    def __init__(self, engine: Engine, vocab: Vocab, info: ModelInfo, *, suffix_first: bool = False) -> None:
        self._engine = engine
        self._vocab = vocab
        self._info = info
        self._suffix_first = suffix_first

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
        suffix = args.pop("suffix", None)
        logprobs = args.pop("logprobs", None)
        n_logprobs = None if logprobs is None else integer(0, 100)("logprobs", logprobs)
        include_usage = _include_usage(args)
        grammar = grammar_text(args.pop("grammar", None))
        model = text("model", args.pop("model", self._info.name))
        best_of = _best_of(args, stream)
        fields = sampling_fields(
            args, n_vocab=self._vocab.n_tokens, n_lora=len(self._info.lora), known=_KNOWN
        )
        best = None if best_of is None else fields.get("n", 1)
        fields |= {"stream": stream} | ({} if best_of is None else {"n": best_of})
        if grammar is not None:
            fields |= {"grammar": grammar, "grammar_type": "user"}
        if n_logprobs is not None or best is not None:
            fields["n_probs"] = max(1, n_logprobs or 0)
        if not isinstance(prompt, str):
            prompt = self._vocab.check(prompt, "prompt", or_text=True)
        tokens = self._tokens(prompt) if suffix is None else self._infill(prompt, suffix)
        prompt_text = self._text(prompt)
        assembler = CompletionAssembler(
            model=model,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=include_usage,
            echo=prompt_text if echo else "",
            offset=0 if echo else len(prompt_text),
            best=best,
            piece=self._vocab.piece,
        )
        return Prepared(self._engine.plan_tokens([tokens]), TASK_COMPLETION, fields, assembler)

    def _tokens(self, prompt: str | list[int]) -> list[int]:
        if isinstance(prompt, str):
            tokens = self._vocab.tokenize(check_text("prompt", prompt), add_special=True, parse_special=True)
        else:
            tokens = prompt
        if not tokens:
            if self._vocab.bos < 0:
                raise InvalidParameterError("the prompt has no tokens: give some text", parameter="prompt")
            tokens = [self._vocab.bos]
        return self._fitting(tokens)

    def _infill(self, prompt: str | list[int], suffix: Any) -> list[int]:
        """Prompt and suffix around the place to fill in, in the form that the model was trained on."""
        fim = self._vocab.fim()
        if len(fim) < 3:
            raise UnsupportedCapabilityError(
                f"{self._info.name} has no tokens for filling in the middle, so it cannot take a suffix into "
                "account: leave suffix out, and append the text to the answer yourself",
                parameter="suffix",
            )

        def ids(name: str, value: str | list[int]) -> list[int]:
            if isinstance(value, str):
                return self._vocab.tokenize(check_text(name, value), add_special=False, parse_special=False)
            return value

        before = [fim["pre"], *ids("prompt", prompt)]
        after = [fim["suf"], *ids("suffix", text("suffix", suffix))]
        parts = [*after, *before] if self._suffix_first else [*before, *after]
        start = [self._vocab.bos] if self._vocab.add_bos and self._vocab.bos >= 0 else []
        return self._fitting([*start, *parts, fim["mid"]])

    def _fitting(self, tokens: list[int]) -> list[int]:
        if len(tokens) >= self._info.n_ctx:
            raise ContextOverflowError(
                f"the prompt has {len(tokens)} tokens and the context of one request holds "
                f"{self._info.n_ctx}: shorten it or load the model with a larger n_ctx",
                n_prompt_tokens=len(tokens),
                n_ctx=self._info.n_ctx,
                parameter="prompt",
            )
        return tokens

    def _text(self, prompt: str | list[int]) -> str:
        if isinstance(prompt, str):
            return prompt
        return self._vocab.detokenize(prompt, special=False).decode("utf-8", "replace")


def _include_usage(args: dict[str, Any]) -> bool:
    options = args.pop("stream_options", None)
    if options is not None:
        if not isinstance(options, Mapping) or set(options) - {"include_usage"}:
            raise InvalidParameterError(
                "stream_options must be {'include_usage': bool}", parameter="stream_options"
            )
        args.setdefault("include_usage", options.get("include_usage", False))
    return boolean("include_usage", args.pop("include_usage", False))


def _best_of(args: dict[str, Any], stream: bool) -> int | None:
    """How many answers to choose from, if any are to be left out."""
    value = args.pop("best_of", None)
    if value is None:
        return None
    best_of, n = int(integer(1, 1024)("best_of", value)), args.get("n", 1)
    if isinstance(n, int) and best_of < n:
        raise InvalidParameterError(f"best_of ({best_of}) must be at least n ({n})", parameter="best_of")
    if stream and best_of != n:
        raise InvalidParameterError(
            "best_of cannot be streamed: which answer is best is known at the end", parameter="best_of"
        )
    return None if best_of == n else best_of
