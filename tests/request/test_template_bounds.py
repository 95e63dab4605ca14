"""Chat templates that would use up the stack or the memory are errors, and the process goes on."""

from __future__ import annotations

import threading

import pytest

from llamacpp_core import InvalidParameterError, Llama, ModelLoadError
from llamacpp_core.engine.load.template_check import check_templates
from llamacpp_core.errors import InvalidMessageError

MODEL = "smollm2-135m-instruct"
ALL_MESSAGES = "{% for message in messages %}{{ message.content }}{% endfor %}"
ENDLESS = {
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "two macros that call each other": (
        "{% macro a(x) %}{{ b(x) }}{% endmacro %}{% macro b(x) %}{{ a(x + 1) }}{% endmacro %}{{ a(0) }}"
    ),
    "macros behind long expressions": (
        "{% macro m() %}{{ m()" + " ~ 'x'" * 900 + " }}{% endmacro %}{{ m() }}"
    ),
    "brackets": "{{" + "(" * 100_000 + "1" + ")" * 100_000 + "}}",
    "lists": "{{" + "[" * 100_000 + "]" * 100_000 + "}}",
    "a long sum": "{{ 1" + " + 1" * 100_000 + " }}",
    "a long condition": "{% if x" + " and x" * 100_000 + " %}{% endif %}",
    "attributes": "{{ x" + ".x" * 100_000 + " }}",
    "calls": "{{ x" + "()" * 100_000 + " }}",
    "filters": "{{ x" + "|string" * 100_000 + " }}",
    "negations": "{{ " + "not " * 100_000 + "x }}",
    "signs": "{{ " + "- " * 100_000 + "1 }}",
    "choices": "{{ " + "1 if x else " * 100_000 + "2 }}",
    "ifs": "{% if 1 %}" * 50_000 + "{% endif %}" * 50_000,
    "loops": "{% for x in [1] %}" * 50_000 + "{% endfor %}" * 50_000,
    "elifs": "{% if 0 %}" + "{% elif 0 %}{% if 0 %}{% endif %}" * 50_000 + "{% endif %}",
    "sets": "{% set x %}" * 50_000 + "{% endset %}" * 50_000,
    "behind ends that end nothing": (
        "{% generation %}{% endgeneration %}" * 1000 + "{% if 1 %}" * 50_000 + "{% endif %}" * 50_000
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_templates_without_end_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="chat_template would use up the stack"):
        Llama(MODEL, chat_template=ENDLESS[name], n_ctx=256, n_parallel=1, warmup=False)


@pytest.mark.parametrize("name", ENDLESS)
def test_in_a_model_file(name: str) -> None:
    with pytest.raises(ModelLoadError, match="'tool_use' would use up the stack") as caught:
        check_templates({"default": ALL_MESSAGES, "tool_use": ENDLESS[name]}, "model.gguf")
    assert caught.value.path == "model.gguf"


def test_endless_for_some_conversations_only() -> None:
    template = (
        "{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% endif %}x{% endmacro %}"
        "{% for message in messages %}{{ m(100000) if 'deep' in message.content else m(20) }}"
        "{{ message.content }}{% endfor %}"
    )
    with Llama(MODEL, chat_template=template, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm.apply_chat_template([{"role": "user", "content": "hello"}]) == "x" * 21 + "hello"
        with pytest.raises(InvalidMessageError, match="macros call each other without end"):
            llm.apply_chat_template([{"role": "user", "content": "deep"}])
        assert llm.apply_chat_template([{"role": "user", "content": "hello"}]) == "x" * 21 + "hello"


def test_range_is_limited() -> None:
    template = ALL_MESSAGES + "{% for x in range(messages[0].content|int) %}{% endfor %}{{ range(3)|join }}"
    with Llama(MODEL, chat_template=template, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm.apply_chat_template([{"role": "user", "content": "5"}]) == "5012"
        assert llm.apply_chat_template([{"role": "user", "content": "100000"}]) == "100000012"
        with pytest.raises(InvalidMessageError, match="limited to 100000"):
            llm.apply_chat_template([{"role": "user", "content": "100001"}])


def test_deep_but_bounded_templates_work_in_a_thread() -> None:
    expression = "{{ 'a'" + " ~ 'b'" * 900 + " }}"
    template = "{% if 1 %}" * 100 + expression + "{% endif %}" * 100 + ALL_MESSAGES
    texts: list[object] = []

    def render() -> None:
        with Llama(MODEL, chat_template=template, n_ctx=1024, n_parallel=1, warmup=False) as llm:
            texts.append(llm.apply_chat_template([{"role": "user", "content": "hello"}]))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert texts == ["a" + "b" * 900 + "hello"]
