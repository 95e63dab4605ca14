"""Tiny files of every kind that llama.cpp opens, as lists of entries that a mutation can change."""

from __future__ import annotations

import dataclasses
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["KINDS", "Entry", "File", "Tensor", "encoder_layer", "make", "tensor"]

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
F32_TENSOR = 0

N_LAYER, N_EMBD, N_HEAD, N_FF, N_CTX = 2, 64, 4, 128, 64
PIECES = [chr(0x100 + i) if i < 33 or 126 < i < 161 or i == 173 else chr(i) for i in range(256)]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "Ġa", "Ġb", "th", "he"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclasses.dataclass
class Entry:
    """One metadata entry; an array's value is a pair of the element type and a list."""

    key: str
    type: int
    value: Any


@dataclasses.dataclass
class Tensor:
    """One tensor; ``offset`` None is where it belongs."""

    name: str
    shape: list[int]
    type: int
    data: bytes
    offset: int | None = None


@dataclasses.dataclass
class File:
    """A GGUF file; the counts are added to what the header would say."""

    entries: list[Entry]
    tensors: list[Tensor]
    version: int = 3
    more_entries: int = 0
    more_tensors: int = 0

    def pack(self) -> bytes:
        """The file's bytes."""
        n_tensors, n_entries = len(self.tensors) + self.more_tensors, len(self.entries) + self.more_entries
        out = b"GGUF" + struct.pack("<IQQ", self.version, n_tensors % 2**64, n_entries % 2**64)
        for entry in self.entries:
            out += text(entry.key) + struct.pack("<I", entry.type % 2**32) + value(entry.type, entry.value)
        data = b""
        for tensor in self.tensors:
            data += b"\0" * (-len(data) % 32)
            offset = len(data) if tensor.offset is None else tensor.offset
            shape = struct.pack(f"<{len(tensor.shape)}Q", *(size % 2**64 for size in tensor.shape))
            out += text(tensor.name) + struct.pack("<I", len(tensor.shape)) + shape
            out += struct.pack("<IQ", tensor.type % 2**32, offset % 2**64)
            data += tensor.data
        return out + b"\0" * (-len(out) % 32) + data + b"\0" * (-len(data) % 32)


def text(string: str) -> bytes:
    """A string of the format."""
    data = string.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def value(kind: int, content: Any) -> bytes:
    """A value of the format."""
    if kind == STRING:
        return text(str(content))
    if kind == ARRAY:
        element, items = content
        if element in CODES:
            items = [_fit(element, item) for item in items]
            return struct.pack(f"<IQ{len(items)}{CODES[element]}", element, len(items), *items)
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, item) for item in items)
    return struct.pack(f"<{CODES[kind]}", _fit(kind, content)) if kind in CODES else b"\1\2\3\4"


def _fit(kind: int, content: Any) -> Any:
    number = content if isinstance(content, int | float) else 1
    if CODES[kind] in "fd":
        return (
            max(-3e38, min(float(number), 3e38))
            if number == number and abs(number) < 1e300
            else float(number)
        )
    bits = 8 * struct.calcsize(f"<{CODES[kind]}")
    whole = int(number) % 2**bits if number == number and abs(number) != float("inf") else 0
    return whole - 2**bits if CODES[kind].islower() and whole >= 2 ** (bits - 1) else whole


def tensor(name: str, *shape: int) -> Tensor:
    """A tensor of small random numbers, the same ones for a name; ones where it scales a norm."""
    numbers = random.Random(name)
    n = 1
    for size in shape:
        n *= size
    values = [1.0 if "norm" in name else numbers.gauss(0, 0.05) for _ in range(n)]
    return Tensor(name, list(shape), F32_TENSOR, struct.pack(f"<{n}f", *values))


def encoder_layer(prefix: str, output: str, *norms: str) -> list[Tensor]:
    """A layer of an encoder, of text or of pictures, which name their parts differently."""
    matrices = dict.fromkeys(("attn_q", "attn_k", "attn_v", output), (N_EMBD, N_EMBD))
    matrices |= {"ffn_up": (N_EMBD, N_FF), "ffn_down": (N_FF, N_EMBD)}
    tensors = []
    for name, shape in matrices.items():
        tensors.append(tensor(f"{prefix}.{name}.weight", *shape))
        tensors.append(tensor(f"{prefix}.{name}.bias", shape[1]))
    for norm in norms:
        tensors += [tensor(f"{prefix}.{norm}.{part}", N_EMBD) for part in ("weight", "bias")]
    return tensors


