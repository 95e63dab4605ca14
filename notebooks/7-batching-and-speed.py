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
# # 7. Batching and speed
#
# To generate a token, the processor reads all weights once, for one request or for ten. So requests that
# run at once share most of the work. This notebook measures that on your machine, and what the prompt cache
# saves.

# %%
import asyncio
import time

import matplotlib.pyplot as plt

from llamacpp_core import Llama
from llamacpp_core.display.plot import throughput

llm = Llama("smollm2-135m-instruct", n_parallel=8, n_ctx=1024)
info = llm.info
print(
    f"{info.n_threads} threads, {info.n_parallel} requests at once, {info.quantization}"
)

# %% [markdown]
# ## Throughput over concurrency
#
# Each request continues another text for 16 tokens. All of a round are started together; eight slots take
# them.

# %%
N_TOKENS = 16


async def generate(number):
    """The number of tokens of one request."""
    answer = await llm.acreate_completion(
        f"Chapter {number}. The ship left the harbour",
        max_tokens=N_TOKENS,
        temperature=0.8,
        seed=number,
        logit_bias={
            llm.token_eos(): False
        },  # no early end, so that all do the same work
        cache_prompt=False,
    )
    return answer["usage"]["completion_tokens"]


async def speed(n_requests):
    """Generated tokens per second of that many requests at once."""
    start = time.perf_counter()
    tokens = await asyncio.gather(*(generate(i) for i in range(n_requests)))
    return sum(tokens) / (time.perf_counter() - start)


await speed(1)  # the first request warms up
speeds = dict.fromkeys((1, 2, 4, 8), 0.0)
for _ in range(3):  # the best of three, taken in turn
    for n in speeds:
        speeds[n] = max(speeds[n], await speed(n))
for n, value in speeds.items():
    print(f"{n} at once: {value:6.1f} tokens/s, {value / speeds[1]:.1f} times one")

# %%
throughput(speeds)
plt.show()

# %% [markdown]
# Each request alone gets slower, but all together get through more, as long as the
# machine has nothing else to do: other work on the same cores flattens the line. With
# LangChain, `.batch()` and `.abatch()` do this; with LlamaIndex, the async methods do.
#
# ## The prompt cache
#
# A slot keeps what it has read. A second question about the same long text reads only what is new.

# %%
NOTES = " ".join(
    f"Ship {i} carries {7 * i} boxes of tea and sails on day {i % 28 + 1}."
    for i in range(1, 16)
)


def first_token(question, **options):
    """Milliseconds for reading the prompt; tokens read, and from the cache."""
    messages = [
        {"role": "system", "content": NOTES},
        {"role": "user", "content": question},
    ]
    answer = llm.create_chat_completion(
        messages, temperature=0, max_tokens=1, **options
    )
    timings = answer["timings"]
    return timings["prompt_ms"], timings["prompt_n"], timings["cache_n"]


rows = {
    "first question": first_token("What does ship 3 carry?"),
    "second question": first_token("When does ship 9 sail?"),
    "without the cache": first_token("When does ship 9 sail?", cache_prompt=False),
}
for name, (ms, read, cached) in rows.items():
    print(f"{name:<18} {ms:7.0f} ms, {read:3} tokens read, {cached:3} from the cache")

# %%
figure, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
ax.barh(list(rows)[::-1], [ms for ms, _, _ in rows.values()][::-1], color="#3b82f6")
ax.set_xlabel("milliseconds until the first token")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Against waiting in line
#
# The same eight requests one after the other, and at once.

# %%
start = time.perf_counter()
for i in range(8):
    await generate(i)
in_line = time.perf_counter() - start

start = time.perf_counter()
await asyncio.gather(*(generate(i) for i in range(8)))
at_once = time.perf_counter() - start
print(f"in line {in_line:.1f} s, at once {at_once:.1f} s: ", end="")
print(f"{in_line / at_once:.1f} times as fast")

# %% [markdown]
# Numbers of one run on a busy machine vary. For numbers to compare, run `llamacpp bench` or `benchmarks/`.

# %%
llm.close()
