"""llama-cpp-python's step by step methods of :class:`~llamacpp_core.Llama`: eval, sample, generate.

They work on a context of their own over the model's weights, beside the engine. New code is better served by
:mod:`llamacpp_core.lowlevel`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, integer
from llamacpp_core.errors import EngineError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.sampling import sampling_fields

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.chooser import TokenChooser
    from llamacpp_core.engine.python_loop.sessions import Session
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.llama.llama import Llama

__all__ = [
    "Evaluation",
    "eval",
    "eval_logits",
    "eval_tokens",
    "evaluated",
    "generate",
    "input_ids",
    "logits_to_logprobs",
    "longest_token_prefix",
    "n_tokens",
    "reset",
    "sample",
    "scores",
]


class Evaluation:
    """What :meth:`eval` has read so far.

    Attributes:
        session: The context.
        rows: Logits after the tokens read: of all, or of the last only.
    """

    def __init__(self, session: Session, keep_all: bool) -> None:
        self.session = session
        self.keep_all = keep_all
        self.rows: list[NDArray[np.float32]] = []

    def read(self, tokens: list[int]) -> None:
        """Decodes tokens and keeps their logits."""
        if self.keep_all:
            del self.rows[len(self.session.tokens) :]
            self.rows.extend(self.session.decode_rows(tokens))
        else:
            self.rows = [self.session.decode(tokens)]

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits after the token at an index."""
        n_tokens = len(self.session.tokens)
        if not n_tokens or not self.rows:
            raise EngineError("nothing has been evaluated: call eval() first")
        if not -n_tokens <= index < n_tokens:
            raise InvalidParameterError(
                f"idx is {index}, but {n_tokens} tokens were evaluated", parameter="idx"
            )
        back = index if index < 0 else index - n_tokens
        if -back > len(self.rows):
            raise UnsupportedCapabilityError(
                "only the last token's logits are kept: load the model with logits_all=True", parameter="idx"
            )
        return self.rows[back]


def n_tokens(self: Llama) -> int:
    """Tokens that :meth:`eval` has read."""
    return 0 if self._evaluation is None else len(self._evaluation.session.tokens)


def input_ids(self: Llama) -> NDArray[np.intc]:
    """The tokens that :meth:`eval` has read, int32 of shape [n_tokens]."""
    import numpy as np

    return np.array([] if self._evaluation is None else self._evaluation.session.tokens, dtype=np.intc)


def scores(self: Llama) -> NDArray[np.float32]:
    """The logits after each token that :meth:`eval` has read, float32 of shape [n_tokens, n_vocab].

    Raises:
        UnsupportedCapabilityError: The model was loaded without ``logits_all=True``.
    """
    import numpy as np

    if not self.settings.logits_all:
        raise UnsupportedCapabilityError(
            "scores needs the logits of every token: load the model with logits_all=True",
            parameter="logits_all",
        )
    rows = [] if self._evaluation is None else self._evaluation.rows[: self.n_tokens]
    return np.array(rows, dtype=np.float32).reshape(len(rows), self.info.n_vocab)


def eval_tokens(self: Llama) -> deque[int]:
    """The tokens that :meth:`eval` has read."""
    return deque(self.input_ids.tolist(), maxlen=self.info.n_ctx)


def eval_logits(self: Llama) -> deque[list[float]]:
    """The logits that are kept: after every token with ``logits_all=True``, else after the last."""
    rows = [] if self._evaluation is None else self._evaluation.rows
    return deque((row.tolist() for row in rows), maxlen=self.info.n_ctx if self.settings.logits_all else 1)


def reset(self: Llama) -> None:
    """Forgets what :meth:`eval` has read."""
    if self._evaluation is not None:
        self._evaluation.session.clear()
        self._evaluation.rows = []


def eval(self: Llama, tokens: Sequence[int]) -> None:
    """Evaluates tokens after those evaluated before.

    Raises:
        ContextOverflowError: The context is full.
    """
    ids = self._vocab.check_all(tokens)
    if ids:
        evaluated(self).read(ids)


def sample(
    self: Llama,
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    temp: float = 0.80,
    repeat_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_eta: float = 0.1,
    mirostat_tau: float = 5.0,
    penalize_nl: bool = True,
    logits_processor: Any = None,
    grammar: LlamaGrammar | str | None = None,
    idx: int | None = None,
) -> int:
    """Chooses a token to follow what :meth:`eval` has read; it is not read by this.

    Args:
        top_k: As for :meth:`create_completion`; so are the others that are not explained here.
        top_p: See there.
        min_p: See there.
        typical_p: See there.
        temp: The temperature.
        repeat_penalty: See there.
        frequency_penalty: See there.
        presence_penalty: See there.
        tfs_z: See there.
        mirostat_mode: See there.
        mirostat_eta: See there.
        mirostat_tau: See there.
        penalize_nl: Accepted as True only: llama.cpp no longer treats the newline apart.
        logits_processor: See there.
        grammar: A grammar for this one token.
        idx: The token to follow, counted from the first; None for the last.

    Raises:
        EngineError: Nothing has been read.
    """
    evaluation = evaluated(self)
    logits = evaluation.logits(-1 if idx is None else integer()("idx", idx))
    chooser = _new_chooser(
        self,
        {
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "typical_p": typical_p,
            "temperature": temp,
            "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "tfs_z": tfs_z,
            "mirostat_mode": mirostat_mode,
            "mirostat_eta": mirostat_eta,
            "mirostat_tau": mirostat_tau,
        },
        grammar,
        penalize_nl,
        len(evaluation.session.tokens),
    )
    try:
        chooser.read_prompt(evaluation.session.tokens[-64:])
        return _choose(self, chooser, logits, logits_processor)
    finally:
        chooser.close()


