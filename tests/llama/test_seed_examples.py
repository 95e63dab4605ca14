"""The usage examples of the documentation that llama-cpp-python's users learned from, as they stand there.

Only the imports and the model's path differ (and what a model of 135 million parameters has no answer to: the
default length of an answer is bounded, so that the suite ends).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama


@pytest.fixture(scope="module")
def llama2(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(
        model_path=str(smollm2_path),
        chat_format="llama-2",
        n_ctx=512,
    ) as loaded:
        loaded.set_seed(3)  # so that this small model's answer is the same in every run
        yield loaded


def test_basic_chat_conversation(llama2: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    llm = llama2

    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello! Can you help me with Python?"},
    ]

    response = llm.create_chat_completion(
        messages=messages,
        max_tokens=150,
        temperature=0.7,
    )

    print(response["choices"][0]["message"]["content"])
    assert capsys.readouterr().out.strip()


def test_multi_turn_conversation(llama2: Llama) -> None:
    llm = llama2
    messages = [
        {"role": "system", "content": "You are a coding tutor."},
        {"role": "user", "content": "How do I create a list in Python?"},
        {
            "role": "assistant",
            "content": "You can create a list using square brackets: my_list = [1, 2, 3]",
        },
        {"role": "user", "content": "How do I add items to it?"},
    ]

    response = llm.create_chat_completion(
        messages=messages,
        max_tokens=100,
    )

    # Add assistant response to conversation
    messages.append(
        {
            "role": "assistant",
            "content": response["choices"][0]["message"]["content"],
        }
    )
    assert len(messages) == 5
    assert llm.create_chat_completion([*messages, {"role": "user", "content": "Thanks!"}], max_tokens=4)


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "get_weather"}}])
def test_function_calling(llm: Llama, choice: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tools = [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Get current weather information",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "location": {
                            "type": "string",
                            "description": "City name",
                        }
                    },
                    "required": ["location"],
                },
            },
        }
    ]

    messages = [{"role": "user", "content": "What's the weather like in New York?"}]

    response = llm.create_chat_completion(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        max_tokens=200,
        temperature=0,
    )

    # Check if model wants to call a function
    if response["choices"][0]["message"].get("tool_calls"):
        tool_call = response["choices"][0]["message"]["tool_calls"][0]
        print(f"Function: {tool_call['function']['name']}")
        print(f"Arguments: {tool_call['function']['arguments']}")

    shown = capsys.readouterr().out
    if choice != "auto":
        assert shown.startswith("Function: get_weather\nArguments: {")
    elif shown:
        assert set(json.loads(shown.partition("Arguments: ")[2])) == {"location"}


def test_custom_chat_format(capsys: pytest.CaptureFixture[str]) -> None:
    from llamacpp_core.chat_format import Jinja2ChatFormatter

    # Create custom formatter
    custom_template = """
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
User: {{ message['content'] }}
    {%- elif message['role'] == 'assistant' %}
Assistant: {{ message['content'] }}
    {%- elif message['role'] == 'system' %}
System: {{ message['content'] }}
    {%- endif %}
{%- endfor %}
Assistant: """

    formatter = Jinja2ChatFormatter(
        template=custom_template,
        eos_token="</s>",
        bos_token="<s>",
    )

    # Format messages manually
    messages = [{"role": "user", "content": "Hello!"}]
    formatted = formatter.format_messages(messages)
    print(formatted.prompt)
    assert capsys.readouterr().out == "User: Hello!Assistant: \n"  # as with transformers
    assert formatted.stop == ["</s>"]


def test_streaming_chat(llm: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [{"role": "user", "content": "Write a short story about robots."}]

    stream = llm.create_chat_completion(
        messages=messages,
        max_tokens=200,
        stream=True,  # Enable streaming
    )

    # Process streaming response
    for chunk in stream:
        if chunk["choices"][0]["delta"].get("content"):
            print(chunk["choices"][0]["delta"]["content"], end="", flush=True)

    assert len(capsys.readouterr().out.split()) > 5


def test_response_format_control(llm: Llama) -> None:
    # Request JSON response format
    response = llm.create_chat_completion(
        messages=[{"role": "user", "content": "List 3 programming languages in JSON format"}],
        response_format={"type": "json_object"},
        max_tokens=100,
    )

    text = response["choices"][0]["message"]["content"]
    assert text.lstrip().startswith("{")
    if response["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(text), dict)


def test_handlers_and_formatters_of_ones_own(llm: Llama) -> None:
    from llamacpp_core.chat_format import (
        ChatFormatterResponse,
        LlamaChatCompletionHandlerRegistry,
        get_chat_completion_handler,
    )

    formatted = ChatFormatterResponse(prompt="Hi", stop=["</s>"])
    assert (formatted.prompt, formatted.stop) == ("Hi", ["</s>"])
    handler = get_chat_completion_handler("chatml")
    answer: Any = handler(llama=llm, messages=[{"role": "user", "content": "Hi!"}], max_tokens=4)
    assert answer["object"] == "chat.completion"
    registry = LlamaChatCompletionHandlerRegistry()
    registry.register_chat_completion_handler("mine", handler)
    assert registry.get_chat_completion_handler("mine") is handler
