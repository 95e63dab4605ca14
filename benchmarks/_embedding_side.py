"""A peer of ``embeddings.py``: all-MiniLM-L6-v2 by sentence-transformers, or by onnxruntime.

Its arguments are "f32", "bf16" or "onnx", and JSON: {"model": folder, name or null, "n_threads": 2}.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _peers import minilm, own_stdout, serve

Embed = Callable[[list[str]], np.ndarray]


def torch_embed(model: str, n_threads: int, dtype: str) -> Embed:
    """sentence-transformers, as its users call it."""
    import torch  # type: ignore[import-not-found]
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    torch.set_num_threads(n_threads)
    kinds = {"f32": torch.float32, "bf16": torch.bfloat16}
    loaded = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": kinds[dtype]})

    def embed(texts: list[str]) -> np.ndarray:
        vectors = loaded.encode(texts, normalize_embeddings=True, convert_to_tensor=True)
        return vectors.float().numpy()  # type: ignore[no-any-return]

    return embed


def onnx_embed(model: str, n_threads: int) -> Embed:
    """The same weights, exported here, in onnxruntime; batches as sentence-transformers makes them."""
    import onnxruntime  # type: ignore[import-not-found]
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(model, device="cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _export(loaded[0].auto_model, path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tokenizer, limit = loaded.tokenizer, loaded.max_seq_length

    def embed(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        rows: list[Any] = [None] * len(texts)
        for at in range(0, len(order), 32):
            part = order[at : at + 32]
            tokens = tokenizer(
                [texts[i] for i in part], padding=True, truncation=True, max_length=limit, return_tensors="np"
            )
            mask = tokens["attention_mask"].astype(np.int64)
            (states,) = session.run(
                None, {"input_ids": tokens["input_ids"].astype(np.int64), "attention_mask": mask}
            )
            weights = mask[:, :, None].astype(np.float32)
            mean = (states * weights).sum(axis=1) / weights.sum(axis=1)
            for i, row in zip(part, mean / np.linalg.norm(mean, axis=1, keepdims=True), strict=True):
                rows[i] = row
        return np.stack(rows)

    return embed


def _export(model: Any, path: Path) -> None:
    """The transformer as an ONNX file whose batch and length are free."""
    import torch

    class States(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    # Two tensors: the exporter would take one tensor given twice for one input.
    ids, mask = (torch.ones((2, 16), dtype=torch.int64) for _ in range(2))
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    torch.onnx.export(
        States().eval(),
        (ids, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["states"],
        dynamic_shapes=(free, free),
        dynamo=True,
        external_data=False,
    )


def main() -> None:
    """Loads one and answers calls."""
    out, kind, settings = own_stdout(), sys.argv[1], json.loads(sys.argv[2])
    model = settings["model"] or minilm()
    if kind == "onnx":
        embed = onnx_embed(model, settings["n_threads"])
    else:
        embed = torch_embed(model, settings["n_threads"], kind)

    def seconds(texts: list[str]) -> float:
        start = time.perf_counter()
        embed(texts)
        return time.perf_counter() - start

    serve(out, {"seconds": seconds, "vectors": lambda texts: embed(texts).tolist()})


if __name__ == "__main__":
    main()
