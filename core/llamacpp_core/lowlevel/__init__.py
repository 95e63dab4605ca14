"""llama.cpp's own objects, for people who write their own loops.

A :class:`Model`, a :class:`Context` that decodes a :class:`Batch`, a :class:`Sampler` that chooses tokens:
the classes follow ``llama.h`` closely, check every argument before it reaches native code (which aborts the
process on nonsense), own what they make, and give logits and embeddings as numpy views.

::

    with (
        Model("model.gguf") as model,
        model.create_context(n_ctx=2048) as context,
        Sampler(model).greedy() as sampler,
    ):
        context.decode(model.tokenize("The capital of France is"))
        for _ in range(16):
            token = sampler.sample(context)
            if model.vocabulary.is_end(token):
                break
            print(model.token_to_piece(token).decode(errors="replace"), end="")
            context.decode([token])

:class:`llamacpp_core.Llama` is the higher floor: it batches many requests, and needs none of this.
"""

from __future__ import annotations

from llamacpp_core.lowlevel.batch import Batch
from llamacpp_core.lowlevel.candidates import Candidates
from llamacpp_core.lowlevel.context import Context
from llamacpp_core.lowlevel.lora import LoraAdapter
from llamacpp_core.lowlevel.memory import Memory
from llamacpp_core.lowlevel.model import Model
from llamacpp_core.lowlevel.python_sampler import PythonSampler
from llamacpp_core.lowlevel.sampler import Sampler
from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Candidates",
    "Context",
    "LoraAdapter",
    "Memory",
    "Model",
    "PythonSampler",
    "Sampler",
    "Vocabulary",
]
