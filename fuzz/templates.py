"""Random chat templates, rendered by both engines: llama.cpp's and Jinja2's."""

from __future__ import annotations

import random
from pathlib import Path

__all__ = ["cases", "run", "template"]

NAMES = "messages tools a b ns loop bos_token m x add_generation_prompt".split()
ATOMS = (
    "'a' 'aé' '' 0 1 -1 3 7.5 10000000000 9223372036854775807 true none [] [1,2] {} {'a':1} (1,2) 'ab'*9"
    " messages[0].content messages[0] messages|length loop.index ns.v m.content range(5) 0/0"
).split()
FILTERS = (
    "length upper lower trim string tojson tojson(indent=N) indent(N) indent(N,true) replace('a',E) join(E)"
    " first last list sort reverse items default(E) abs int float title capitalize map(attribute='content')"
    " selectattr('role') selectattr('role','equalto','user') rejectattr('content') dictsort safe unique"
    " batch(N) min max keys values"
).split()
TESTS = "string mapping defined none divisibleby(N) odd sameas(E) in(E) number iterable test".split()
METHODS = (
    "append(E) pop() pop(N) split(E) split('a',N) strip() startswith(E) items() keys() get(E) format(E)"
).split()
OPERATORS = "+ - * / % ~ == != < > <= >= and or in".split()


def template(numbers: random.Random) -> str:
    """A template of some statements; most can be parsed."""
    head = "{% set ns = namespace(v=[], w=1) %}{% set a = [] %}{% set b = {'k': a} %}"
    return head + _block(numbers, 4)


def _expression(numbers: random.Random, depth: int) -> str:
    kind = numbers.randrange(9) if depth > 0 else 0
    e = lambda: _expression(numbers, depth - 1)  # noqa: E731
    if kind <= 1:
        return numbers.choice(ATOMS) if numbers.random() < 0.6 else numbers.choice(NAMES)
    if kind == 2:
        return f"({e()} {numbers.choice(OPERATORS)} {e()})"
    if kind in (3, 4):
        return f"{e()}|{_filled(numbers.choice(FILTERS), numbers, depth)}"
    if kind == 5:
        return f"({e()} is {_filled(numbers.choice(TESTS), numbers, depth)})"
    if kind == 6:
        return f"{numbers.choice(NAMES)}.{_filled(numbers.choice(METHODS), numbers, depth)}"
    if kind == 7:
        return f"{e()}[{numbers.choice(('0', '-1', ':', '::-1', '1:', ':N', 'N::N'))}]".replace(
            "N", _number(numbers)
        )
    return numbers.choice(("[X]", "[X, X]", "(X, X)", "{'k': X}", "namespace(v=X)", "dict(v=X)")).replace(
        "X", e()
    )


def _number(numbers: random.Random) -> str:
    return str(numbers.choice((0, 1, -1, 3, 1000, 10001, 10**9, 2**63 - 1, -(2**63))))


def _filled(form: str, numbers: random.Random, depth: int) -> str:
    return form.replace("N", _number(numbers)).replace("E", _expression(numbers, depth - 2))


def _block(numbers: random.Random, depth: int) -> str:
    out = []
    for _ in range(numbers.choice((1, 2, 3, 4))):
        out.append(_statement(numbers, depth))
    return "".join(out)


def _statement(numbers: random.Random, depth: int) -> str:
    e = _expression(numbers, 3)
    kind = numbers.randrange(10) if depth > 0 else numbers.randrange(4)
    body = _block(numbers, depth - 1) if kind >= 4 else ""
    name = numbers.choice(NAMES)
    return {
        0: f"{{{{ {e} }}}}",
        1: f"{{% set {name} = {e} %}}",
        2: f"{{% set ns.v = {e} %}}",
        3: f"{{% set _ = a.append({e}) %}}",
        4: f"{{% for m in messages %}}{body}{{% endfor %}}",
        5: f"{{% for x in {e} %}}{body}{{% endfor %}}",
        6: f"{{% if {e} %}}{body}{{% else %}}x{{% endif %}}",
        7: f"{{% macro {name}(x, b=1) %}}{body}{{{{ {name}({e}) }}}}{{% endmacro %}}{{{{ {name}({e}) }}}}",
        8: f"{{% for x in range({_number(numbers)}) %}}{body}{{% endfor %}}",
        9: f"{{% set {name} %}}{body}{{% endset %}}",
    }[kind]


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases."""
    return [str(seed + i) for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Has llama.cpp's engine render conversations of all kinds, then Jinja2's."""
    from llamacpp_core import LlamaCppError
    from llamacpp_core.chat_format import Jinja2ChatFormatter
    from llamacpp_core.engine.load.template_check import check_templates

    text = template(random.Random(case))
    (folder / "template.jinja").write_text(text)
    refusal: LlamaCppError | None = None
    try:
        check_templates({"default": text}, "model.gguf")
    except LlamaCppError as error:
        refusal = error
    formatter = Jinja2ChatFormatter(text, eos_token="</s>", bos_token="<s>")
    formatter(messages=[{"role": "user", "content": "a <|im_end|>"}, {"role": "assistant", "content": "b"}])
    if refusal is not None:
        raise refusal
