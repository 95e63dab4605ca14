"""What a loaded model is and what it can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["Capabilities", "ModelInfo", "PromptCache", "capabilities", "draw_with"]


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """What the model, its template and its load options allow.

    Attributes:
        completion: Text can be generated.
        chat: The model brings a chat template, or was given one.
        tools: "native" when the template describes tools in the model's own form, else "generic": they
            are then described in the system message.
        parallel_tool_calls: The template knows several calls in one answer.
        system_role: The template takes a system message.
        reasoning: The template has a place for the model's reasoning.
        embedding: Embeddings can be computed.
        rerank: How documents are scored: "cross-encoder", "embedding", "yes-no", or None.
        image: Images can be part of a message.
        audio: Audio can be part of a message.
    """

    completion: bool
    chat: bool
    tools: str
    parallel_tool_calls: bool
    system_role: bool
    reasoning: bool
    embedding: bool
    rerank: str | None
    image: bool
    audio: bool


@dataclasses.dataclass(frozen=True, slots=True)
class PromptCache:
    """How much of earlier prompts is kept for reuse.

    Attributes:
        slot_tokens: Tokens that the slots keep: each its last prompt and answer.
        slot_bytes: Memory of the KV cache that holds them; reserved once, when the model is loaded.
        ram_mib: Further memory for prompts that lost their slot, in MiB, at most.
        shares_prefixes: What one slot has read is copied to others whose prompts begin alike, also while it
            is being read.
        folder: Folder that keeps long beginnings of prompts for the next process; None for none.
        folder_mib: What all files in it may take, in MiB.
    """

    slot_tokens: int
    slot_bytes: int
    ram_mib: int
    shares_prefixes: bool = False
    folder: str | None = None
    folder_mib: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about a loaded model.

    Attributes:
        name: The model's name.
        path: Its file.
        architecture: llama.cpp's name of the architecture.
        n_params: Parameters.
        size_bytes: Bytes of the weights.
        quantization: The file's main quantisation.
        n_ctx_train: Context length of the training, in tokens.
        n_ctx: Context length of one request, in tokens.
        n_ctx_reduced: Why ``n_ctx`` is less than the default would be; None if it is not.
        n_parallel: Requests that run at once.
        n_batch: Tokens of one step, at most.
        n_ubatch: Tokens computed at once, at most.
        n_threads: CPU threads.
        n_embd: Length of an embedding.
        n_vocab: Tokens in the vocabulary.
        pooling: How token vectors become one.
        bos_token: The text of the token that begins a prompt.
        eos_token: The text of the token that ends an answer.
        chat_template: The Jinja template in use.
        prompt_cache: What is kept of earlier prompts.
        capabilities: What the model can do.
        lora: Paths and scales of the loaded LoRA adapters; ``Llama.loras`` has more of them.
        lora_bytes: Memory that they take.
        cpu_level: The level of CPUs that llama.cpp was compiled for, and why it was chosen.
        precision: "fast" if an encoder's products are in 8-bit integers, else "default".
    """

    name: str
    path: str
    architecture: str
    n_params: int
    size_bytes: int
    quantization: str
    n_ctx_train: int
    n_ctx: int
    n_ctx_reduced: str | None
    n_parallel: int
    n_batch: int
    n_ubatch: int
    n_threads: int
    n_embd: int
    n_vocab: int
    pooling: str
    bos_token: str
    eos_token: str
    chat_template: str
    prompt_cache: PromptCache
    capabilities: Capabilities
    lora: tuple[tuple[str, float], ...] = ()
    lora_bytes: int = 0
    cpu_level: str = ""
    precision: str = "default"

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain dicts and lists."""
        return dataclasses.asdict(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        return _draw(self)


def _as_text(info: ModelInfo) -> dict[str, str]:
    return {"text/plain": repr(info)}


_draw: Callable[[ModelInfo], dict[str, str]] = _as_text


def draw_with(draw: Callable[[ModelInfo], dict[str, str]]) -> None:
    """Sets how notebooks draw facts, since the pictures lie in a room above this one.

    Args:
        draw: Makes the texts of a picture, by their MIME types.
    """
    global _draw
    _draw = draw


def capabilities(native: dict[str, Any], *, native_calls: bool) -> Capabilities:
    """Derives the capabilities from what the native engine reports.

    Args:
        native: What the engine reports.
        native_calls: The template describes tools, and calls in its form can be read back.
    """
    caps = native["template_caps"]
    generates = native["has_decoder"] and native["has_memory"]
    pooled = native["embedding"] and native["pooling"] != "none"
    if native["pooling"] == "rank":
        rerank: str | None = "cross-encoder"
    elif pooled and native["pooling"] != "unspecified":
        rerank = "embedding"
    else:
        rerank = "yes-no" if generates else None
    return Capabilities(
        completion=generates,
        chat=generates and native["has_chat_template"],
        tools="native" if native_calls else "generic",
        parallel_tool_calls=bool(caps.get("supports_parallel_tool_calls")),
        system_role=bool(caps.get("supports_system_role", True)),
        reasoning=bool(native["enable_thinking"]),
        embedding=bool(native["embedding"]),
        rerank=rerank,
        image=bool(native["image_input"]),
        audio=bool(native["audio_input"]),
    )
