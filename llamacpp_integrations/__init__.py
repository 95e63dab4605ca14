"""llama.cpp in the Python process as LangChain and LlamaIndex classes.

Each framework has its own package, :mod:`llamacpp_integrations.langchain` and
:mod:`llamacpp_integrations.llama_index`; importing this one imports neither.
"""
