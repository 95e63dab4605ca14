"""The same chat model in three LangChain classes: ours, ChatOpenAI on llama-server, the community's.

As a script it answers batches of prompts in a process of its own::

    python benchmarks/_chats.py ours|openai|community '{"chat": "file.gguf", "n_ctx": 2048, ...}'

Settings: ``chat`` (a GGUF file), ``n_ctx`` of one request, ``n_parallel``, ``n_threads``, ``max_tokens``, and
``llama_server``, the program, for ``openai``. Everybody picks the likeliest token, with no penalties.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from _peers import llama_server, own_stdout, serve

__all__ = ["CHATS", "Chat"]

Messages = list[list[str]]


class Chat(NamedTuple):
    """A chat model for a comparison.

    Attributes:
        model: The LangChain object.
        count: The tokens of a prompt, by the model's own report.
        concurrent: Whether it may be called from several threads at once.
    """

    model: Any
    count: Callable[[Messages], int]
    concurrent: bool


def ours(settings: dict[str, Any], stack: ExitStack) -> Chat:
    """This package, in this process."""
    from llamacpp_integrations.langchain import ChatLlamaCpp

    model = ChatLlamaCpp(
        model=settings["chat"],
        n_ctx=settings["n_ctx"],
        n_parallel=settings["n_parallel"],
        n_threads=settings["n_threads"],
        temperature=0,
        max_tokens=settings["max_tokens"],
    )
    stack.callback(model.close)
    return Chat(model, _counter(model.client), True)


def openai(settings: dict[str, Any], stack: ExitStack) -> Chat:
    """ChatOpenAI on a llama-server of its own."""
    from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

    names = ("n_ctx", "n_parallel", "n_threads")
    server = llama_server(
        settings["llama_server"], settings["chat"], **{name: settings[name] for name in names}
    )
    model = ChatOpenAI(
        base_url=f"{stack.enter_context(server)}/v1",
        api_key="none",
        temperature=0,
        max_tokens=settings["max_tokens"],
        stream_usage=True,
    )

    def count(prompt: Messages) -> int:
        answer = model.invoke([tuple(message) for message in prompt], max_tokens=1)
        return int(answer.usage_metadata["input_tokens"])

    return Chat(model, count, True)


def community(settings: dict[str, Any], stack: ExitStack) -> Chat:
    """The community's ChatLlamaCpp: one context without a lock, so two threads in it end the process."""
    from langchain_community.chat_models import ChatLlamaCpp  # type: ignore[import-not-found]

    del stack
    model = ChatLlamaCpp(
        model_path=settings["chat"],
        n_ctx=settings["n_ctx"],
        n_batch=512,
        n_threads=settings["n_threads"],
        temperature=0,
        repeat_penalty=1.0,
        max_tokens=settings["max_tokens"],
        verbose=False,
    )
    return Chat(model, _counter(model.client), False)


def _counter(llama: Any) -> Callable[[Messages], int]:
    def count(prompt: Messages) -> int:
        messages = [{"role": role, "content": content} for role, content in prompt]
        return int(llama.create_chat_completion(messages, max_tokens=1)["usage"]["prompt_tokens"])

    return count


CHATS: dict[str, Callable[[dict[str, Any], ExitStack], Chat]] = {
    "ours": ours,
    "openai": openai,
    "community": community,
}


def main() -> None:
    """Loads one chat model and answers batches."""
    out, settings = own_stdout(), json.loads(sys.argv[2])
    with ExitStack() as stack:
        chat = CHATS[sys.argv[1]](settings, stack)

        def batch(prompts: list[Any]) -> float:
            """Seconds for LangChain's ``batch``; one at a time where several cannot run."""
            start = time.perf_counter()
            answers = chat.model.batch(prompts, None if chat.concurrent else {"max_concurrency": 1})
            seconds = time.perf_counter() - start
            if not all(answer.content for answer in answers):
                raise RuntimeError("an answer is empty")
            return seconds

        serve(out, {"batch": batch, "count": chat.count})


if __name__ == "__main__":
    main()
