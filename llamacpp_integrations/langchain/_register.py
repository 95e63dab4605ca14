"""Our classes under a name of their own in LangChain's factories."""

from __future__ import annotations

from typing import Any

from llamacpp_core._checks import require
from llamacpp_core.errors import UnsupportedCapabilityError

__all__ = ["register"]

_CLASSES = {
    "langchain.chat_models.base": "ChatLlamaCpp",
    "langchain.embeddings.base": "LlamaCppEmbeddings",
}


def register(provider: str = "llamacpp") -> None:
    """Lets ``init_chat_model("llamacpp:...")`` and ``init_embeddings("llamacpp:...")`` make our classes.

    LangChain's list of providers is closed; this adds one to it, for this process. Can be repeated.

    Args:
        provider: The name in front of the colon.

    Raises:
        MissingDependencyError: ``langchain`` is not installed.
        UnsupportedCapabilityError: The installed version keeps its list in another way.

    Example:
        >>> from langchain.chat_models import init_chat_model
        >>> from llamacpp_integrations.langchain import register
        >>> register()
        >>> llm = init_chat_model("llamacpp:smollm2-135m-instruct", temperature=0)  # doctest: +SKIP
    """
    for module, name in _CLASSES.items():
        known: Any = getattr(
            require(module, f"register({provider!r})", "langchain"), "_BUILTIN_PROVIDERS", None
        )
        if not isinstance(known, dict):
            raise UnsupportedCapabilityError(
                f"the installed langchain keeps its providers in another way: use {name}(model=...) itself"
            )
        known[provider] = ("llamacpp_integrations.langchain", name, _make)


def _make(cls: type[Any], **fields: Any) -> Any:
    return cls(**fields)
