"""Handlers and formatters by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llamacpp_core import chat_format
from llamacpp_core.chat_format import (
    NAMED_FORMATS,
    ChatFormatterResponse,
    LlamaChatCompletionHandlerRegistry,
    default_registry,
    get_chat_completion_handler,
    named_format,
    register_chat_completion_handler,
    register_chat_format,
)
from llamacpp_core.errors import InvalidParameterError


def handler(*, llama: Any, messages: list[Any], **kwargs: Any) -> Any:
    return {"llama": llama, "messages": messages, **kwargs}


@pytest.fixture
def name() -> Iterator[str]:
    yield "a-name-of-these-tests"
    if default_registry.registered("a-name-of-these-tests"):
        default_registry.unregister_chat_completion_handler("a-name-of-these-tests")


def test_all_is_sorted_and_complete() -> None:
    assert set(chat_format.__all__) <= set(dir(chat_format))
    assert chat_format.__all__ == sorted(
        chat_format.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n)
    )


def test_register_directly(name: str) -> None:
    assert register_chat_completion_handler(name, handler) is None
    assert get_chat_completion_handler(name) is handler
    assert default_registry.registered(name) is handler


def test_register_as_a_decorator(name: str) -> None:
    assert register_chat_completion_handler(name)(handler) is handler
    assert get_chat_completion_handler(name) is handler


def test_register_a_formatter(name: str) -> None:
    @register_chat_format(name)
    def formatter(*, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        return ChatFormatterResponse(prompt=f"{len(messages)}{sorted(kwargs)}")

    assert formatter(messages=[]).prompt == "0[]"
    registered: Any = get_chat_completion_handler(name)
    assert registered.chat_formatter is formatter


def test_registered_names_are_not_replaced_by_accident(name: str) -> None:
    register_chat_completion_handler(name, handler)
    with pytest.raises(InvalidParameterError, match="overwrite=True"):
        register_chat_completion_handler(name, handler)
    register_chat_completion_handler(name, get_chat_completion_handler("chatml"), overwrite=True)
    assert get_chat_completion_handler(name) is get_chat_completion_handler("chatml")


def test_a_built_in_format_can_be_replaced_and_comes_back() -> None:
    registry = LlamaChatCompletionHandlerRegistry()
    built_in = registry.get_chat_completion_handler("chatml")
    with pytest.raises(InvalidParameterError, match="exists already"):
        registry.register_chat_completion_handler("chatml", handler)
    registry.register_chat_completion_handler("chatml", handler, overwrite=True)
    assert registry.get_chat_completion_handler("chatml") is handler
    assert get_chat_completion_handler("chatml") is built_in
    registry.unregister_chat_completion_handler("chatml")
    assert registry.get_chat_completion_handler("chatml") is built_in


def test_the_method_names_of_llama_cpp_python() -> None:
    registry = LlamaChatCompletionHandlerRegistry()
    registry.register_chat_completion_handler("x", handler)
    assert registry.get_chat_completion_handler_by_name("x") is handler
    registry.unregister_chat_handler("x")
    with pytest.raises(InvalidParameterError, match="no chat completion handler"):
        registry.unregister_chat_handler("x")


@pytest.mark.parametrize("chat_format_name", NAMED_FORMATS)
def test_every_named_format_has_a_handler(chat_format_name: str) -> None:
    found = get_chat_completion_handler(chat_format_name)
    assert callable(found)
    assert get_chat_completion_handler(chat_format_name) is found


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("llama2", "'llama-2'"), ("chat-ml", "'chatml'"), ("Mistral_Instruct", "'mistral-instruct'")],
)
def test_an_unknown_name_gets_near_ones(wrong: str, hint: str) -> None:
    with pytest.raises(InvalidParameterError, match="did you mean") as caught:
        get_chat_completion_handler(wrong)
    assert hint in str(caught.value)
    assert caught.value.parameter == "chat_format"


def test_a_name_like_no_other_gets_all() -> None:
    with pytest.raises(InvalidParameterError, match="known are alpaca, baichuan"):
        get_chat_completion_handler("qqqqqqqqqq")


@pytest.mark.parametrize("bad", ["", "  ", None, 3])
def test_a_name_must_be_a_name(bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match="must be a name"):
        register_chat_completion_handler(bad, handler)
    with pytest.raises(InvalidParameterError, match="must be a name"):
        register_chat_completion_handler(bad)
    with pytest.raises(InvalidParameterError, match="must be a name"):
        register_chat_format(bad)


@pytest.mark.parametrize("use", [get_chat_completion_handler, named_format, register_chat_format])
def test_a_format_is_given_by_its_name(use: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        use(named_format("chatml"))
    assert str(caught.value) == "chat_format must be a name, not a NamedFormat: give its name, 'chatml'"
    with pytest.raises(InvalidParameterError, match="not a list"):
        use(["chatml"])


def test_a_handler_must_be_callable() -> None:
    with pytest.raises(InvalidParameterError, match="handler must be callable"):
        register_chat_completion_handler("x", 3)  # type: ignore[call-overload]
