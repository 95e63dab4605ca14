"""BERT's forward pass in numpy, float32: what the engine's embeddings and scores are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def erf(x: Array) -> Array:
    """Abramowitz and Stegun 7.1.26; the error is below 1.5e-7."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    result: Array = np.sign(x) * (1 - series * np.exp(-x * x))
    return result.astype(np.float32)


def gelu(x: Array) -> Array:
    return (0.5 * x * (1 + erf(x / np.float32(np.sqrt(2))))).astype(np.float32)


class BertReference:
    """The encoder of a GGUF file whose weights are float32.

    Devlin et al. 2018, as published in the checkpoint's own framework: absolute positions, post-norm layers,
    exact GELU.
    """

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.weights = {tensor.name: np.array(tensor.data, dtype=np.float32) for tensor in reader.tensors}
        self.n_layers = int(reader.fields["bert.block_count"].contents())
        self.n_heads = int(reader.fields["bert.attention.head_count"].contents())
        self.epsilon = float(reader.fields["bert.attention.layer_norm_epsilon"].contents())

    def _norm(self, x: Array, name: str) -> Array:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        weights = self.weights
        return (x - mean) / np.sqrt(variance + self.epsilon) * weights[f"{name}.weight"] + weights[
            f"{name}.bias"
        ]

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def hidden(self, ids: Sequence[int], n_first: int | None = None) -> Array:
        """The last layer's vectors, shape [n_tokens, n_embd]; after n_first tokens the second text begins."""
        weights = self.weights
        x = weights["token_embd.weight"][list(ids)] + weights["position_embd.weight"][: len(ids)]
        types = (np.arange(len(ids)) >= (len(ids) if n_first is None else n_first)).astype(int)
        x = self._norm(x + weights["token_types.weight"][types], "token_embd_norm")
        for layer in range(self.n_layers):
            name = f"blk.{layer}"
            query, key, value = (
                self._linear(x, f"{name}.attn_{part}").reshape(len(ids), self.n_heads, -1).swapaxes(0, 1)
                for part in "qkv"
            )
            scores = query @ key.swapaxes(1, 2) / np.sqrt(np.float32(query.shape[-1]))
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            attended = (scores @ value).swapaxes(0, 1).reshape(len(ids), -1)
            x = self._norm(x + self._linear(attended, f"{name}.attn_output"), f"{name}.attn_output_norm")
            wide = gelu(self._linear(x, f"{name}.ffn_up"))
            x = self._norm(x + self._linear(wide, f"{name}.ffn_down"), f"{name}.layer_output_norm")
        return x.astype(np.float32)

    def mean(self, ids: Sequence[int]) -> Array:
        """The mean of the tokens' vectors, at length 1."""
        pooled = self.hidden(ids).mean(0)
        return (pooled / np.linalg.norm(pooled)).astype(np.float32)

    def score(self, first_ids: Sequence[int], second_ids: Sequence[int]) -> float:
        """A cross-encoder's score: a dense layer with tanh over the first token, then a projection."""
        hidden = self.hidden([*first_ids, *second_ids], len(first_ids))
        first = np.tanh(self._linear(hidden[:1], "cls"))
        return float(self._linear(first, "cls.output")[0, 0])
