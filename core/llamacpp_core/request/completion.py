"""From the arguments of a text completion to a request of the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, check_text, integer, text
from llamacpp_core.engine.engine import TASK_COMPLETION, Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.engine.python_loop.callbacks import callbacks
from llamacpp_core.errors import ContextOverflowError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.chat_settings import include_usage
from llamacpp_core.request.constraints import grammar_text
from llamacpp_core.request.runner import Prepared
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_core.response.assemblers import CompletionAssembler

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["CompletionPreparer", "CompletionSettings", "read_completion_settings"]


@dataclasses.dataclass(frozen=True, slots=True)
class CompletionSettings:
    """What a text completion was asked for, the prompt aside.

    Attributes:
        suffix: Text that comes after the answer; None for none.
        echo: Put the prompt in front of the answer.
        best_of: Answers to generate and choose the likeliest from; None to report all.
        grammar: GBNF text that the answer has to follow.
        stream: Answer in chunks.
        include_usage: Send the usage as a last chunk of its own.
        n_logprobs: Alternatives per token to report; None for no log-probabilities.
        model: The name to report; None for the model's own.
        sampling: llama-server's sampling fields.
        processors: Functions of (token ids so far, logits) that return logits.
        criteria: Functions of (token ids so far, logits) that say whether to stop.
    """

    suffix: str | None
    echo: bool
    best_of: int | None
    grammar: str | None
    stream: bool
    include_usage: bool
    n_logprobs: int | None
    model: str | None
    sampling: dict[str, Any]
    processors: tuple[Callable[..., Any], ...]
    criteria: tuple[Callable[..., Any], ...]


#: What is read here; everything else has to be a sampling parameter.
_READ_HERE = frozenset(
    {"best_of", "echo", "grammar", "logits_processor", "logprobs", "model", "stopping_criteria", "stream"}
    | {"stream_options", "suffix"}
)
_N_LOGPROBS = integer(0, 100)


def read_completion_settings(
    arguments: Mapping[str, Any], *, n_vocab: int, lora: Collection[int] = ()
) -> CompletionSettings:
    """Reads and checks every argument of a text completion but the prompt.

    Args:
        arguments: The arguments by name. None stands for one that was not given.
        n_vocab: Size of the vocabulary.
        lora: The numbers of the LoRA adapters that are loaded.

    Raises:
        InvalidParameterError: An argument is unknown or cannot work.
        GrammarError: The grammar is not usable.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    stream, logprobs = boolean("stream", given.get("stream", False)), given.get("logprobs")
    sampling = sampling_fields(
        {name: value for name, value in given.items() if name not in _READ_HERE},
        n_vocab=n_vocab,
        lora=lora,
        known=sorted(_READ_HERE),
    )
    return CompletionSettings(
        suffix=text("suffix", given["suffix"]) if "suffix" in given else None,
        echo=boolean("echo", given.get("echo", False)),
        best_of=_best_of(given.get("best_of"), sampling.get("n", 1), stream),
        grammar=grammar_text(given.get("grammar")),
        stream=stream,
        include_usage=include_usage(given.get("stream_options")),
        n_logprobs=None if logprobs is None else int(_N_LOGPROBS("logprobs", logprobs)),
        model=text("model", given["model"]) if "model" in given else None,
        sampling=sampling,
        processors=tuple(callbacks("logits_processor", given.get("logits_processor"))),
        criteria=tuple(callbacks("stopping_criteria", given.get("stopping_criteria"))),
    )


def _best_of(value: Any, n: int, stream: bool) -> int | None:
    """How many answers to choose from, if any are to be left out."""
    if value is None:
        return None
    best_of = int(integer(1, 1024)("best_of", value))
    if best_of < n:
        raise InvalidParameterError(f"best_of ({best_of}) must be at least n ({n})", parameter="best_of")
    if stream and best_of != n:
        raise InvalidParameterError(
            "best_of cannot be streamed: which answer is best is known at the end", parameter="best_of"
        )
    return None if best_of == n else best_of


