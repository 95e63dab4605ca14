# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Embeddings: a map, search and reranking
#
# An embedding model turns a text into a list of numbers. Texts that mean similar things get similar numbers.

# %%
import matplotlib.pyplot as plt
import numpy as np

from llamacpp_core import Llama
from llamacpp_core.display import embedding_html, rerank_html, show
from llamacpp_core.display.plot import similarity_matrix

embedder = Llama("all-minilm-l6-v2")
embedder

# %% [markdown]
# ## A small corpus

# %%
CORPUS = {
    "weather": [
        "Heavy rain is expected in the north tonight.",
        "The storm brought snow to the mountains.",
        "It stays sunny and dry until Friday.",
        "Strong winds closed the bridge this morning.",
        "Fog hides the valley until noon.",
        "A warm front brings clouds from the west.",
    ],
    "cooking": [
        "Fry the onions in butter until they are golden.",
        "Let the dough rest for an hour before baking.",
        "Season the soup with salt and black pepper.",
        "A sharp knife makes chopping vegetables easy.",
        "Boil the potatoes in salted water.",
        "Serve the cake with whipped cream.",
    ],
    "space": [
        "The probe sent pictures of Saturn's rings.",
        "A day on the Moon lasts almost thirty days.",
        "Astronomers found a planet around a distant star.",
        "The rocket reached orbit after nine minutes.",
        "The telescope sees galaxies as they were long ago.",
        "Two astronauts repaired the station's antenna.",
    ],
}
texts = [text for group in CORPUS.values() for text in group]
topics = [topic for topic, group in CORPUS.items() for _ in group]
vectors = embedder.embed(texts)
vectors.shape, vectors.dtype

# %% [markdown]
# Each row below is a vector, one cell for each of its 384 numbers: blue above zero, orange below.

# %%
show(embedding_html(vectors[::3], labels=texts[::3]))

# %% [markdown]
# ## How alike?
#
# The vectors have length 1, so the cosine of two of them is their product.

# %%
pairs = [0, 1, 6, 7, 12, 13]
similarity_matrix(vectors[pairs], labels=[texts[i] for i in pairs])
plt.show()

# %% [markdown]
# ## A map
#
# A projection onto the two directions in which the vectors differ most (principal
# components). Most of what the 384 numbers say is lost on the way. Two directions still
# keep three topics apart.

# %%
centred = vectors - vectors.mean(axis=0)
_, spread, directions = np.linalg.svd(centred, full_matrices=False)
points = centred @ directions[:2].T
shown = float((spread[:2] ** 2).sum() / (spread**2).sum())

figure, ax = plt.subplots(figsize=(8, 6), layout="constrained")
for topic in CORPUS:
    rows = [i for i, name in enumerate(topics) if name == topic]
    ax.scatter(*points[rows].T, s=45, label=topic)
    height = -1.0
    for i in sorted(rows, key=lambda i: points[i, 1]):
        height = max(points[i, 1], height + 0.045)  # no label stands on another
        words = " ".join(texts[i].split()[:3])
        ax.text(points[i, 0] + 0.025, height, f"{words}…", fontsize=8, va="center")
ax.set(
    xlabel="first component",
    ylabel="second component",
    title=f"{shown:.0%} of the variance",
)
ax.legend(frameon=False, fontsize=8)
ax.margins(0.2)
plt.show()

# %% [markdown]
# ## Search
#
# Embed the question, multiply, sort. No word has to match.

# %%
query = "Will it be cold up there?"
scores = vectors @ embedder.embed(query)
best = np.argsort(-scores)[:4]
show(
    rerank_html(
        [
            {"index": int(i), "relevance_score": float(scores[i]), "document": texts[i]}
            for i in best
        ]
    )
)

# %% [markdown]
# `rerank` does the same in one call; with a cross-encoder it reads query and text together, which is slower
# and better. `info.capabilities.rerank` says how this model scores.

# %%
print(embedder.info.capabilities.rerank)
show(embedder.rerank("a tip for the kitchen", texts, top_n=3, return_documents=True))

# %% [markdown]
# ## Long texts
#
# A text that is too long is an error, unless you say what to do: cut it off, or average its pieces.

# %%
long = " ".join(CORPUS["weather"] * 10 + CORPUS["space"] * 10)
print(embedder.count_tokens(long), "tokens")
try:
    embedder.embed(long)
except ValueError as error:
    print("error:", error)
cut, pieces = (embedder.embed(long, overflow=how) for how in ("truncate", "chunk"))
print(f"cosine of the first part and the average of all parts: {cut @ pieces:.2f}")

# %%
embedder.close()
