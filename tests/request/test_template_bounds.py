"""Chat templates that would use up the stack or the memory are errors, and the process goes on."""

from __future__ import annotations

import threading

import pytest

from llamacpp_core import InvalidParameterError, Llama, ModelLoadError
from llamacpp_core.engine.load.template_check import check_templates
from llamacpp_core.errors import InvalidMessageError

pytestmark = pytest.mark.changes("templates")

MODEL = "smollm2-135m-instruct"
ALL_MESSAGES = "{% for message in messages %}{{ message.content }}{% endfor %}"
ENDLESS = {
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "two macros that call each other": (
        "{% macro a(x) %}{{ b(x) }}{% endmacro %}{% macro b(x) %}{{ a(x + 1) }}{% endmacro %}{{ a(0) }}"
    ),
    "macros after long expressions": (
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
    "after ends that end nothing": (
        "{% generation %}{% endgeneration %}" * 1000 + "{% if 1 %}" * 50_000 + "{% endif %}" * 50_000
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_templates_without_end_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="chat_template cannot be used"):
        Llama(MODEL, chat_template=ENDLESS[name], n_ctx=256, n_parallel=1, warmup=False)


@pytest.mark.parametrize("name", ENDLESS)
def test_in_a_model_file(name: str) -> None:
    with pytest.raises(ModelLoadError, match="'tool_use' has no end or is too large") as caught:
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


def test_slices_with_steps_of_any_size() -> None:
    """They are Python's; one that led beyond what an integer holds took all memory."""
    largest = 2**63 - 1
    starts, steps = [None, 0, 2, -1, -3, largest], [1, -1, 3, -3, largest, -largest - 1]
    template, expected = "", ""
    for start in starts:
        for step in steps:
            piece = f"[{'' if start is None else start}::{step}]"
            template += f"{{{{ messages[0].content{piece} }}}};{{{{ ['a', 'b', 'c']{piece}|join }}}};"
            expected += f"{'abcd'[start::step]};{'abc'[start::step]};"
    with Llama(MODEL, chat_template=template, n_ctx=256, n_parallel=1, warmup=False) as llm:
        assert llm.apply_chat_template([{"role": "user", "content": "abcd"}]) == expected


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


# What each of these builds has no end or no place in memory. `n` stands for 10 or for far too many.
GREEDY = {
    "a list in itself": "{% set l = [] %}{% set _ = l.append(l if n > 10 else 1) %}{{ l }}",
    "a list in itself as JSON": "{% set l = [] %}{% set _ = l.append(l if n > 10 else 1) %}{{ l|tojson }}",
    "a list in itself as text": "{% set l = [] %}{% set _ = l.append(l if n > 10 else 1) %}{{ l|string }}",
    "an object in itself": "{% set o = namespace() %}{% set o.o = o if n > 10 else 1 %}{{ o|tojson }}",
    "two lists in each other": (
        "{% set a = [] %}{% set b = [a] %}{% set _ = a.append(b if n > 10 else 1) %}{{ b|tojson }}"
    ),
    "a list in a list in a list": (
        "{% set o = namespace(l=[]) %}{% for i in range([n, 90000]|min) %}{% set o.l = [o.l] %}{% endfor %}"
    ),
    "a list with its own method": (
        "{% set l = [] %}{% set o = namespace(f=1) %}{% for i in range([n, 90000]|min) %}"
        "{% set o.f = [o.f, l.append] %}{% endfor %}"
    ),
    "tuples in tuples": (
        "{% set o = namespace(l=(1, 2)) %}"
        "{% for i in range([n, 90000]|min) %}{% set o.l = (o.l, 1) %}{% endfor %}"
        "{{ {o.l: 1}|length }}"
    ),
    "lists that share their items": (
        "{% set o = namespace(l=[]) %}{% for i in range([n, 60]|min) %}{% set o.l = [o.l, o.l] %}{% endfor %}"
        "{{ o.l|length }}"
    ),
    "variables of call blocks": (
        "{% macro m() %}{% set o.f = caller %}{% endmacro %}{% set o = namespace() %}"
        "{% for i in range([n, 90000]|min) %}{% set f = o.f %}{% call m() %}{% endcall %}{% endfor %}"
    ),
    "a text many times": "{{ ('a' * n)|length }}",
    "nothing many times": "{{ ('' * (n * 1000))|length }}",
    "a text that doubles": (
        "{% set o = namespace(t='aaaaaaaa') %}{% for i in range([n, 60]|min) %}{% set o.t = o.t ~ o.t %}"
        "{% endfor %}{{ o.t|length }}"
    ),
    "a wide indent": "{{ messages[0].content|indent(n) }}",
    "a wide JSON indent": "{{ [1]|tojson(indent=n) }}",
    "a long replacement": "{{ ('a' * 1000)|replace('a', 'b' * [n * 10, 10000000]|min)|length }}",
    "many texts": "{{ (('a' * [n * 100, 9000000]|min).split('a') * 1)|length if n < 0 else 1 }}"
    "{% for i in range([n, 100]|min) %}{% set x = ('a ' * [n * 100, 100000]|min).split(' ') %}{% endfor %}",
    "loops in loops": (
        "{% for a in range([n, 90000]|min) %}{% for b in range([n, 90000]|min) %}{% endfor %}{% endfor %}"
    ),
    "a range beyond integers": (
        "{{ range(9223372036854775800 if n > 10 else 1, 9223372036854775807 if n > 10 else 5, 5)|length }}"
    ),
    "a division by zero": "{{ 6 is divisibleby(3 if n == 10 else 0) }}",
    "sorting what has no order": (
        "{% set l = [] %}{% for i in range([n * 20, 20000]|min) %}"
        "{% set _ = l.append([10, '9', 9.5, 0/0][i % 4] if n > 10 else i) %}{% endfor %}{{ l|sort|length }}"
        "{% if n > 10 %}{{ raise_exception('sorted') }}{% endif %}"
    ),
}
NUMBER = "{% set n = 10000000000 if 'GO' in messages[0].content else 10 %}"


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_templates_are_stopped(name: str) -> None:
    """The same template renders a usual conversation, and goes on to after it was stopped."""
    with Llama(MODEL, chat_template=NUMBER + GREEDY[name] + ALL_MESSAGES, n_ctx=512, n_parallel=1) as llm:
        usual = llm.apply_chat_template([{"role": "user", "content": "hello"}])
        with pytest.raises(InvalidMessageError):
            llm.apply_chat_template([{"role": "user", "content": "GO"}])
        assert llm.apply_chat_template([{"role": "user", "content": "hello"}]) == usual
        assert llm.create_completion("Hello", max_tokens=2)["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_templates_in_a_model_file(name: str) -> None:
    template = NUMBER.replace("'GO' in messages[0].content", "true") + GREEDY[name] + ALL_MESSAGES
    if name in ("a division by zero", "sorting what has no order", "a range beyond integers"):
        check_templates({"default": template}, "model.gguf")  # an error that ends with the conversation
        return
    with pytest.raises(ModelLoadError, match="has no end or is too large"):
        check_templates({"default": template}, "model.gguf")


def test_long_conversations_have_room() -> None:
    content = "word " * 200
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": f"{content}{i}"} for i in range(2001)]
    with Llama(MODEL, n_ctx=512, n_parallel=1) as llm:
        assert llm.apply_chat_template(messages).count("<|im_start|>") == 2003
