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
# # 6. Inside the model: probabilities, entropy, samplers
#
# A language model does one thing: it gives each token of its vocabulary a probability to come next. All
# else is how one of them is chosen. This notebook looks at both.

# %%
import matplotlib.pyplot as plt
import numpy as np

from llamacpp_core import Llama
from llamacpp_core.display import show, tokens_html
from llamacpp_core.display.plot import token_probabilities
from llamacpp_core.lowlevel import Candidates, Model, PythonSampler, Sampler
from llamacpp_core.models import resolve_model

llm = Llama("smollm2-135m-instruct", n_ctx=1024)

# %% [markdown]
# ## How sure was it?
#
# With `logprobs` the engine reports each token's probability and what else was likely. Blue tokens had more
# than one half, orange ones less. Point at a token to see its rivals.

# %%
answer = llm.create_completion(
    "The Moon is", max_tokens=32, temperature=0.8, seed=4, logprobs=5
)
show(tokens_html(answer))

# %%
token_probabilities(answer)
plt.show()

# %% [markdown]
# ## The low-level floor
#
# `llamacpp_core.lowlevel` gives llama.cpp's own objects: a model, a context that decodes tokens, the logits
# as a numpy array. Logits become probabilities by the softmax.

# %%
path = resolve_model("smollm2-135m-instruct").path
model = Model(path)
context = model.create_context(n_ctx=512)


def next_logits(prompt):
    """The logits of what comes after a prompt, [n_vocab]."""
    context.memory.clear()
    context.decode(model.tokenize(prompt))
    return np.array(context.logits())


def softmax(logits, temperature=1.0):
    """Probabilities of logits."""
    scaled = np.exp((logits - logits.max()) / temperature)
    return scaled / scaled.sum()


def top(probabilities, n=8):
    """The likeliest tokens and their probabilities."""
    best = np.argsort(-probabilities)[:n]
    return [
        repr(model.token_to_piece(int(i)).decode(errors="replace")) for i in best
    ], probabilities[best]


# %% [markdown]
# ## Entropy: how many ways on?
#
# The entropy of the next token is low where the text leaves no choice, and high where much could follow.
# Two to its power (in bits) is the number of equally likely tokens that would be as uncertain.


# %%
def entropy(probabilities):
    """Entropy in bits."""
    p = probabilities[probabilities > 0]
    return float(-(p * np.log2(p)).sum())


prompts = [
    "One, two, three,",
    "The opposite of hot is",
    "Once upon a time, there was a",
    "She looked at the",
]
figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained")
for ax, text in zip(axes.flat, prompts, strict=True):
    p = softmax(next_logits(text))
    names, heights = top(p)
    ax.barh(names[::-1], heights[::-1], color="#3b82f6")
    bits = entropy(p)
    ax.set_title(f"{text}\n{bits:.1f} bits, as {2**bits:.0f} equal choices", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_xlim(0, 1)
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Temperature and min-p
#
# Temperature divides the logits before the softmax: below 1 the likeliest tokens gain, above 1 the tail does.
# Min-p then drops each token that is less likely than a fraction of the likeliest.

# %%
logits = next_logits("My favourite animal is the")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for temperature in (0.5, 1.0, 1.5):
    p = np.sort(softmax(logits, temperature))[::-1]
    left.plot(np.arange(1, len(p) + 1), p, label=f"temperature {temperature}")
left.set(
    xscale="log",
    yscale="log",
    ylim=(1e-6, 1),
    xlabel="rank of the token",
    ylabel="probability",
)
left.legend(frameon=False)

fractions = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
for temperature in (0.5, 1.0, 1.5):
    p = softmax(logits, temperature)
    kept = [int((p >= fraction * p.max()).sum()) for fraction in fractions]
    right.plot(
        [f"{fraction:g}" for fraction in fractions],
        kept,
        marker="o",
        label=f"temperature {temperature}",
    )
right.set(yscale="log", xlabel="min-p", ylabel="tokens kept")
right.legend(frameon=False)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# The same as text. A high temperature wanders off; min-p takes the tail away again.

# %%
for temperature, min_p in ((0.0, 0.0), (0.8, 0.05), (1.8, 0.0), (1.8, 0.2)):
    answer = llm.create_completion(
        "The old clock in the hall",
        max_tokens=20,
        temperature=temperature,
        min_p=min_p,
        top_k=0,
        top_p=1.0,
        seed=3,
    )
    print(
        f"temperature {temperature}, min-p {min_p}:{answer['choices'][0]['text']!r}\n"
    )

# %% [markdown]
# ## A sampler of your own
#
# A sampler in Python sees all candidates and chooses. This one refuses every token with the letter "e", and
# notes how much probability that took away.


# %%
class Lipogram(PythonSampler):
    """Chooses the likeliest token that has no "e"."""

    name = "lipogram"
    selects = True

    def __init__(self, model):
        pieces = [
            model.token_to_piece(i).decode(errors="replace")
            for i in range(len(model.vocabulary))
        ]
        self.allowed = np.array(["e" not in piece.lower() for piece in pieces])
        self.lost = []

    def apply(self, candidates: Candidates):
        """Takes the forbidden tokens away and selects the best of the rest."""
        probabilities = candidates.softmax()
        allowed = self.allowed[candidates.ids]
        self.lost.append(float(probabilities[~allowed].sum()))
        candidates.keep(allowed)
        candidates.select(int(np.argmax(candidates.logits)))


lipogram = Lipogram(model)
context.memory.clear()
context.decode(model.tokenize("A story about a dog:"))
pieces = []
with Sampler(model).penalties(64, repeat=1.2).python(lipogram) as sampler:
    for _ in range(32):
        token = sampler.sample(context)
        if model.vocabulary.is_end(token):
            break
        pieces.append(model.token_to_piece(token))
        context.decode([token])
text = b"".join(pieces).decode(errors="replace")
print(text)
lost = np.mean(lipogram.lost)
print(f"\nletters e: {text.lower().count('e')}; taken away on average: {lost:.0%}")

# %%
context.close()
model.close()
llm.close()
