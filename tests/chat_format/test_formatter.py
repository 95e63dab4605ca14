"""Jinja2ChatFormatter: what a template can use, and what happens when it is wrong."""

from __future__ import annotations

import datetime
import subprocess
import sys
from typing import Any

import pytest

from llamacpp_core.chat_format import ChatFormatterResponse, Jinja2ChatFormatter
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, LlamaCppError

HI = [{"role": "user", "content": "Hi"}]


def render(template: str, messages: list[Any] = HI, **variables: Any) -> str:
    return Jinja2ChatFormatter(template).format_messages(messages, **variables).prompt


def test_the_example_of_the_documentation() -> None:
    template = """
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
    formatter = Jinja2ChatFormatter(template=template, eos_token="</s>", bos_token="<s>")
    formatted = formatter.format_messages([{"role": "user", "content": "Hello!"}])
    assert formatted.prompt == "User: Hello!Assistant: "
    assert formatted == ChatFormatterResponse(formatted.prompt, stop=["</s>"], added_special=True)


def test_a_response_needs_only_a_prompt() -> None:
    assert ChatFormatterResponse("p") == ChatFormatterResponse(
        prompt="p", stop=None, stopping_criteria=None, added_special=False
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hi</s>"),
        ("{% if add_generation_prompt %}A:{% endif %}", "A:"),
        ("{% if tools is none %}no tools{% endif %}", "no tools"),
        # trim_blocks and lstrip_blocks
        ("a\n    {% if true %}\nb\n    {% endif %}\nc", "a\nb\nc"),
        ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "01345678"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("a{% generation %}{{ messages[0].role }}{% endgeneration %}b", "auserb"),
        (
            "{% set ns = namespace(n=0) %}{% for m in 'ab' %}{% set ns.n = ns.n + 3 %}{% endfor %}{{ ns.n }}",
            "6",
        ),
        ("{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{% endfor %}", "1TrueTrue"),
        ("{% macro f(x, y=2) %}{{ x ~ y }}{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}", "1213"),
        ("{% macro f(n) %}{{ n }}{{ f(n - 1) if n else '' }}{% endmacro %}{{ f(3) }}", "3210"),
        (
            "{{ 'a-b'.split('-') | join('+') }}{{ '%s %03d' % ('x', 7) }}{{ '{}:{:>3}'.format(1, 2) }}",
            "a+bx 0071:  2",
        ),
        ("{{ messages | map(attribute='role') | list | length }}", "1"),
        ("{{ 'abc'[::-1] }}{{ ' x ' | trim }}{{ none is none }}", "cbaxTrue"),
        ("{% for a in [1, [2, 3]] recursive %}{{ a if a is number else loop(a) }}{% endfor %}", "123"),
        ("{{ 1700000000 ~ '' }}{{ [1700000000] | join }}", "17000000001700000000"),
    ],
)
def test_what_templates_of_hugging_face_use(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", '{"b": "<é&\'\\"", "a": [1]}'),
        ("(indent=2)", '{\n  "b": "<é&\'\\"",\n  "a": [\n    1\n  ]\n}'),
        ("(separators=(',', ':'))", '{"b":"<é&\'\\"","a":[1]}'),
        ("(sort_keys=true)", '{"a": [1], "b": "<é&\'\\""}'),
        ("(ensure_ascii=true)", '{"b": "<\\u00e9&\'\\"", "a": [1]}'),
    ],
)
def test_tojson_is_that_of_transformers(arguments: str, expected: str) -> None:
    assert render("{{ value | tojson" + arguments + " }}", value={"b": "<é&'\"", "a": [1]}) == expected


def test_strftime_now() -> None:
    before = datetime.datetime.now().strftime("%Y-%m-%d")
    rendered = render("{{ strftime_now('%Y-%m-%d') }}")
    assert rendered in (before, datetime.datetime.now().strftime("%Y-%m-%d"))


def test_variables_of_the_call_win_over_those_of_the_formatter() -> None:
    formatter = Jinja2ChatFormatter("{{ mood }}{{ tone }}", mood="calm", tone="dry")
    assert formatter.format_messages(HI).prompt == "calmdry"
    assert formatter(messages=HI, mood="gay").prompt == "gaydry"


def test_the_call_passes_tools() -> None:
    formatter = Jinja2ChatFormatter("{{ tools[0].function.name }}{{ tool_choice }}{{ functions }}")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert formatter(messages=HI, tools=tools, tool_choice="auto").prompt == "fautoNone"


def test_without_generation_prompt() -> None:
    formatter = Jinja2ChatFormatter(
        "{% if add_generation_prompt %}A:{% endif %}", add_generation_prompt=False
    )
    assert formatter.format_messages(HI).prompt == ""
    assert formatter.format_messages(HI, add_generation_prompt=True).prompt == "A:"


def test_stop_token_ids_make_a_criterion() -> None:
    formatter = Jinja2ChatFormatter("x", "", "", [7, 9])
    response = formatter.format_messages(HI)
    assert response.stop is None
    assert response.stopping_criteria is not None
    assert response.stopping_criteria([1, 9], None)
    assert not response.stopping_criteria([9, 1], None)
    assert not response.stopping_criteria([], None)


def test_raise_exception_refuses_the_messages() -> None:
    with pytest.raises(InvalidMessageError, match="Only the user may speak") as caught:
        render("{{ raise_exception('Only the user may speak') }}")
    assert str(caught.value) == "Only the user may speak"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{% for %}", "syntax error in line 2"),
        ("{{ a", "syntax error in line 1"),
        ("\n\n{% generation %}", "syntax error in line 3"),
        ("{{ x | no_such_filter }}", "no_such_filter"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "cannot be compiled"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "cannot be compiled"),
        ("x" * (1024 * 1024 + 1), "at most 1,048,576"),
    ],
)
def test_a_bad_template_is_refused_at_once(template: str, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        Jinja2ChatFormatter(template)
    assert caught.value.parameter == "template"


@pytest.mark.parametrize(
    "arguments",
    [
        {"template": None},
        {"template": "x", "eos_token": 2},
        {"template": "x", "bos_token": None},
        {"template": "x", "stop_token_ids": [True]},
        {"template": "x", "stop_token_ids": [-1]},
        {"template": "x", "stop_token_ids": "12"},
        {"template": "x", "stop_token_ids": True},
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Jinja2ChatFormatter(**arguments)
    assert caught.value.parameter == next(name for name in reversed(arguments))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages is empty"),
        ("Hi", "messages must be a list"),
        (["Hi"], r"messages\[0\] must be a dict"),
        ([*HI, {"content": "x"}], r"messages\[1\]\.role must be a string"),
        ([{"role": "user", "content": 3}], r"messages\[0\]\.content must be text"),
    ],
)
def test_malformed_messages_are_refused(messages: Any, message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        render("{{ messages[0].content }}", messages)


def test_a_template_that_needs_a_key_says_its_line() -> None:
    with pytest.raises(InvalidMessageError, match=r"in line 3: .*no attribute 'name'"):
        render("a\n\n{{ messages[0].name.first }}")


DOUBLING = "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(80) %}[STEP]{% endfor %}{{ ns.x }}"
NESTING = "{% set ns = namespace(x=[1]) %}{% for i in range(80) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamacpp_core.chat_format import _environment

    monkeypatch.setattr(_environment, "MAX_STEPS", 20_000)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
        "{% for i in range(1000000) %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{{ 'a' * 10**10 }}",
        "{{ ['a'] * 10**10 }}",
        "{{ 9**9**9**9 }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a\na' | indent(1000000000) }}",
        "{{ messages | batch(1000000000, 'x') | list }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 1000000000) }}",
        "{{ [[1]] | tojson(indent=100000) }}",
        DOUBLING.replace("[STEP]", "{% set ns.x = ns.x ~ ns.x %}"),
        DOUBLING.replace("[STEP]", "{% set ns.x = ns.x + ns.x %}"),
        DOUBLING.replace("[STEP]", "{% set ns.x = ns.x.replace('a', 'aaaaaaaa') %}"),
        DOUBLING.replace("[STEP]", "{% set ns.x = ns.x | replace('a', 'aaaaaaaa') %}"),
        DOUBLING.replace("[STEP]", "{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}"),
        DOUBLING.replace("[STEP]", "{% set ns.x = [ns.x, ns.x] | join(ns.x) %}"),
        DOUBLING.replace("[STEP]", "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"),
        NESTING + "{{ ns.x }}",
        NESTING + "{{ ns.x | tojson }}",
        NESTING + "{{ ns.x ~ '' }}",
        "{% set x %}{% for i in range(90000) %}" + "a" * 5000 + "{% endfor %}{% endset %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{% include 'x' %}",
        "{{ lipsum(5) }}",
    ],
)
def test_a_hostile_template_is_stopped(template: str) -> None:
    with pytest.raises(InvalidParameterError, match="template"):
        render(template)


@pytest.mark.usefixtures("few_steps")
def test_a_template_cannot_switch_the_counting_off() -> None:
    names = "{% set step = none %}{% set environment = none %}{% set context = none %}{% set joined = none %}"
    with pytest.raises(InvalidParameterError, match="steps"):
        render(names + "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")


@pytest.mark.usefixtures("few_steps")
def test_one_rendering_does_not_use_up_the_next_ones_budget() -> None:
    formatter = Jinja2ChatFormatter("{% for i in range(15000) %}{% endfor %}done")
    assert [formatter.format_messages(HI).prompt for _ in range(3)] == ["done"] * 3


def test_a_template_that_only_takes_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamacpp_core.chat_format import _environment

    monkeypatch.setattr(_environment, "MAX_SECONDS", 0.05)
    with pytest.raises(InvalidParameterError, match="seconds"):
        render("{% for i in range(90000) %}{% set x = range(99999) | list %}{% endfor %}")


def test_messages_are_not_changed() -> None:
    messages = [{"role": "user", "content": "Hi", "extra": [1]}]
    render("{{ messages[0].extra }}", messages)
    assert messages == [{"role": "user", "content": "Hi", "extra": [1]}]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"])
def test_a_value_that_is_not_json_is_an_error_of_ours(value: Any) -> None:
    with pytest.raises(LlamaCppError, match="not JSON serializable"):
        render("{{ value | tojson }}", value=value)


def test_jinja2_is_imported_late() -> None:
    code = "import sys, llamacpp_core.chat_format; print('jinja2' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
