from __future__ import annotations

from pathlib import Path

import pytest

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.models import kv_cache_bytes, kv_is_upper_bound, read_gguf_header, weights_bytes
from llamacpp_core.models.memory import KV_TYPES

from .conftest import write_gguf


def test_kv_cache_by_hand(tiny_gguf: Path) -> None:
    header = read_gguf_header(tiny_gguf)
    # 2 layers, 2 key-value heads of 64 / 4 = 16 elements, keys and values, 2 bytes each
    assert kv_cache_bytes(header, 512) == 2 * 512 * (2 * 16 + 2 * 16) * 2
    assert kv_cache_bytes(header, 1) == kv_cache_bytes(header, 256)
    assert kv_cache_bytes(header, 257) == kv_cache_bytes(header, 512)
    assert kv_cache_bytes(header, 512, "q8_0", "f32") == 2 * 512 * (34 + 32 * 4)
    assert kv_cache_bytes(header, 512, "q4_0", "q4_0") == 2 * 512 * (18 + 18)
    assert not kv_is_upper_bound(header)


def test_every_type_has_a_size() -> None:
    assert set(KV_TYPES) == {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}


def test_explicit_head_sizes(tmp_path: Path) -> None:
    extra = {"llama.attention.key_length": 24, "llama.attention.value_length": 8}
    header = read_gguf_header(write_gguf(tmp_path / "m.gguf", extra=extra))
    assert kv_cache_bytes(header, 256) == 2 * 256 * (2 * 24 + 2 * 8) * 2


def test_upper_bounds(tmp_path: Path) -> None:
    window = write_gguf(tmp_path / "w.gguf", extra={"llama.attention.sliding_window": 128})
    recurrent = write_gguf(tmp_path / "r.gguf", extra={"llama.ssm.state_size": 16})
    assert kv_is_upper_bound(read_gguf_header(window))
    assert kv_is_upper_bound(read_gguf_header(recurrent))


def test_encoders_have_no_cache(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", extra={"llama.attention.causal": False})
    assert kv_cache_bytes(read_gguf_header(path), 512) == 0


def test_weights(tiny_gguf: Path) -> None:
    header = read_gguf_header(tiny_gguf)
    assert weights_bytes(header, header) == 2 * (40 * 64 * 2 + 64 * 4)


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [((0,), "n_ctx"), ((-5,), "n_ctx"), ((8, "q9"), "type_k"), ((8, "f16", "Q8_0"), "type_v")],
)
def test_bad_values(tiny_gguf: Path, arguments: tuple[int, str, str], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        kv_cache_bytes(read_gguf_header(tiny_gguf), *arguments)
    assert caught.value.parameter == parameter
