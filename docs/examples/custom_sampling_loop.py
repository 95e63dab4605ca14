"""A sampling loop of one's own: top-k with a temperature that follows the model's doubt, in numpy.

Usage: python custom_sampling_loop.py MODEL.gguf ["a prompt"]

The sampler below is plain Python. It sees every token's logit, keeps the fifty best, and chooses: boldly
where the model is sure anyway, carefully where it hesitates. The rest of the chain is llama.cpp's own.
"""

from __future__ import annotations

import sys

import numpy as np

from llamacpp_core.lowlevel import Candidates, Model, PythonSampler, Sampler


class DoubtfulTemperature(PythonSampler):
    """Lowers the temperature as the entropy of the next token rises."""

    name = "doubtful_temperature"
    selects = True

    def __init__(self, base: float = 0.9, seed: int = 0) -> None:
        self.base = base
        self.random = np.random.default_rng(seed)
        self.entropies: list[float] = []

    def apply(self, candidates: Candidates) -> None:
        """Keeps fifty candidates, scales their logits by their entropy, draws one."""
        best = np.argpartition(candidates.logits, -50)[-50:] if len(candidates) > 50 else slice(None)
        candidates.keep(np.arange(len(candidates))[best])
        probs = candidates.softmax()
        entropy = float(-(probs * np.log(probs + 1e-12)).sum())
        candidates.logits[:] /= self.base / (1 + entropy)
        probs = candidates.softmax().astype(np.float64)
        candidates.select(int(self.random.choice(len(candidates), p=probs / probs.sum())))
        self.entropies.append(entropy)


def generate(path: str, prompt: str, n_tokens: int = 48) -> tuple[str, list[float]]:
    """Returns the continuation of a prompt, and the entropy at each of its tokens."""
    doubtful = DoubtfulTemperature()
    pieces: list[bytes] = []
    with (
        Model(path) as model,
        model.create_context(n_ctx=1024) as context,
        Sampler(model).penalties(64, repeat=1.1).python(doubtful) as sampler,
    ):
        context.decode(model.tokenize(prompt))
        for _ in range(n_tokens):
            token = sampler.sample(context)
            if model.vocabulary.is_end(token):
                break
            pieces.append(model.token_to_piece(token))
            context.decode([token])
    return b"".join(pieces).decode(errors="replace"), doubtful.entropies


if __name__ == "__main__":
    text, entropies = generate(
        sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "The lighthouse keeper opened"
    )
    print(text)
    print(f"mean entropy: {np.mean(entropies):.2f} nats over {len(entropies)} tokens")
