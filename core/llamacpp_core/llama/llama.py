"""The public class: a model in this process, with the methods that OpenAI's clients taught everybody."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

from llamacpp_core._checks import boolean
from llamacpp_core.engine.adapters import Adapters, LoraInfo
from llamacpp_core.engine.info import ModelInfo, draw_with
from llamacpp_core.engine.load.loading import load_engine, model_info
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.llama import adapters, chat, completion, evaluation, lists, ranking, state, tokens, vectors
from llamacpp_core.llama.chat_formats import chat_handler_for, chat_template_for
from llamacpp_core.llama.running import watch_speed
from llamacpp_core.llama.settings import Settings, make_load_options, read_settings, show_log
from llamacpp_core.llama.vocab_only import load_vocab
from llamacpp_core.request.chat import ChatPreparer
from llamacpp_core.request.completion import CompletionPreparer
from llamacpp_core.request.template import ChatPlanner
from llamacpp_core.request.vectors import VectorPreparer

if TYPE_CHECKING:
    from collections import deque

    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.python_loop.sessions import SessionPool
    from llamacpp_core.llama.compat import LlamaDiskCache, LlamaPromptLookupDecoding, LlamaRAMCache
    from llamacpp_core.llama.evaluation import Evaluation
    from llamacpp_core.llama.saved_state import LlamaState
    from llamacpp_core.lowlevel.vocabulary import Vocabulary
    from llamacpp_core.models import ResolvedModel
    from llamacpp_core.request.runner import Prepared

__all__ = ["Llama"]

#: Loading that takes less than this many seconds shows nothing.
_PATIENCE = 1.0


class Llama:
    """A language model in this process.

    One object serves any number of threads and event loops at once: their requests share the steps of one
    batch. Close it, or use it in a ``with`` block, to free the memory.

    Args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        model_path: The same under llama-cpp-python's name.
        verbose: Show llama.cpp's log on stderr.
        progress: Show progress of downloads and slow loads on stderr. None: on a terminal only.
        chat_format: A named chat format (:data:`~llamacpp_core.chat_format.NAMED_FORMATS`), a registered
            one, or ``chat_template.<name>`` for another template of the file. None: the model's own.
        chat_handler: What answers conversations in place of the engine: a function with the keywords of
            ``create_chat_completion``, ``llama`` and ``messages``.
        chat_template: A Jinja chat template, or the path of one, in place of the model's own.
        draft_model: Speculative decoding: the path of a smaller model, or a
            :class:`~llamacpp_core.LlamaPromptLookupDecoding`.
        lora_path: A LoRA adapter; ``lora`` takes several, and :meth:`load_lora` loads them later.
        lora_scale: Its scale.
        vocab_only: Load the vocabulary and no weights.
        logits_all: :meth:`eval` keeps the logits of every token.
        last_n_tokens_size: Tokens that the repetition penalties look back over.
        spm_infill: Filling in the middle puts the suffix first.
        load_options: The fields of :class:`~llamacpp_core.LoadOptions`, as keywords, and names of
            llama-cpp-python's constructor that change nothing here (``no_perf``).

    Attributes:
        info: What the model is, and what it can do.
        options: How it was loaded.
        settings: How it is used.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelLoadError: The file is not a usable model.
        ModelAllocationError: The weights or the context do not fit into memory.
        InvalidParameterError: A load option is unknown or cannot work.

    Example:
        >>> with Llama("smollm2-135m-instruct") as llm:  # doctest: +SKIP
        ...     llm.create_chat_completion([{"role": "user", "content": "Hello!"}])
    """

    info: ModelInfo
    options: LoadOptions
    settings: Settings
    chat_format: str | None
    chat_handler: Callable[..., Any] | None
    cache: LlamaRAMCache | LlamaDiskCache | None
    _engine: Engine
    _engine_format: str | None  # the chat format whose template the engine has
    _resolved: ResolvedModel
    _vocab: Vocabulary
    _chat: ChatPreparer
    _completion: CompletionPreparer
    _vectors: VectorPreparer
    _sessions: SessionPool
    _adapters: Adapters
    _seed: int | None
    _last: Prepared | Evaluation | LlamaState | None  # what save_state() saves
    _evaluation: Evaluation | None

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        model_path: str | os.PathLike[str] | None = None,
        verbose: bool = False,
        progress: bool | None = None,
        chat_format: str | None = None,
        chat_handler: Callable[..., Any] | None = None,
        chat_template: str | os.PathLike[str] | None = None,
        draft_model: str | os.PathLike[str] | LlamaPromptLookupDecoding | None = None,
        lora_path: str | os.PathLike[str] | None = None,
        lora_scale: float = 1.0,
        vocab_only: bool = False,
        logits_all: bool = False,
        last_n_tokens_size: int = 64,
        spm_infill: bool = False,
        **load_options: Any,
    ) -> None:
        self._closed = True  # until everything below has worked
        if (model is None) == (model_path is None):
            raise InvalidParameterError("give one model: Llama('name, path or hf:...')", parameter="model")
        named = {
            "chat_format": chat_format,
            "chat_handler": chat_handler,
            "chat_template": chat_template,
            "draft_model": draft_model,
            "lora_path": lora_path,
            "lora_scale": lora_scale,
            "vocab_only": vocab_only,
            "logits_all": logits_all,
            "last_n_tokens_size": last_n_tokens_size,
            "spm_infill": spm_infill,
        }
        self._configure({**named, **load_options}, verbose)
        from llamacpp_core.models import resolve_model

        self._load(resolve_model(model if model is not None else model_path, progress=progress), progress)  # type: ignore[arg-type]

    def _configure(self, given: dict[str, Any], verbose: bool) -> None:
        self.verbose = boolean("verbose", verbose)
        if verbose:
            show_log()
        self.settings, options = read_settings(given)
        self.options = make_load_options(options)
        self.chat_handler = self.settings.chat_handler
        self._seed = None
        self._last = self._evaluation = None
        self._next_slot = 0
        self.cache = None

    def _load(self, resolved: ResolvedModel, progress: bool | None) -> None:
        self._resolved = resolved
        self._choose_format(resolved)
        from llamacpp_core.models.progress import ProgressBar

        bar = ProgressBar(f"loading {resolved.name}", 100, unit="%", progress=progress, patience=_PATIENCE)
        with bar:
            if self.settings.vocab_only:
                load_vocab(self, resolved)
            else:
                self._load_weights(resolved, lambda fraction: bar.move_to(round(100 * fraction)))
        from llamacpp_core.lowlevel.vocabulary import Vocabulary

        self._vocab = Vocabulary(self._engine.model)
        _ = self._vocab.special_tokens  # read now, so that they can be told of a closed model
        if not self.settings.vocab_only:
            self._prepare(resolved)
        if self.chat_format is None and self.info.chat_template:
            self.chat_format = "chat_template.default"
        self._engine_format = self._engine_format or self.chat_format
        self._closed = False

    def _choose_format(self, resolved: ResolvedModel) -> None:
        """Gives the engine the template of the chat format, unless Python does the format."""
        name = self.chat_format = self.settings.chat_format
        self._engine_format = name
        self._format_stops: tuple[str, ...] = ()
        if name is None or chat_handler_for(name) is not None:
            return
        template, self._format_stops = chat_template_for(name, resolved.header)
        if template is not None:
            self.options = dataclasses.replace(self.options, chat_template=template)

    def _prepare(self, resolved: ResolvedModel) -> None:
        from llamacpp_core.engine.python_loop.sessions import SessionPool

        self._adapters = Adapters(self._engine, self._engine.info["lora"])
        self._sessions = SessionPool(self._engine, self.info, self.options, self._adapters)
        self._speed, engine, vocab, info = watch_speed(self), self._engine, self._vocab, self.info
        self._chat = ChatPreparer(
            engine, vocab, info, safe=self.options.safe_prompts, stops=self._format_stops
        )
        self._completion = CompletionPreparer(engine, vocab, info, suffix_first=self.settings.spm_infill)
        self._vectors = VectorPreparer(engine, vocab, info, vectors.wordpiece_of(resolved, info))

    def _load_weights(self, resolved: ResolvedModel, on_progress: Callable[[float], None]) -> None:
        self._engine, reduced = load_engine(resolved, self.options, on_progress)
        native_calls = ChatPlanner(self._engine).reads_own_calls()
        self.info = model_info(self._engine, resolved, self.options, reduced, native_calls=native_calls)

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None = None,
        additional_files: Sequence[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        local_dir_use_symlinks: Any = "auto",  # noqa: ARG003  (llama-cpp-python's)
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        verbose: bool = False,
        progress: bool | None = None,
        **load_options: Any,
    ) -> Self:
        """Loads a model from the Hugging Face Hub, fetching it on first use.

        Args:
            repo_id: ``owner/repo``.
            filename: Name of the GGUF file, or a glob that matches one model.
            additional_files: Further GGUF files of the repository to fetch, by name or glob. The parts of a
                split model are fetched without being named.
            local_dir: Folder to put the files into.
            local_dir_use_symlinks: Accepted for llama-cpp-python's sake; the hub's client has dropped it.
            cache_dir: Folder of the hub's cache.
            revision: Branch, tag or commit.
            token: Token for gated repositories; None for the hub's own rules.
            verbose: Show llama.cpp's log on stderr.
            progress: Show progress on stderr. None: on a terminal only.
            load_options: As for :class:`Llama`.
        """
        from llamacpp_core.models import resolve_hub

        llama = cls.__new__(cls)
        llama._closed = True
        llama._configure(load_options, verbose)
        resolved = resolve_hub(
            repo_id,
            filename,
            revision=revision,
            local_dir=local_dir,
            cache_dir=cache_dir,
            token=token,
            progress=progress,
            additional_files=additional_files or (),
        )
        llama._load(resolved, progress)
        return llama

    # Its methods by subject: the modules hold them as functions of a Llama.

    create_chat_completion = chat.create_chat_completion
    acreate_chat_completion = chat.acreate_chat_completion
    create_chat_completion_openai_v1 = chat.create_chat_completion_openai_v1
    answer_with = chat.answer_with
    apply_chat_template = chat.apply_chat_template
    count_tokens = chat.count_tokens

    create_completion = __call__ = completion.create_completion
    acreate_completion = completion.acreate_completion

    embed, aembed, rerank, arerank = vectors.embed, vectors.aembed, ranking.rerank, ranking.arerank
    embed_stream, aembed_stream = vectors.embed_stream, vectors.aembed_stream
    create_embedding, acreate_embedding = vectors.create_embedding, vectors.acreate_embedding
    create_rerank, acreate_rerank = ranking.create_rerank, ranking.acreate_rerank
    map, amap = lists.map, lists.amap

    tokenize, detokenize, tokenizer = tokens.tokenize, tokens.detokenize, tokens.tokenizer
    token_bos, token_eos, token_nl = tokens.token_bos, tokens.token_eos, tokens.token_nl
    n_ctx, n_embd, n_vocab, pooling_type = tokens.n_ctx, tokens.n_embd, tokens.n_vocab, tokens.pooling_type

    reset, eval, sample, generate = evaluation.reset, evaluation.eval, evaluation.sample, evaluation.generate
    logits_to_logprobs = staticmethod(evaluation.logits_to_logprobs)
    longest_token_prefix = staticmethod(evaluation.longest_token_prefix)

    load_lora, unload_lora = adapters.load_lora, adapters.unload_lora

    set_seed, set_cache = state.set_seed, state.set_cache
    save_state, load_state = state.save_state, state.load_state
    save_state_file, load_state_file = state.save_state_file, state.load_state_file

    @property
    def n_active(self) -> int:
        """How many requests are waiting or running at this moment."""
        return self._engine.n_active

    @property
    def loras(self) -> tuple[LoraInfo, ...]:
        """The loaded LoRA adapters, in the order of their loading."""
        return tuple(self._adapters)

    @property
    def model_path(self) -> str:
        """The model's file."""
        return self.info.path

    @property
    def n_batch(self) -> int:
        """Tokens of one step, at most."""
        return self.info.n_batch

    @property
    def n_threads(self) -> int:
        """CPU threads for generating."""
        return self.info.n_threads

    @property
    def n_threads_batch(self) -> int:
        """CPU threads for reading prompts."""
        return self.options.n_threads_batch or self.info.n_threads

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the model file as text, in llama.cpp's form and without arrays."""
        return tokens.metadata(self)

    @property
    def n_tokens(self) -> int:
        """Tokens that :meth:`eval` has read."""
        return evaluation.n_tokens(self)

    @property
    def input_ids(self) -> NDArray[np.intc]:
        """The tokens that :meth:`eval` has read, int32 of shape [n_tokens]."""
        return evaluation.input_ids(self)

    @property
    def scores(self) -> NDArray[np.float32]:
        """The logits after each token that :meth:`eval` has read, float32 of shape [n_tokens, n_vocab]."""
        return evaluation.scores(self)

    @property
    def eval_tokens(self) -> deque[int]:
        """The tokens that :meth:`eval` has read."""
        return evaluation.eval_tokens(self)

    @property
    def eval_logits(self) -> deque[list[float]]:
        """The logits that are kept: after every token with ``logits_all=True``, else after the last."""
        return evaluation.eval_logits(self)

    def close(self) -> None:
        """Ends all requests with :class:`~llamacpp_core.errors.EngineClosedError` and frees the memory."""
        if not self._closed:
            self._closed = True
            if not self.settings.vocab_only:
                self._sessions.close()
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(
                f"{self!r} was not closed: use `with` or call close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "info"):
            return "<Llama: not loaded>"
        state = "closed" if self._closed else f"n_ctx={self.info.n_ctx}, n_parallel={self.info.n_parallel}"
        return f"<Llama {self.info.name}: {self.info.architecture}, {self.info.quantization}, {state}>"

    def _repr_html_(self) -> str | None:
        from llamacpp_core.display import info_html

        return str(info_html(self.info, closed=self._closed)) if hasattr(self, "info") else None

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Llama holds native memory and cannot be pickled: pickle its options and load it again"
        )


def _drawn(info: ModelInfo) -> dict[str, str]:
    from llamacpp_core.display import info_html

    return info_html(info)._repr_mimebundle_()


draw_with(_drawn)
