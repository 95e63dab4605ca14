"""What a model is, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llamacpp_core.display.markup import Html, escape, fragment, terminal_text

if TYPE_CHECKING:
    from llamacpp_core.engine.info import Capabilities, ModelInfo

__all__ = ["info_html", "size_text"]


def info_html(info: ModelInfo, *, closed: bool = False) -> Html:
    """Facts about a loaded model.

    Args:
        info: ``Llama(...).info``.
        closed: Whether it was closed since.
    """
    rows = _rows(info)
    table = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows)
    can = _abilities(info.capabilities)
    chips = "".join(f'<span class="lcpp-chip">{escape(ability)}</span>' for ability in can)
    title = info.name + (" (closed)" if closed else "")
    body = (
        f'<div class="lcpp-title">{escape(title)}</div><div>{chips}</div>'
        f'<table class="lcpp-t"><tbody>{table}</tbody></table>'
    )
    if info.chat_template and info.capabilities.chat:
        body += (
            "<details><summary>chat template</summary>"
            f'<pre class="lcpp-code" dir="ltr">{escape(info.chat_template)}</pre></details>'
        )
    lines = [title, *(f"  {label:<15} {value}" for label, value in (*rows, ("can", ", ".join(can))))]
    return fragment(body, terminal_text("\n".join(lines)))


def size_text(n_bytes: float) -> str:
    """A number of bytes for people: three digits, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _count(n: int) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:,}"


def _rows(info: ModelInfo) -> list[tuple[str, str]]:
    context = f"{info.n_ctx:,} tokens"
    if info.n_parallel > 1:
        context += f" for each of {info.n_parallel} requests at once"
    if info.n_ctx_train != info.n_ctx:
        context += f" (trained with {info.n_ctx_train:,})"
    rows = [
        ("architecture", info.architecture),
        ("weights", f"{_count(info.n_params)} parameters, {info.quantization}, {size_text(info.size_bytes)}"),
        ("context", context),
    ]
    if info.n_ctx_reduced:
        rows.append(("", info.n_ctx_reduced))
    if info.prompt_cache.slot_bytes:
        rows.append(("KV cache", size_text(info.prompt_cache.slot_bytes)))
    if info.capabilities.embedding:
        rows.append(("embeddings", f"{info.n_embd} dimensions, {info.pooling} pooling"))
    rows += [("vocabulary", f"{info.n_vocab:,} tokens"), ("CPU threads", f"{info.n_threads}")]
    rows += [("LoRA", f"{path} x {scale:g}") for path, scale in info.lora]
    return [*rows, ("file", _tilde(info.path))]


def _tilde(path: str) -> str:
    """A path for people, who may show it to others."""
    try:
        return str(Path("~") / Path(path).relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return path


def _abilities(can: Capabilities) -> list[str]:
    flags = {
        "completion": can.completion,
        "chat": can.chat,
        "tools in the model's own form" if can.tools == "native" else "tools": can.chat,
        "parallel tool calls": can.parallel_tool_calls,
        "reasoning": can.reasoning,
        "embeddings": can.embedding,
        f"reranking ({can.rerank})": can.rerank is not None,
        "images": can.image,
        "audio": can.audio,
    }
    return [name for name, on in flags.items() if on]
