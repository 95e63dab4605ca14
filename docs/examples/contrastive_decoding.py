"""Contrastive decoding: answer from a document, not from memory.

Usage: python contrastive_decoding.py MODEL.gguf

Two sequences run side by side in one context. The first sees the document and the question, the second the
question alone. What the document adds to the first one's logits is amplified:

    logits = (1 + alpha) * logits(with document) - alpha * logits(without)

so that the model says what it has just read even where it "knows" otherwise (context-aware decoding,
Shi et al. 2023, arXiv:2305.14739, equation 4). alpha = 0 is ordinary greedy decoding.
"""

from __future__ import annotations

import sys

from llamacpp_core.lowlevel import Batch, Candidates, Context, Model, Sampler

DOCUMENT = "On this planet the sky is green and grass is red.\n"
QUESTION = "The colour of the sky is"


def first_logits(context: Context, batch: Batch, prompts: list[list[int]]) -> tuple[list[int], list[int]]:
    """Decodes both prompts at once; returns the next positions and where their logits are."""
    batch.clear()
    outputs = [batch.add_tokens(tokens, seq_id=i) for i, tokens in enumerate(prompts)]
    context.decode(batch)
    return [len(tokens) for tokens in prompts], outputs


def answer(path: str, alpha: float, *, n_tokens: int = 6) -> str:
    """Returns how the model completes the question, with the document amplified by ``alpha``."""
    with (
        Model(path) as model,
        model.create_context(n_ctx=1024, n_seq_max=2) as context,
        Sampler(model).greedy() as greedy,
        Batch(512) as batch,
    ):
        prompts = [model.tokenize(DOCUMENT + QUESTION), model.tokenize(QUESTION)]
        positions, outputs = first_logits(context, batch, prompts)
        tokens: list[int] = []
        for _ in range(n_tokens):
            informed, ignorant = (context.logits(index) for index in outputs)
            candidates = Candidates.from_logits((1 + alpha) * informed - alpha * ignorant)
            greedy.apply(candidates)
            token = candidates.selected
            if token is None or model.vocabulary.is_end(token):
                break
            tokens.append(token)
            batch.clear()
            outputs = [
                batch.add(token, position, seq_ids=[i], output=True) for i, position in enumerate(positions)
            ]
            positions = [position + 1 for position in positions]
            context.decode(batch)
        return model.detokenize(tokens)


if __name__ == "__main__":
    for strength in (0.0, 0.5, 1.0):
        print(f"alpha {strength}: {QUESTION}{answer(sys.argv[1], strength)}")