def _entries(arch: str, **values: Any) -> list[Entry]:
    out = [Entry("general.architecture", STRING, arch), Entry("general.name", STRING, "tiny")]
    for key, given in values.items():
        kind = BOOL if isinstance(given, bool) else U32 if isinstance(given, int) else F32
        out.append(Entry(f"{arch}.{key.replace('__', '.')}", kind, given))
    return out


def _bpe() -> list[Entry]:
    tokens = PIECES + SPECIAL
    types = [1] * 256 + [3, 3, 3, 1, 1, 1, 1]
    return [
        Entry("tokenizer.ggml.model", STRING, "gpt2"),
        Entry("tokenizer.ggml.pre", STRING, "default"),
        Entry("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)),
        Entry("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        Entry("tokenizer.ggml.merges", ARRAY, (STRING, ["Ġ a", "Ġ b", "t h", "h e"])),
        Entry("tokenizer.ggml.bos_token_id", U32, 257),
        Entry("tokenizer.ggml.eos_token_id", U32, 258),
        Entry("tokenizer.ggml.padding_token_id", U32, 256),
        Entry("tokenizer.chat_template", STRING, TEMPLATE),
    ]


N_VOCAB = 256 + len(SPECIAL)


def _attention(i: int) -> list[Tensor]:
    kv = N_EMBD // 2
    return [
        tensor(f"blk.{i}.attn_norm.weight", N_EMBD),
        tensor(f"blk.{i}.attn_q.weight", N_EMBD, N_EMBD),
        tensor(f"blk.{i}.attn_k.weight", N_EMBD, kv),
        tensor(f"blk.{i}.attn_v.weight", N_EMBD, kv),
        tensor(f"blk.{i}.attn_output.weight", N_EMBD, N_EMBD),
        tensor(f"blk.{i}.ffn_norm.weight", N_EMBD),
    ]


def _decoder(context_length: int = N_CTX, **more: Any) -> list[Entry]:
    shape = {"block_count": N_LAYER, "context_length": context_length, "embedding_length": N_EMBD}
    heads = {"attention__head_count": N_HEAD, "attention__head_count_kv": N_HEAD // 2}
    rest = {"feed_forward_length": N_FF, "attention__layer_norm_rms_epsilon": 1e-5}
    return _entries("llama", **shape, **heads, **rest, rope__dimension_count=16, **more) + _bpe()


def chat(context_length: int = N_CTX) -> File:
    """A decoder of the llama kind."""
    tensors = [tensor("token_embd.weight", N_EMBD, N_VOCAB), tensor("output_norm.weight", N_EMBD)]
    for i in range(N_LAYER):
        tensors += _attention(i)
        tensors += [tensor(f"blk.{i}.ffn_{name}.weight", N_EMBD, N_FF) for name in ("gate", "up")]
        tensors.append(tensor(f"blk.{i}.ffn_down.weight", N_FF, N_EMBD))
    return File(_decoder(context_length), tensors)


def experts() -> File:
    """A decoder with a mixture of experts."""
    tensors = [tensor("token_embd.weight", N_EMBD, N_VOCAB), tensor("output_norm.weight", N_EMBD)]
    for i in range(N_LAYER):
        tensors += _attention(i)
        tensors.append(tensor(f"blk.{i}.ffn_gate_inp.weight", N_EMBD, 4))
        tensors += [tensor(f"blk.{i}.ffn_{name}_exps.weight", N_EMBD, N_FF, 4) for name in ("gate", "up")]
        tensors.append(tensor(f"blk.{i}.ffn_down_exps.weight", N_FF, N_EMBD, 4))
    return File(_decoder(expert_count=4, expert_used_count=2), tensors)


def recurrent() -> File:
    """A state-space model."""
    inner, state, rank, conv = 2 * N_EMBD, 16, 4, 4
    entries = _entries(
        "mamba",
        block_count=N_LAYER,
        context_length=N_CTX,
        embedding_length=N_EMBD,
        feed_forward_length=0,
        attention__head_count=0,
        attention__layer_norm_rms_epsilon=1e-5,
        ssm__conv_kernel=conv,
        ssm__inner_size=inner,
        ssm__state_size=state,
        ssm__time_step_rank=rank,
    )
    tensors = [tensor("token_embd.weight", N_EMBD, N_VOCAB), tensor("output_norm.weight", N_EMBD)]
    for i in range(N_LAYER):
        tensors += [
            tensor(f"blk.{i}.attn_norm.weight", N_EMBD),
            tensor(f"blk.{i}.ssm_in.weight", N_EMBD, 2 * inner),
            tensor(f"blk.{i}.ssm_conv1d.weight", conv, inner),
            tensor(f"blk.{i}.ssm_conv1d.bias", inner),
            tensor(f"blk.{i}.ssm_x.weight", inner, rank + 2 * state),
            tensor(f"blk.{i}.ssm_dt.weight", rank, inner),
            tensor(f"blk.{i}.ssm_dt.bias", inner),
            tensor(f"blk.{i}.ssm_a", state, inner),
            tensor(f"blk.{i}.ssm_d", inner),
            tensor(f"blk.{i}.ssm_out.weight", inner, N_EMBD),
        ]
    return File(entries + _bpe(), tensors)


def encoder() -> File:
    """A BERT."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"▁{c}" for c in "abcdehst"), *"abcdehst"]
    entries = _entries(
        "bert",
        block_count=N_LAYER,
        context_length=N_CTX,
        embedding_length=N_EMBD,
        feed_forward_length=N_FF,
        attention__head_count=N_HEAD,
        attention__layer_norm_epsilon=1e-12,
        attention__causal=False,
        pooling_type=1,
    )
    entries += [
        Entry("tokenizer.ggml.model", STRING, "bert"),
        Entry("tokenizer.ggml.token_type_count", U32, 2),
        Entry("tokenizer.ggml.tokens", ARRAY, (STRING, words)),
        Entry("tokenizer.ggml.token_type", ARRAY, (I32, [3] * 5 + [1] * (len(words) - 5))),
        Entry("tokenizer.ggml.bos_token_id", U32, 2),
        Entry("tokenizer.ggml.eos_token_id", U32, 3),
        Entry("tokenizer.ggml.unknown_token_id", U32, 1),
        Entry("tokenizer.ggml.seperator_token_id", U32, 3),
        Entry("tokenizer.ggml.padding_token_id", U32, 0),
        Entry("tokenizer.ggml.cls_token_id", U32, 2),
        Entry("tokenizer.ggml.mask_token_id", U32, 4),
    ]
    tensors = [
        tensor("token_embd.weight", N_EMBD, len(words)),
        tensor("token_types.weight", N_EMBD, 2),
        tensor("position_embd.weight", N_EMBD, N_CTX),
        tensor("token_embd_norm.weight", N_EMBD),
        tensor("token_embd_norm.bias", N_EMBD),
    ]
    for i in range(N_LAYER):
        tensors += encoder_layer(f"blk.{i}", "attn_output", "attn_output_norm", "layer_output_norm")
    return File(entries, tensors)


def lora() -> File:
    """An adapter for :func:`chat`."""
    entries = _entries("llama")
    entries += [Entry("general.type", STRING, "adapter"), Entry("adapter.type", STRING, "lora")]
    entries.append(Entry("adapter.lora.alpha", F32, 4.0))
    tensors = []
    for i in range(N_LAYER):
        tensors.append(tensor(f"blk.{i}.attn_q.weight.lora_a", N_EMBD, 4))
        tensors.append(tensor(f"blk.{i}.attn_q.weight.lora_b", 4, N_EMBD))
    return File(entries, tensors)


def control_vector() -> File:
    """A control vector for :func:`chat`."""
    entries = [Entry("general.architecture", STRING, "controlvector")]
    entries.append(Entry("controlvector.model_hint", STRING, "llama"))
    return File(entries, [tensor(f"direction.{i}", N_EMBD) for i in range(1, N_LAYER)])


KINDS: dict[str, Callable[[], File]] = {
    "chat": chat,
    "experts": experts,
    "recurrent": recurrent,
    "encoder": encoder,
    "lora": lora,
    "control vector": control_vector,
    "draft": chat,
    "lowlevel": chat,
}


def make(kinds: Sequence[str]) -> dict[str, File]:
    """One file of each kind."""
    return {kind: KINDS[kind]() for kind in kinds}
