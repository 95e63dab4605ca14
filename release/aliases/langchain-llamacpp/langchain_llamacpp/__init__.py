"""The classes of ``llamacpp_integrations.langchain``, under the name that LangChain's packages have."""

from llamacpp_integrations.langchain import *  # noqa: F403
from llamacpp_integrations.langchain import __all__ as __all__
