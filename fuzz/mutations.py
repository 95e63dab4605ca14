"""Changes of GGUF files that keep them readable, so that what comes after the header is reached."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

from fuzz.files import ARRAY, BOOL, CODES, F32, I32, STRING, U32, Entry, File

__all__ = ["mutate"]

INTEGERS = (0, 1, 2, 3, 7, 8, 16, 33, 63, 64, 65, 127, 128, 255, 256, 511, 512, 513, 4096, 65535, 65536)
INTEGERS += (2**20, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -1, -2, -128, -(2**31))
FLOATS = (0.0, -1.0, 1.0, 1e-30, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"), 0.5)
TENSOR_TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 26, 28, 30, 34, 39, 40, 99, 2**31)
ARCHITECTURES = """
    llama llama4 falcon grok gpt2 gptneox mpt baichuan starcoder refact bert nomic-bert jina-bert-v2
    bloom stablelm qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe phi2 phi3 plamo codeshell orion internlm2
    minicpm gemma gemma2 gemma3 gemma3n starcoder2 mamba mamba2 jamba xverse command-r cohere2 dbrx olmo
    olmo2 openelm arctic deepseek deepseek2 chatglm glm4 glm4moe bitnet t5 t5encoder jais nemotron
    exaone rwkv6 rwkv7 granite granitemoe granitehybrid chameleon wavtokenizer-dec plm bailingmoe dots1
    arcee ernie4_5 hunyuan-moe smollm3 gpt-oss lfm2 clip controlvector brontosaurus
"""
KEYS = """
    block_count context_length embedding_length embedding_length_out features_length feed_forward_length
    expert_feed_forward_length expert_shared_feed_forward_length leading_dense_block_count expert_count
    expert_used_count expert_shared_count expert_group_count expert_group_used_count
    expert_weights_scale expert_gating_func moe_every_n_layers nextn_predict_layers
    use_parallel_residual tensor_data_layout decoder_start_token_id logit_scale attn_logit_softcapping
    final_logit_softcapping pooling_type residual_scale embedding_scale token_shift_count
    interleave_moe_layer_step vocab_size n_deepstack_layers attention.head_count attention.head_count_kv
    attention.max_alibi_bias attention.clamp_kqv attention.key_length attention.value_length
    attention.layer_norm_epsilon attention.layer_norm_rms_epsilon attention.group_norm_epsilon
    attention.group_norm_groups attention.causal attention.q_lora_rank attention.kv_lora_rank
    attention.relative_buckets_count attention.sliding_window attention.sliding_window_pattern
    attention.scale attention.temperature_length attention.key_length_mla attention.value_length_mla
    rope.dimension_count rope.dimension_sections rope.freq_base rope.scale_linear rope.scaling.type
    rope.scaling.factor rope.scaling.attn_factor rope.scaling.original_context_length
    rope.scaling.yarn_log_multiplier ssm.conv_kernel ssm.inner_size ssm.state_size ssm.time_step_rank
    ssm.group_count ssm.dt_b_c_rms wkv.head_size posnet.embedding_length convnext.block_count
    classifier.output_labels shortconv.l_cache
"""
TOKENIZER_KEYS = """
    bos_token_id eos_token_id eot_token_id eom_token_id unknown_token_id seperator_token_id
    padding_token_id cls_token_id mask_token_id add_bos_token add_eos_token add_sep_token
    add_space_prefix remove_extra_whitespaces precompiled_charsmap prefix_token_id suffix_token_id
    middle_token_id fim_pre_token_id fim_suf_token_id fim_mid_token_id token_type_count scores
    token_type tokens merges
"""
CLIP_KEYS = """
    image_size patch_size embedding_length feed_forward_length projection_dim block_count
    spatial_merge_size attention.head_count attention.head_count_kv attention.head_dim
    attention.layer_norm_epsilon feature_layer image_min_pixels image_max_pixels preproc_min_tiles
    preproc_max_tiles preproc_image_size image_mean image_std projector.scale_factor
    projector.query_side projector.window_side window_size mm_patch_merge_type image_grid_pinpoints
    n_wa_pattern wa_layer_indexes sam.head_count sam.block_count sam.embedding_length expert_used_count