class CompletionPreparer:
    """Plans text completions for one loaded model.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        info: Facts about the model.
        suffix_first: Filling in the middle puts the suffix before the prefix.
    """

    def __init__(
        self, engine: Engine, vocab: Vocabulary, info: ModelInfo, *, suffix_first: bool = False
    ) -> None:
        self._engine = engine
        self._vocab = vocab
        self._info = info
        self._suffix_first = suffix_first

    def prepare(self, prompt: Any, settings: CompletionSettings) -> Prepared:
        """Checks and tokenizes the prompt of a text completion.

        Args:
            prompt: Text, or token ids.
            settings: What the call asks for.

        Raises:
            InvalidParameterError: The prompt is neither.
            UnsupportedCapabilityError: The model cannot generate, or cannot fill in the middle.
            ContextOverflowError: The prompt is longer than the context.
        """
        if not self._info.capabilities.completion:
            raise UnsupportedCapabilityError(
                f"{self._info.name} computes embeddings only: it cannot generate text"
            )
        n_logprobs, best_of = settings.n_logprobs, settings.best_of
        fields = settings.sampling | {"stream": settings.stream}
        n = fields.get("n", 1)
        if best_of is not None:
            fields["n"] = best_of
        if settings.grammar is not None:
            fields |= {"grammar": settings.grammar, "grammar_type": "user"}
        if n_logprobs is not None or best_of is not None:
            fields["n_probs"] = max(1, n_logprobs or 0)
        if not isinstance(prompt, str):
            prompt = self._vocab.check_all(prompt, "prompt", or_text=True)
        tokens = self._tokens(prompt) if settings.suffix is None else self._infill(prompt, settings.suffix)
        shown = self._text(prompt)
        assembler = CompletionAssembler(
            model=settings.model or self._info.name,
            n=fields.get("n", 1),
            n_logprobs=n_logprobs,
            include_usage=settings.include_usage,
            echo=shown if settings.echo else "",
            offset=0 if settings.echo else len(shown),
            best=None if best_of is None else n,
            piece=self._vocab.token_to_piece,
        )
        return Prepared(
            self._engine.plan_tokens([tokens]),
            TASK_COMPLETION,
            fields,
            assembler,
            processors=settings.processors,
            criteria=settings.criteria,
            prompt_logprobs=settings.echo and n_logprobs is not None,
        )

    def _tokens(self, prompt: str | list[int]) -> list[int]:
        if isinstance(prompt, str):
            tokens = self._vocab.tokenize(check_text("prompt", prompt), add_special=True, parse_special=True)
        else:
            tokens = prompt
        if not tokens:
            if self._vocab.bos is None:
                raise InvalidParameterError("the prompt has no tokens: give some text", parameter="prompt")
            tokens = [self._vocab.bos]
        return self._fitting(tokens)

    def _infill(self, prompt: str | list[int], suffix: str) -> list[int]:
        """Prompt and suffix around the place to fill in, in the form that the model was trained on."""
        special = self._vocab.special_tokens
        if not {"fim_pre", "fim_suf", "fim_mid"} <= special.keys():
            raise UnsupportedCapabilityError(
                f"{self._info.name} has no tokens for filling in the middle, so it cannot take a suffix into "
                "account: leave suffix out, and append the text to the answer yourself",
                parameter="suffix",
            )

        def ids(name: str, value: str | list[int]) -> list[int]:
            if isinstance(value, str):
                return self._vocab.tokenize(check_text(name, value), add_special=False, parse_special=False)
            return value

        before = [special["fim_pre"], *ids("prompt", prompt)]
        after = [special["fim_suf"], *ids("suffix", suffix)]
        parts = [*after, *before] if self._suffix_first else [*before, *after]
        start = [special["bos"]] if self._vocab.adds_bos and "bos" in special else []
        return self._fitting([*start, *parts, special["fim_mid"]])

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
        return self._vocab.detokenize(prompt)
