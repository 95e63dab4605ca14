"""Templates of the formats that only put fixed text around each turn."""

from __future__ import annotations

from typing import Final

__all__ = ["plain_template"]

_TEMPLATE: Final = """\
{%- if messages[0].role != 'system' -%}
{{ @DEFAULT@ }}
{%- endif -%}
{%- for turn in messages -%}
{%- if turn.role == 'system' and loop.first -%}
{{ @SYSTEM@ }}
{%- elif turn.role == 'user' -%}
{{ @USER@ }}
{%- elif turn.role == 'assistant' -%}
{{ @ASSISTANT@ }}
{%- elif turn.role == 'system' -%}
{{ raise_exception('The @NAME@ chat format takes a system message at the beginning only') }}
{%- else -%}
{{ raise_exception('The @NAME@ chat format has no role ' ~ turn.role) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ @ANSWER@ }}
{%- endif -%}
"""


def plain_template(
    name: str, *, system: str, user: str, assistant: str, answer: str, bos: bool = False, default: str = ""
) -> str:
    """A template that writes fixed text around each turn.

    Args:
        name: The format, for error messages.
        system: A leading system message, ``{}`` standing for its content, ``{bos}`` and ``{eos}`` for tokens.
        user: A user's turn, in the same notation, as are the next two.
        assistant: An assistant's turn.
        answer: What the assistant's answer comes after.
        bos: Whether the conversation begins with the BOS token.
        default: System message of conversations that have none.
    """
    begin = "{{- bos_token -}}\n" if bos else ""
    parts = {
        "@DEFAULT@": _expression(system.replace("{}", default) if default else ""),
        "@SYSTEM@": _expression(system),
        "@USER@": _expression(user),
        "@ASSISTANT@": _expression(assistant),
        "@ANSWER@": _expression(answer),
        "@NAME@": name,
    }
    template = _TEMPLATE if default else _TEMPLATE[_TEMPLATE.index("{%- for") :]
    for placeholder, text in parts.items():
        template = template.replace(placeholder, text)
    return begin + template


def _expression(text: str) -> str:
    """A Jinja expression: the text's constant parts quoted, its placeholders as variables."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    filled = quoted.replace("{}", "' ~ turn.content ~ '")
    for token in ("bos", "eos"):
        filled = filled.replace(f"{{{token}}}", f"' ~ {token}_token ~ '")
    expression = f"'{filled}'"
    return expression.removesuffix(" ~ ''").removeprefix("'' ~ ")
