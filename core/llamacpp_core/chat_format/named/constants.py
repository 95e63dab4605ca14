"""Templates and tokens of four common chat formats, for use with :class:`Jinja2ChatFormatter`.

Each template renders the format as its authors published it: ChatML (OpenAI's ``chatml.md``),
Mistral-7B-Instruct and Mixtral-8x7B-Instruct (Mistral AI's model cards: Mistral writes a space after the
end of a turn, Mixtral does not) and Llama 3 Instruct (Meta's model card). The Mistral formats have no system
role; a system message goes in front of the first user message, as mistral-common does.
"""

from __future__ import annotations

__all__ = [
    "CHATML_BOS_TOKEN",
    "CHATML_CHAT_TEMPLATE",
    "CHATML_EOS_TOKEN",
    "LLAMA3_INSTRUCT_BOS_TOKEN",
    "LLAMA3_INSTRUCT_CHAT_TEMPLATE",
    "LLAMA3_INSTRUCT_EOS_TOKEN",
    "MISTRAL_INSTRUCT_BOS_TOKEN",
    "MISTRAL_INSTRUCT_CHAT_TEMPLATE",
    "MISTRAL_INSTRUCT_EOS_TOKEN",
    "MIXTRAL_INSTRUCT_BOS_TOKEN",
    "MIXTRAL_INSTRUCT_CHAT_TEMPLATE",
    "MIXTRAL_INSTRUCT_EOS_TOKEN",
]

CHATML_BOS_TOKEN = "<s>"
CHATML_EOS_TOKEN = "<|im_end|>"
CHATML_CHAT_TEMPLATE = """\
{%- for turn in messages -%}
{{ '<|im_start|>' ~ turn.role ~ '\\n' ~ (turn.content or '') ~ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

_MISTRAL_TURNS = """\
{{- bos_token -}}
{%- set state = namespace(system='', expected='user') -%}
{%- for turn in messages -%}
{%- if turn.role == 'system' and loop.first -%}
{%- set state.system = turn.content ~ '\\n\\n' -%}
{%- elif turn.role != 'user' and turn.role != 'assistant' -%}
{{ raise_exception('This format has the roles user, assistant and a leading system, not ' ~ turn.role) }}
{%- elif turn.role != state.expected -%}
{{ raise_exception('Turns must alternate between user and assistant, beginning with user') }}
{%- elif turn.role == 'user' -%}
{{ '[INST] ' ~ state.system ~ turn.content ~ ' [/INST]' }}
{%- set state.system = '' -%}
{%- set state.expected = 'assistant' -%}
{%- else -%}
{{ turn.content ~ eos_token@AFTER@ }}
{%- set state.expected = 'user' -%}
{%- endif -%}
{%- endfor -%}
{%- if state.system -%}{{ raise_exception('A system message needs a user message after it') }}{%- endif -%}
"""

MISTRAL_INSTRUCT_BOS_TOKEN = "<s>"
MISTRAL_INSTRUCT_EOS_TOKEN = "</s>"
MISTRAL_INSTRUCT_CHAT_TEMPLATE = _MISTRAL_TURNS.replace("@AFTER@", " ~ ' '")

MIXTRAL_INSTRUCT_BOS_TOKEN = "<s>"
MIXTRAL_INSTRUCT_EOS_TOKEN = "</s>"
MIXTRAL_INSTRUCT_CHAT_TEMPLATE = _MISTRAL_TURNS.replace("@AFTER@", "")

LLAMA3_INSTRUCT_BOS_TOKEN = "<|begin_of_text|>"
LLAMA3_INSTRUCT_EOS_TOKEN = "<|eot_id|>"
LLAMA3_INSTRUCT_CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for turn in messages -%}
{{ '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\\n\\n' }}
{{- (turn.content or '') | trim ~ '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}
"""
