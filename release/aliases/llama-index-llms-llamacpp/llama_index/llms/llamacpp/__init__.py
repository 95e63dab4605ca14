"""The LLM of ``llamacpp_integrations.llama_index``, under the name that LlamaIndex's packages have."""

from llamacpp_integrations.llama_index import LlamaCpp

__all__ = ["LlamaCpp"]