def generate(
    self: Llama,
    tokens: Sequence[int],
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    temp: float = 0.80,
    repeat_penalty: float = 1.0,
    reset: bool = True,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_tau: float = 5.0,
    mirostat_eta: float = 0.1,
    penalize_nl: bool = True,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    grammar: LlamaGrammar | str | None = None,
) -> Generator[int, Sequence[int] | None, None]:
    """Generates tokens one by one, end tokens included, as long as they are asked for.

    Tokens given to ``send()`` are read as if the model had written them.

    Args:
        tokens: What to begin with.
        top_k: As for :meth:`sample`; so are the others that are not explained here.
        top_p: See there.
        min_p: See there.
        typical_p: See there.
        temp: See there.
        repeat_penalty: See there.
        reset: Keep only the part of what was evaluated that the tokens begin with; else append to all.
        frequency_penalty: See there.
        presence_penalty: See there.
        tfs_z: See there.
        mirostat_mode: See there.
        mirostat_tau: See there.
        mirostat_eta: See there.
        penalize_nl: See there.
        logits_processor: See there.
        stopping_criteria: Ends the generation; as for :meth:`create_completion`.
        grammar: A grammar for the whole.

    Raises:
        ContextOverflowError: The context is full.
    """
    from llamacpp_core.engine.python_loop.callbacks import StoppingCriteriaList, callbacks

    boolean("reset", reset)
    evaluation = evaluated(self)
    session = evaluation.session
    ids = self._vocab.check_all(tokens)
    if reset:
        ids = ids[session.rewind(ids) :]
    criteria = StoppingCriteriaList(callbacks("stopping_criteria", stopping_criteria))
    chooser = _new_chooser(
        self,
        {
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "typical_p": typical_p,
            "temperature": temp,
            "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "tfs_z": tfs_z,
            "mirostat_mode": mirostat_mode,
            "mirostat_eta": mirostat_eta,
            "mirostat_tau": mirostat_tau,
        },
        grammar,
        penalize_nl,
        len(session.tokens) + len(ids),
    )
    try:
        chooser.read_prompt([*session.tokens, *ids][-64:])
        while True:
            if ids:
                evaluation.read(ids)
            logits = evaluation.logits(-1)
            if criteria and criteria(self.input_ids, logits):
                return
            token = _choose(self, chooser, logits, logits_processor)
            more = yield token
            ids = [token, *self._vocab.check_all(more or ())]
    finally:
        chooser.close()


def logits_to_logprobs(logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Log-probabilities of logits along an axis, float32 of the same shape."""
    import numpy as np

    values = np.asarray(logits, dtype=np.float32)
    highest = values.max(axis=axis, keepdims=True)
    shifted = values - np.where(np.isfinite(highest), highest, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return np.asarray(shifted - total, dtype=np.float32)


def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    common = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        common += 1
    return common


def evaluated(llama: Llama) -> Evaluation:
    """What :func:`eval` has read so far, in a context that is made when it is first needed."""
    if llama._evaluation is None:
        session = llama._sessions.new(llama.info.n_ctx)
        session.use_loras(llama._adapters.defaults)
        llama._evaluation = Evaluation(session, llama.settings.logits_all)
    llama._last = llama._evaluation
    return llama._evaluation


def _choose(llama: Llama, chooser: TokenChooser, logits: NDArray[np.float32], logits_processor: Any) -> int:
    from llamacpp_core.engine.python_loop.callbacks import callbacks, process_logits

    processors = callbacks("logits_processor", logits_processor)
    return evaluated(llama).session.choose(chooser, process_logits(processors, llama.input_ids, logits))


def _new_chooser(
    llama: Llama, values: dict[str, Any], grammar: Any, penalize_nl: bool, n_read: int
) -> TokenChooser:
    from llamacpp_core.engine.chooser import TokenChooser
    from llamacpp_core.request.constraints import grammar_text

    if penalize_nl is not True:
        raise UnsupportedCapabilityError(
            "penalize_nl: llama.cpp no longer treats the newline apart; give logit_bias instead",
            parameter="penalize_nl",
        )
    fields = sampling_fields(values, n_vocab=llama.info.n_vocab)
    fields |= {
        "repeat_last_n": llama.settings.last_n_tokens_size,
        "grammar": grammar_text(grammar),
    }
    if llama._seed is not None:
        fields["seed"] = llama._seed
    return TokenChooser(llama._sessions.engine, fields, n_tokens=max(1, llama.info.n_ctx - n_read))
