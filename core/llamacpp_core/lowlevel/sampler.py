"""Choosing the next token: chains of llama.cpp's samplers, and of samplers written in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from llamacpp_core._checks import integer, number
from llamacpp_core.errors import (
    EngineError,
    GenerationError,
    GrammarError,
    InvalidParameterError,
)
from llamacpp_core.lowlevel import _sampler_arguments as arguments
from llamacpp_core.lowlevel._owned import NativeHandle, NativeObject
from llamacpp_core.lowlevel.python_sampler import PythonSampler, new_python_sampler, raise_pending
from llamacpp_core.native import checked, ffi, lib, text

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.candidates import Candidates
    from llamacpp_core.lowlevel.context import Context
    from llamacpp_core.lowlevel.model import Model

__all__ = ["Sampler"]

# Their number of candidates makes infill() affordable: it compares every pair.
_TRUNCATING = {"top_k", "top_p", "min_p", "typical", "top_n_sigma"}


class Sampler(NativeObject):
    """A chain of samplers, built by calling its methods in the order of use.

    ::

        sampler = Sampler(model).top_k(40).top_p(0.95).temp(0.8).dist(seed=1)
        token = sampler.sample(context)

    The last one chooses the token: :meth:`greedy`, :meth:`dist`, :meth:`mirostat`, :meth:`mirostat_v2`,
    :meth:`adaptive_p` or a Python sampler that selects. ``min_keep`` is the number of candidates that a
    sampler leaves in any case. ``seed=None`` draws a seed.

    Args:
        model: The model whose tokens are sampled. It stays usable until the chain is closed.
    """

    def __init__(self, model: Model) -> None:
        pointer = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        self._start(model, pointer, [], selects=False)

    def _start(self, model: Model, pointer: Any, names: list[str], *, selects: bool) -> None:
        model._pointer  # noqa: B018  # raises when closed
        super().__init__(NativeHandle(pointer, lib.llama_sampler_free, model._handle), model)
        self.model = model
        self._names = names
        self._selects = selects

    # using it

    def sample(self, context: Context, index: int = -1, *, accept: bool = True) -> int:
        """Chooses a token from the logits of the last batch.

        Args:
            context: Has just decoded.
            index: Which output: an index in the batch, or counted from the end when negative.
            accept: Whether to :meth:`accept` the token too.

        Raises:
            InvalidParameterError: The chain ends without choosing, or there are no logits for ``index``.
            GenerationError: Every token is forbidden (by a grammar, a bias, a Python sampler).
            BaseException: Whatever a Python sampler raised.
        """
        if context.model._handle is not self.model._handle:
            raise InvalidParameterError(
                "the context runs another model than this sampler's", parameter="context"
            )
        if not self._selects:
            raise self._no_choice()
        index = context._check_output(index)
        with self._exclusive(), context._exclusive():
            token = int(self._call(lib.lc_sample, self._pointer, context._pointer, index))
            if token < 0:
                raise self._no_token(token, index)
            if accept:
                self._call(lib.llama_sampler_accept, self._pointer, token)
            return token

    def apply(self, candidates: Candidates) -> None:
        """Runs the chain over candidates, without accepting anything."""
        with self._exclusive():
            self._call(lib.llama_sampler_apply, self._pointer, candidates._native)

    def accept(self, token: int) -> None:
        """Tells the chain which token was chosen: penalties, grammars and the like go on from it.

        Raises:
            GrammarError: The chain's grammar does not allow the token.
        """
        self.model.vocabulary.check(token)
        with self._exclusive():
            self._call(lib.llama_sampler_accept, self._pointer, token, error=GrammarError)

    def reset(self) -> None:
        """Forgets the tokens that were accepted, and starts the random numbers again."""
        with self._exclusive():
            self._call(lib.llama_sampler_reset, self._pointer)

    def clone(self) -> Sampler:
        """A chain in the same state that goes its own way."""
        with self._exclusive():
            pointer = self._call(lib.llama_sampler_clone, self._pointer)
        twin = type(self).__new__(type(self))
        twin._start(self.model, pointer, list(self._names), selects=self._selects)
        return twin

    @property
    def seed(self) -> int | None:
        """The seed in use; None when nothing in the chain draws random numbers."""
        found = int(lib.llama_sampler_get_seed(self._pointer))
        return None if found == lib.LLAMA_DEFAULT_SEED else found

    @property
    def names(self) -> tuple[str, ...]:
        """llama.cpp's names of the samplers, in their order; "?" leads that of one that does nothing."""
        chain = self._pointer
        parts = (lib.llama_sampler_chain_get(chain, i) for i in range(lib.llama_sampler_chain_n(chain)))
        return tuple(text(lib.llama_sampler_name(part)) for part in parts)

    def __len__(self) -> int:
        return int(lib.llama_sampler_chain_n(self._pointer))

    # building it

    def greedy(self) -> Self:
        """Chooses the most likely token."""
        return self._add("greedy", lib.llama_sampler_init_greedy, selects=True)

    def dist(self, seed: int | None = None) -> Self:
        """Draws a token by the probabilities."""
        return self._add("dist", lib.llama_sampler_init_dist, arguments.seed(seed), selects=True)

    def top_k(self, k: int) -> Self:
        """Keeps the ``k`` most likely tokens."""
        return self._add("top_k", lib.llama_sampler_init_top_k, integer(1)("k", k))

    def top_p(self, p: float, min_keep: int = 1) -> Self:
        """Keeps the most likely tokens that have probability ``p`` together (nucleus sampling)."""
        return self._add("top_p", lib.llama_sampler_init_top_p, *arguments.share(p, min_keep))

    def min_p(self, p: float, min_keep: int = 1) -> Self:
        """Keeps tokens at least ``p`` times as likely as the most likely one."""
        return self._add("min_p", lib.llama_sampler_init_min_p, *arguments.share(p, min_keep))

    def typical(self, p: float, min_keep: int = 1) -> Self:
        """Keeps the tokens of most expected surprise, of probability ``p`` together (arXiv:2202.00666)."""
        return self._add("typical", lib.llama_sampler_init_typical, *arguments.share(p, min_keep))

    def temp(self, temperature: float) -> Self:
        """Divides the logits by ``temperature``; 0 leaves only the most likely token."""
        return self._add("temp", lib.llama_sampler_init_temp, number(0)("temperature", temperature))

    def temp_ext(self, temperature: float, delta: float, exponent: float = 1.0) -> Self:
        """Dynamic temperature: ``temperature`` ± ``delta``, by the entropy (arXiv:2309.02772)."""
        return self._add(
            "temp_ext",
            lib.llama_sampler_init_temp_ext,
            number(0)("temperature", temperature),
            number(0)("delta", delta),
            number(0, above=True)("exponent", exponent),
        )

    def xtc(self, probability: float, threshold: float, min_keep: int = 1, seed: int | None = None) -> Self:
        """With ``probability``, drops all tokens above ``threshold`` but the least likely of them."""
        return self._add(
            "xtc",
            lib.llama_sampler_init_xtc,
            number(0, 1)("probability", probability),
            number(0, 0.5)("threshold", threshold),
            integer(0)("min_keep", min_keep),
            arguments.seed(seed),
        )

    def top_n_sigma(self, n: float) -> Self:
        """Keeps logits within ``n`` standard deviations of the highest (arXiv:2411.07641)."""
        return self._add("top_n_sigma", lib.llama_sampler_init_top_n_sigma, number(0, above=True)("n", n))

    def mirostat(self, seed: int | None = None, tau: float = 5.0, eta: float = 0.1, m: int = 100) -> Self:
        """Draws a token of steered surprise (Mirostat 1, arXiv:2007.14966).

        Args:
            seed: Seed of the random numbers.
            tau: The surprise aimed at, in bits.
            eta: Learning rate.
            m: Number of tokens that the estimate looks at.
        """
        return self._add(
            "mirostat",
            lib.llama_sampler_init_mirostat,
            len(self.model.vocabulary),
            arguments.seed(seed),
            number(0, above=True)("tau", tau),
            number(0)("eta", eta),
            integer(2, len(self.model.vocabulary))("m", m),
            selects=True,
        )

    def mirostat_v2(self, seed: int | None = None, tau: float = 5.0, eta: float = 0.1) -> Self:
        """Draws a token of steered surprise (Mirostat 2, arXiv:2007.14966); see :meth:`mirostat`."""
        return self._add(
            "mirostat_v2",
            lib.llama_sampler_init_mirostat_v2,
            *(arguments.seed(seed), number(0, above=True)("tau", tau), number(0)("eta", eta)),
            selects=True,
        )

    def adaptive_p(self, target: float, decay: float = 0.9, seed: int | None = None) -> Self:
        """Draws tokens whose probability keeps near ``target`` over time.

        Args:
            target: The probability aimed at.
            decay: How long it remembers: about ``1 / (1 - decay)`` tokens, at most 0.99.
            seed: Seed of the random numbers.
        """
        return self._add(
            "adaptive_p",
            lib.llama_sampler_init_adaptive_p,
            number(0, 1)("target", target),
            number(0, 0.99)("decay", decay),
            arguments.seed(seed),
            selects=True,
        )

    def grammar(self, grammar: str, root: str = "root") -> Self:
        """Allows only what a GBNF grammar allows.

        Raises:
            GrammarError: The grammar cannot be used; says where.
        """
        native = arguments.grammar(grammar, root)
        vocabulary = lib.llama_model_get_vocab(self.model._pointer)
        return self._add("grammar", lib.lc_grammar_sampler, vocabulary, *native, error=GrammarError)

    def grammar_lazy_patterns(
        self,
        grammar: str,
        root: str = "root",
        *,
        trigger_patterns: Iterable[str] = (),
        trigger_tokens: Iterable[int] = (),
    ) -> Self:
        """Like :meth:`grammar`, from the moment that a trigger is met.

        Args:
            grammar: GBNF text.
            root: Its start rule.
            trigger_patterns: Regular expressions (ECMAScript) over the whole output; the grammar starts
                at the first group of the match.
            trigger_tokens: Tokens that start the grammar, themselves included.
        """
        native = arguments.grammar(grammar, root)
        triggers = arguments.triggers(trigger_patterns, trigger_tokens, len(self.model.vocabulary))
        return self._add(
            "grammar_lazy_patterns",
            lib.lc_lazy_grammar_sampler,
            *(lib.llama_model_get_vocab(self.model._pointer), *native, *triggers),
            error=GrammarError,
        )

    def limit_grammar(self, n_tokens: int | None) -> None:
        """Lets grammars allow only what can end within ``n_tokens``, the token that ends it included.

        None means no bound; with fewer tokens than the shortest way takes, nothing is held back.
        """
        with self._exclusive(alone=True):
            lib.lc_grammar_limit(self._pointer, -1 if n_tokens is None else integer(1)("n_tokens", n_tokens))

    def penalties(
        self, last_n: int = 64, *, repeat: float = 1.0, frequency: float = 0.0, presence: float = 0.0
    ) -> Self:
        """Lowers the logits of tokens among the last ``last_n``.

        Args:
            last_n: How many tokens to look back.
            repeat: Divides positive and multiplies negative logits; 1.0 changes nothing.
            frequency: Taken off for each time that the token occurred.
            presence: Taken off once if the token occurred.
        """
        return self._add(
            "penalties",
            lib.llama_sampler_init_penalties,
            len(self.model.vocabulary),
            integer(0, 1 << 20)("last_n", last_n),
            number(0, above=True)("repeat", repeat),
            number()("frequency", frequency),
            number()("presence", presence),
        )

    def dry(
        self,
        multiplier: float = 0.8,
        *,
        base: float = 1.75,
        allowed_length: int = 2,
        last_n: int = 1024,
        sequence_breakers: Iterable[str] = ("\n", ":", '"', "*"),
    ) -> Self:
        """Lowers the logits of tokens that would go on repeating an earlier passage (DRY).

        Args:
            multiplier: Strength.
            base: The penalty is ``multiplier * base ** (length - allowed_length)``.
            allowed_length: Longest repetition that goes unpunished.
            last_n: How many tokens to look back.
            sequence_breakers: Texts that no repetition reaches across, at most 40 bytes each.
        """
        breakers = arguments.breakers(sequence_breakers)
        return self._add(
            "dry",
            lib.llama_sampler_init_dry,
            lib.llama_model_get_vocab(self.model._pointer),
            number(0)("multiplier", multiplier),
            number(1)("base", base),
            integer(0)("allowed_length", allowed_length),
            integer(0, 1 << 20)("last_n", last_n),
            *breakers,
        )

    def logit_bias(self, bias: Mapping[int, float]) -> Self:
        """Adds to the logits of tokens; ``-math.inf`` forbids one."""
        native = arguments.logit_bias(bias, len(self.model.vocabulary))
        return self._add("logit_bias", lib.llama_sampler_init_logit_bias, len(self.model.vocabulary), *native)

    def infill(self) -> Self:
        """Fill-in-the-middle: joins tokens with a common prefix, and ends the text when that is likely.

        Raises:
            InvalidParameterError: Nothing before it in the chain limits the candidates (``top_k``, ...).
        """
        special = self.model.vocabulary.special_tokens
        if not _TRUNCATING & set(self._names):
            raise InvalidParameterError("infill compares every pair of candidates: put top_k() before it")
        if "eot" not in special and "eos" not in special:
            raise InvalidParameterError("infill needs a model with an end token")
        return self._add(
            "infill", lib.llama_sampler_init_infill, lib.llama_model_get_vocab(self.model._pointer)
        )

    def python(
        self, sampler: PythonSampler | Callable[[Candidates], None], *, selects: bool | None = None
    ) -> Self:
        """Adds a sampler written in Python.

        Args:
            sampler: A :class:`PythonSampler`, or a function that changes the candidates it is given. What it
                raises comes out of :meth:`sample`, :meth:`apply`, ...
            selects: Whether it chooses the token; by default what the sampler says of itself.
        """
        if selects is None:
            selects = isinstance(sampler, PythonSampler) and sampler.selects
        return self._add("python", new_python_sampler, sampler, selects=selects)

    def _add(
        self,
        name: str,
        make: Callable[..., Any],
        *native: Any,
        selects: bool = False,
        error: type[Exception] = InvalidParameterError,
    ) -> Self:
        if self._selects:
            raise InvalidParameterError(f"{self._names[-1]} already chooses the token: no {name} after it")
        with self._exclusive(alone=True):
            part = checked(error, make, *(a.pointer if isinstance(a, arguments.Kept) else a for a in native))
            if part == ffi.NULL:
                raise error(f"llama.cpp could not make the sampler {name}")
            lib.llama_sampler_chain_add(self._pointer, part)
        self._names.append(name)
        self._selects = selects
        return self

    def _call(self, function: Any, *native: Any, error: type[Exception] = GenerationError) -> Any:
        try:
            return checked(error, function, *native)
        finally:
            raise_pending()

    def _no_token(self, result: int, index: int) -> Exception:
        if result == lib.LC_SAMPLE_NO_LOGITS:
            return InvalidParameterError(f"the context has no logits for index {index}", parameter="index")
        if result == lib.LC_SAMPLE_NO_CHOICE:
            return self._no_choice()
        if result == lib.LC_SAMPLE_FORBIDDEN:
            return GenerationError("no token is left: the chain forbids every one of them")
        return EngineError("llama.cpp could not sample")

    def _no_choice(self) -> InvalidParameterError:
        return InvalidParameterError(
            f"the chain ({', '.join(self._names) or 'empty'}) chooses no token: end it with greedy(), "
            "dist(), mirostat(), mirostat_v2(), adaptive_p() or a Python sampler that selects"
        )
