"""A peer of ``reranker.py``: sentence-transformers' CrossEncoder.

Its arguments are "f32" or "bf16", and JSON: {"model": folder or name or null, "head": file, "n_threads": 2}.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
from _peers import minilm, own_stdout, serve


def with_head(encoder: str, head: str, folder: str) -> str:
    """Saves a classifier of an encoder and a head of known weights, and gives its folder."""
    import torch
    from transformers import (  # type: ignore[import-not-found]
        AutoModel,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    bert = AutoModel.from_pretrained(encoder)
    made = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=1)
    made.bert.load_state_dict(bert.state_dict(), strict=False)
    weights = {name: torch.from_numpy(values) for name, values in np.load(head).items()}
    made.bert.pooler.dense.load_state_dict({"weight": weights["cls.weight"], "bias": weights["cls.bias"]})
    made.classifier.load_state_dict(
        {"weight": weights["cls.output.weight"], "bias": weights["cls.output.bias"]}
    )
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def main() -> None:
    """Loads it and answers calls."""
    out, kind, settings = own_stdout(), sys.argv[1], json.loads(sys.argv[2])
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(settings["n_threads"])
    with tempfile.TemporaryDirectory() as folder:
        model = settings["model"] or with_head(minilm(), settings["head"], folder)
        loaded = CrossEncoder(
            model,
            device="cpu",
            max_length=512,
            model_kwargs={"dtype": {"f32": torch.float32, "bf16": torch.bfloat16}[kind]},
        )

    def scores(query: str, documents: list[str]) -> list[float]:
        pairs = [(query, document) for document in documents]
        found: Any = loaded.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_tensor=True)
        return [float(score) for score in found.float()]

    def seconds(query: str, documents: list[str]) -> float:
        start = time.perf_counter()
        scores(query, documents)
        return time.perf_counter() - start

    serve(out, {"seconds": seconds, "scores": scores})


if __name__ == "__main__":
    main()
