"""Tiny projectors of the kinds that differ: how pictures are cut, and how what is seen or heard is joined."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.files import (
    ARRAY,
    BOOL,
    F32,
    I32,
    N_EMBD,
    N_FF,
    N_HEAD,
    N_LAYER,
    STRING,
    U32,
    Entry,
    File,
    Tensor,
    encoder_layer,
    tensor,
)

__all__ = ["PROJECTORS", "audio_projector", "image_projector"]

PATCH = 14


def _entries(sense: str, kind: str, width: int, **values: int) -> list[Entry]:
    values = {
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "projection_dim": width,
        "block_count": N_LAYER,
        "attention.head_count": N_HEAD,
    } | {name.replace("__", "."): value for name, value in values.items()}
    return [
        Entry("general.architecture", STRING, "clip"),
        Entry("general.type", STRING, "mmproj"),
        Entry(f"clip.has_{sense}_encoder", BOOL, True),
        Entry("clip.projector_type", STRING, kind),
        Entry("clip.use_gelu", BOOL, True),
        *(Entry(f"clip.{sense}.{name}", U32, value) for name, value in values.items()),
        Entry(f"clip.{sense}.attention.layer_norm_epsilon", F32, 1e-5),
    ]


def image_projector(kind: str = "mlp", width: int = N_EMBD, *, side: int = 28, tiles: bool = False) -> File:
    """A small picture encoder with one kind of projector.

    Args:
        kind: "mlp" (LLaVA), "gemma3", "idefics3" or "pixtral".
        width: Numbers in an embedding of the language model.
        side: Pixels of a picture's side, a multiple of 28.
        tiles: Large pictures are cut into tiles, as by LLaVA 1.6.
    """
    merge = 2 if kind in ("gemma3", "idefics3") else 1
    entries = _entries("vision", kind, width, image_size=side, patch_size=PATCH)
    entries += [Entry(f"clip.vision.image_{name}", ARRAY, (F32, [0.5] * 3)) for name in ("mean", "std")]
    if merge > 1:
        entries.append(Entry("clip.vision.projector.scale_factor", U32, merge))
    if kind == "idefics3":
        entries.append(Entry("clip.vision.preproc_image_size", U32, 2 * side))
    if tiles:
        sides = [side, 2 * side, 2 * side, side, 2 * side, 2 * side]
        entries.append(Entry("clip.vision.image_grid_pinpoints", ARRAY, (I32, sides)))
    tensors = [tensor("v.patch_embd.weight", PATCH, PATCH, 3, N_EMBD)]
    tensors += [tensor(f"v.pre_ln.{part}", N_EMBD) for part in ("weight", "bias")]
    if kind != "pixtral":
        rows = (side // PATCH) ** 2 + (kind == "mlp")
        tensors.append(tensor("v.position_embd.weight", N_EMBD, rows))
    for i in range(N_LAYER):
        tensors += encoder_layer(f"v.blk.{i}", "attn_out", "ln1", "ln2")
    return File(entries, tensors + _IMAGE_KINDS[kind](width))


def _mlp(width: int) -> list[Tensor]:
    return [
        tensor("v.class_embd", N_EMBD),
        tensor("mm.0.weight", N_EMBD, width),
        tensor("mm.0.bias", width),
        tensor("mm.2.weight", width, width),
        tensor("mm.2.bias", width),
    ]


def _gemma3(width: int) -> list[Tensor]:
    return [tensor("mm.input_projection.weight", width, N_EMBD), tensor("mm.soft_emb_norm.weight", N_EMBD)]


def _idefics3(width: int) -> list[Tensor]:
    return [tensor("mm.model.fc.weight", 4 * N_EMBD, width)]


def _pixtral(width: int) -> list[Tensor]:
    return [
        tensor("mm.1.weight", N_EMBD, width),
        tensor("mm.2.weight", width, width),
        tensor("v.token_embd.img_break", width),
    ]


_IMAGE_KINDS: dict[str, Callable[[int], list[Tensor]]] = {
    "mlp": _mlp,
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "pixtral": _pixtral,
}


def audio_projector(width: int = N_EMBD) -> File:
    """A small Whisper encoder with Ultravox's projector: 75 tokens for each 30 seconds begun."""
    mels, stack, hidden, positions = 80, 20, 32, 1500
    entries = _entries("audio", "ultravox", width, num_mel_bins=mels, projector__stack_factor=stack)
    tensors = [
        tensor("a.conv1d.1.weight", 3, mels, N_EMBD),
        tensor("a.conv1d.1.bias", 1, N_EMBD),
        tensor("a.conv1d.2.weight", 3, N_EMBD, N_EMBD),
        tensor("a.conv1d.2.bias", 1, N_EMBD),
        tensor("a.position_embd.weight", N_EMBD, positions),
        tensor("mm.a.mlp.1.weight", stack * N_EMBD, 2 * hidden),
        tensor("mm.a.mlp.2.weight", hidden, width),
        tensor("mm.a.norm_pre.weight", stack * N_EMBD),
        tensor("mm.a.norm_mid.weight", hidden),
    ]
    for i in range(N_LAYER):
        layer = encoder_layer(f"a.blk.{i}", "attn_out", "ln1", "ln2")
        tensors += [made for made in layer if made.name != f"a.blk.{i}.attn_k.bias"]
    return File(entries, tensors)


#: What :mod:`fuzz.gguf_files` opens beside a small chat model.
PROJECTORS: dict[str, Callable[[], File]] = {
    "projector": image_projector,
    "tiles": lambda: image_projector(tiles=True),
    "gemma3": lambda: image_projector("gemma3"),
    "idefics3": lambda: image_projector("idefics3"),
    "pixtral": lambda: image_projector("pixtral"),
    "ultravox": audio_projector,
}
