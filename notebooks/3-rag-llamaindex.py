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
# # 3. RAG with LlamaIndex: from documents to a cited, structured answer
#
# Five short documents about the Moon, bees, lighthouses, printing and steam become an index. A question finds
# the passages that matter; the model answers from them; the answer names its sources.

# %%
from importlib.resources import files
from typing import Literal

from llama_index.core import Document, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from pydantic import BaseModel, Field, create_model

from llamacpp_core.display import rerank_html, show, stream
from llamacpp_integrations.llama_index import (
    LlamaCpp,
    LlamaCppRerank,
    configure_settings,
)

llm = LlamaCpp("smollm2-135m-instruct", temperature=0, max_tokens=80, n_ctx=4096)
configure_settings(llm, "all-minilm-l6-v2")
Settings.llm.metadata

# %% [markdown]
# ## Documents become passages, passages become vectors

# %%
folder = files("llamacpp_integrations.demo") / "documents"
documents = [
    Document(text=entry.read_text("utf-8"), metadata={"source": entry.name})
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
]
index = VectorStoreIndex.from_documents(
    documents, transformations=[SentenceSplitter(chunk_size=90, chunk_overlap=0)]
)
print(f"{len(documents)} documents, {len(index.docstore.docs)} passages")

# %% [markdown]
# ## Retrieve
#
# The scores are cosines between the question and each passage.

# %%
QUESTION = "Who were the first people on the Moon?"
nodes = index.as_retriever(similarity_top_k=4).retrieve(QUESTION)
show(
    rerank_html(
        [
            {
                "index": i,
                "relevance_score": node.score,
                "document": node.metadata["source"] + ": " + node.text,
            }
            for i, node in enumerate(nodes)
        ]
    )
)

# %% [markdown]
# ## Answer
#
# The query engine puts the passages into a prompt. The answer streams.

# %%
prompt = PromptTemplate(
    "Notes:\n{context_str}\n\n"
    "Answer in one sentence, from the notes only.\nQuestion: {query_str}"
)
engine = index.as_query_engine(
    streaming=True, similarity_top_k=2, text_qa_template=prompt
)
response = engine.query(QUESTION)
text = stream(response.response_gen)
print("from:", {node.metadata["source"] for node in response.source_nodes})

# %% [markdown]
# ## Rerank
#
# A reranker scores the passages again and keeps the best. A cross-encoder such as `bge-reranker-v2-m3` reads
# question and passage together, and judges better. The embedding model that is loaded anyway
# gives the cosines of the search, so all that it does here is to keep two of four.

# %%
reranker = LlamaCppRerank("all-minilm-l6-v2", top_n=2)
best = reranker.postprocess_nodes(nodes, query_str=QUESTION)
[(round(node.score, 3), node.metadata["source"]) for node in best]

# %% [markdown]
# ## A cited, structured answer
#
# The class below is made for the passages that were found: `source` can only be one of their numbers. The
# schema holds while the model writes, so it cannot cite what it was not given.


# %%
class CitedAnswer(BaseModel):
    """An answer, and the number of the note it comes from."""

    answer: str = Field(max_length=64)


numbers = tuple(range(1, len(best) + 1))
Cited = create_model("Cited", __base__=CitedAnswer, source=(Literal[numbers], ...))
notes = "\n".join(f"[{i}] {node.text}" for i, node in enumerate(best, 1))
cited = llm.structured_predict(
    Cited,
    PromptTemplate(
        "Notes:\n{notes}\n\nAnswer from the notes, with the number of the note.\n"
        "{question}"
    ),
    notes=notes,
    question=QUESTION,
)
cited

# %%
node = best[cited.source - 1]
print(f"{cited.answer}\n\n[{cited.source}] {node.metadata['source']}: {node.text}")

# %% [markdown]
# The model answers from what it reads, and a small one also gets it wrong. What is certain is the form: an
# object of the class, with a source that exists. Check the content as you would with any model.
#
# For your own documents, replace the list of `Document` objects, for instance by LlamaIndex's
# `SimpleDirectoryReader("folder").load_data()`.

# %%
reranker.close()
Settings.embed_model.close()
llm.close()