"""
AUDIO_KEYS = """
    num_mel_bins projector.stack_factor embedding_length feed_forward_length projection_dim block_count
    attention.head_count attention.layer_norm_epsilon chunk_size conv_kernel_size max_pos_emb window_size
    subsampling_factor
"""
TOKENIZERS = ("gpt2", "llama", "bert", "t5", "rwkv", "plamo2", "none", "no_vocab", "gemma4", "x")
PRES = ("default", "llama-bpe", "qwen2", "deepseek-llm", "gpt-4o", "tekken", "smollm", "chameleon", "x", "")
TEXTS = (
    "",
    "a",
    "a" * 70_000,
    "\udcff\udcfe",
    "é" * 50,
    "a\0b",
    "<|im_end|>",
    "▁",
    "{{ 1 }}",
    "<0x41>",
    "%s%n",
)

Change = Callable[[File, random.Random], None]


def mutate(file: File, numbers: random.Random) -> bytes:
    """The bytes of a copy of ``file`` with a few changes."""
    changed = copy.deepcopy(file)
    for _ in range(numbers.choice((1, 1, 1, 2, 2, 3, 6))):
        numbers.choice(CHANGES)(changed, numbers)
    data = changed.pack()
    if numbers.random() < 0.04:
        data = _damage(data, numbers)
    return data


def _damage(data: bytes, numbers: random.Random) -> bytes:
    if numbers.random() < 0.5:
        return data[: numbers.randrange(len(data))]
    out = bytearray(data)
    for _ in range(numbers.choice((1, 4, 40))):
        out[numbers.randrange(min(len(out), 20_000))] = numbers.randrange(256)
    return bytes(out)


def _integer(numbers: random.Random, old: object) -> int:
    if isinstance(old, int) and numbers.random() < 0.4:
        return old + numbers.choice((-1, 1, old, -old // 2, 1000))
    return numbers.choice(INTEGERS)


def _value(entry: Entry, numbers: random.Random) -> None:
    if entry.type == STRING:
        entry.value = _string(entry, numbers)
    elif entry.type == ARRAY:
        _array(entry, numbers)
    elif entry.type == BOOL:
        entry.value = numbers.choice((0, 1, 2, 255))
    elif CODES.get(entry.type, "") in "fd":
        entry.value = numbers.choice(FLOATS)
    else:
        entry.value = _integer(numbers, entry.value)


def _string(entry: Entry, numbers: random.Random) -> str:
    choices: dict[str, tuple[str, ...] | list[str]] = {
        "general.architecture": ARCHITECTURES.split(),
        "tokenizer.ggml.model": TOKENIZERS,
        "tokenizer.ggml.pre": PRES,
        "general.type": ("model", "adapter", "mmproj", "vocab", "imatrix", "x"),
        "clip.projector_type": (
            "mlp",
            "ldp",
            "resampler",
            "gemma3",
            "idefics3",
            "pixtral",
            "qwen2vl_merger",
            "x",
        ),
    }
    return numbers.choice(choices.get(entry.key, TEXTS) if numbers.random() < 0.9 else TEXTS)


def _array(entry: Entry, numbers: random.Random) -> None:
    element, items = entry.value
    items = list(items)
    way = numbers.randrange(6)
    if way == 0:
        items = items[: numbers.randrange(len(items) + 1)]
    elif way == 1:
        items = items * 2
    elif way == 2 and items:
        items += [numbers.choice(items)] * numbers.choice((1, 10, 1000))
    elif way == 3:
        element = numbers.choice((U32, I32, F32, STRING, BOOL, 10, ARRAY, 77))
        items = [(U32, [])] * len(items) if element == ARRAY else items
    else:
        for _ in range(numbers.choice((1, 3, 300))):
            if items:
                new = numbers.choice(TEXTS) if element == STRING else numbers.choice((*INTEGERS, *FLOATS))
                items[numbers.randrange(len(items))] = new
    entry.value = (element, items)


def change_value(file: File, numbers: random.Random) -> None:
    """Another value of an entry."""
    if file.entries:
        _value(numbers.choice(file.entries), numbers)


def change_type(file: File, numbers: random.Random) -> None:
    """Another type of an entry."""
    if not file.entries:
        return
    entry = numbers.choice(file.entries)
    entry.type = numbers.choice((U32, I32, F32, STRING, BOOL, 10, 11, 12, ARRAY))
    if entry.type == ARRAY and not isinstance(entry.value, tuple):
        element = numbers.choice((U32, I32, F32, STRING))
        entry.value = (element, [entry.value] * numbers.choice((0, 1, 2, 3, 600)))
    elif entry.type != ARRAY and isinstance(entry.value, tuple):
        entry.value = numbers.choice(INTEGERS)


def drop_entry(file: File, numbers: random.Random) -> None:
    """An entry less."""
    if file.entries:
        file.entries.pop(numbers.randrange(len(file.entries)))


def double_entry(file: File, numbers: random.Random) -> None:
    """An entry twice."""
    if file.entries:
        file.entries.append(copy.deepcopy(numbers.choice(file.entries)))


def add_entry(file: File, numbers: random.Random) -> None:
    """An entry that llama.cpp knows and this file has not."""
    arch = next((str(entry.value) for entry in file.entries if entry.key == "general.architecture"), "llama")
    if arch == "clip":
        hears = any(entry.key == "clip.has_audio_encoder" for entry in file.entries)
        sense, names = ("audio", AUDIO_KEYS) if hears else ("vision", CLIP_KEYS)
        key = f"clip.{sense}.{numbers.choice(names.split())}"
    elif numbers.random() < 0.25:
        key = f"tokenizer.ggml.{numbers.choice(TOKENIZER_KEYS.split())}"
    else:
        key = f"{arch}.{numbers.choice(KEYS.split())}"
    file.entries = [entry for entry in file.entries if entry.key != key]
    entry = Entry(key, numbers.choice((U32, U32, U32, F32, BOOL, I32, STRING)), 1)
    _value(entry, numbers)
    if numbers.random() < 0.15:
        entry.value = (U32, [numbers.choice(INTEGERS) for _ in range(numbers.choice((1, 2, 4, 600)))])
        entry.type = ARRAY
    file.entries.append(entry)


def change_shape(file: File, numbers: random.Random) -> None:
    """Another shape of a tensor; its data follow or not."""
    if not file.tensors:
        return
    tensor = numbers.choice(file.tensors)
    way = numbers.randrange(5)
    if way == 0:
        tensor.shape = tensor.shape[:-1]
    elif way == 1:
        tensor.shape.append(numbers.choice((0, 1, 2, 2**40)))
    elif way == 2:
        tensor.shape.reverse()
    elif tensor.shape:
        at = numbers.randrange(len(tensor.shape))
        tensor.shape[at] = _integer(numbers, tensor.shape[at])
    n = 4
    for size in tensor.shape:
        n *= max(0, size)
    if numbers.random() < 0.7 and n < 1 << 20:
        tensor.data = (tensor.data or b"\0") * (n // max(1, len(tensor.data)) + 1)
        tensor.data = tensor.data[:n]


def change_tensor(file: File, numbers: random.Random) -> None:
    """Another type, place, name or content of a tensor."""
    if not file.tensors:
        return
    tensor = numbers.choice(file.tensors)
    way = numbers.randrange(6)
    if way == 0:
        tensor.type = numbers.choice(TENSOR_TYPES)
    elif way == 1:
        tensor.offset = numbers.choice((0, 1, 31, 32, 64, 2**20, 2**40, 2**63, 2**64 - 32))
    elif way == 2:
        tensor.name = numbers.choice((*TEXTS[:5], numbers.choice(file.tensors).name, "output.weight"))
    elif way == 3:
        bad = numbers.choice((b"\xff", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\0"))
        tensor.data = (bad * len(tensor.data))[: len(tensor.data)]
    elif way == 4:
        file.tensors.remove(tensor)
    else:
        file.tensors.append(copy.deepcopy(tensor))


def change_counts(file: File, numbers: random.Random) -> None:
    """A header that says another number."""
    way = numbers.randrange(3)
    if way == 0:
        file.more_entries = numbers.choice((-1, 1, 1000, 2**40, 2**63))
    elif way == 1:
        file.more_tensors = numbers.choice((-1, 1, 1000, 2**40, 2**63))
    else:
        file.version = numbers.choice((0, 1, 2, 3, 4, 0x03000000))


CHANGES: tuple[Change, ...] = (
    *([change_value] * 6),
    *([change_type] * 2),
    *([add_entry] * 5),
    *([change_shape] * 2),
    *([change_tensor] * 2),
    drop_entry,
    double_entry,
    change_counts,
)
