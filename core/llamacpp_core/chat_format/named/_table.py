"""What is known of each named chat format. The longer templates are ``.jinja`` files beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamacpp_core.chat_format.named._plain import plain_template
from llamacpp_core.chat_format.named.constants import (
    LLAMA3_INSTRUCT_CHAT_TEMPLATE,
    MIXTRAL_INSTRUCT_CHAT_TEMPLATE,
)

if TYPE_CHECKING:
    from llamacpp_core.chat_format.named import ToolSyntax

__all__ = ["TABLE", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A row of the table; the template is given, or in ``file`` (``<name>.jinja`` unless told)."""

    description: str
    template: str = ""
    file: str = ""
    default_system: str = ""
    stop: tuple[str, ...] = ()
    bos_token: str = "<s>"
    eos_token: str = "</s>"
    tool_syntax: ToolSyntax | None = None


_VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_ALPACA_SYSTEM = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
_SNOOZY_SYSTEM = (
    "The prompt below is a question to answer, a task to complete, or a conversation to respond to; "
    "decide which and write an appropriate response."
)
_OPENBUDDY_SYSTEM = (
    "You are a helpful, respectful and honest INTP-T AI Assistant named Buddy. "
    "You are talking to a human User."
)
_SAIGA_SYSTEM = (
    "Ты — Сайга, русскоязычный автоматический ассистент. "
    "Ты разговариваешь с людьми и помогаешь им."  # noqa: RUF001  (Russian)
)

TABLE: dict[str, Entry] = {
    "alpaca": Entry(
        "Stanford Alpaca (its README); later turns as in FastChat's conversation templates",
        plain_template(
            "alpaca",
            system="{}\n\n",
            user="### Instruction:\n{}\n\n",
            assistant="### Response:{}{eos}",
            answer="### Response:",
            default=_ALPACA_SYSTEM,
        ),
        stop=("### Instruction:",),
    ),
    "baichuan": Entry(
        "Baichuan-13B-Chat (generation_config.json and modeling_baichuan.py of the model)",
        plain_template(
            "baichuan",
            system="{}",
            user="<reserved_102>{}",
            assistant="<reserved_103>{}",
            answer="<reserved_103>",
        ),
        stop=("<reserved_102>",),
    ),
    "baichuan-2": Entry(
        "Baichuan2-Chat (generation_config.json and generation_utils.py of the model)",
        plain_template(
            "baichuan-2",
            system="{}",
            user="<reserved_106>{}",
            assistant="<reserved_107>{}",
            answer="<reserved_107>",
        ),
        stop=("<reserved_106>",),
    ),
    "chatglm3": Entry(
        "ChatGLM3-6B (PROMPT.md of the THUDM/ChatGLM3 repository), with its tool calls",
        stop=("<|user|>", "<|observation|>"),
        bos_token="",
        tool_syntax="chatglm3",
    ),
    "chatml": Entry(
        "ChatML (chatml.md of the openai-python repository), with Hermes 2 Pro's <tool_call> convention",
        stop=("<|im_start|>",),
        eos_token="<|im_end|>",
        tool_syntax="tool_call_tags",
    ),
    "chatml-function-calling": Entry(
        "ChatML with llama-cpp-python's convention for calls: 'functions.<name>:' and 'message:' prefixes",
        stop=("<|im_start|>",),
        eos_token="<|im_end|>",
        tool_syntax="message_prefix",
    ),
    "functionary": Entry(
        "The first models of MeetKai's functionary: 'assistant to=functions.<name>:'",
        stop=("\nuser:",),
        tool_syntax="functionary",
    ),
    "functionary-v1": Entry(
        "functionary v1 (prompt_template_v1.py of the MeetKai/functionary repository)",
        stop=("<|END_OF_ASSISTANT|>", "<|END_OF_FUNCTION_CALL|>"),
        tool_syntax="functionary-v1",
    ),
    "functionary-v2": Entry(
        "functionary v2 (prompt_template_v2.py of the MeetKai/functionary repository)",
        stop=("<|stop|>",),
        tool_syntax="functionary-v2",
    ),
    "gemma": Entry(
        "Gemma 1 and 2 instruct (Google's formatting guide); a system message opens the first user turn",
        stop=("<end_of_turn>",),
        bos_token="<bos>",
        eos_token="<eos>",
    ),
    "intel": Entry(
        "Intel neural-chat-7b-v3 (its model card)",
        plain_template(
            "intel",
            system="### System:\n{}\n",
            user="### User:\n{}\n",
            assistant="### Assistant:\n{}\n",
            answer="### Assistant:\n",
        ),
        stop=("### User:", "### System:"),
    ),
    "llama-2": Entry(
        "Llama 2 Chat (generation.py of the meta-llama/llama repository)",
    ),
    "llama-3": Entry(
        "Llama 3 Instruct (Meta's model card)",
        LLAMA3_INSTRUCT_CHAT_TEMPLATE,
        stop=("<|end_of_text|>",),
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    ),
    "mistral-instruct": Entry(
        "Mistral 7B Instruct v0.1 and v0.2 (Mistral AI's model card and mistral-common)",
        MIXTRAL_INSTRUCT_CHAT_TEMPLATE,
        stop=("[INST]",),
    ),
    "mistrallite": Entry(
        "Amazon MistralLite (its model card)",
        plain_template(
            "mistrallite",
            system="<|system|>{}{eos}",
            user="<|prompter|>{}{eos}",
            assistant="<|assistant|>{}{eos}",
            answer="<|assistant|>",
        ),
        stop=("<|prompter|>",),
    ),
    "oasst_llama": Entry(
        "OpenAssistant's LLaMA models (model card of llama2-13b-orca-8k-3319)",
        plain_template(
            "oasst_llama",
            system="<|system|>{}{eos}",
            user="<|prompter|>{}{eos}",
            assistant="<|assistant|>{}{eos}",
            answer="<|assistant|>",
        ),
        stop=("<|prompter|>",),
    ),
    "open-orca": Entry(
        "OpenOrcaxOpenChat-Preview2-13B (its model card)",
        plain_template(
            "open-orca",
            system="{}<|end_of_turn|>",
            user="User: {}<|end_of_turn|>",
            assistant="Assistant: {}<|end_of_turn|>",
            answer="Assistant:",
        ),
        stop=("<|end_of_turn|>",),
    ),
    "openbuddy": Entry(
        "OpenBuddy's LLaMA models (its README), with the opening lines of its system prompt",
        plain_template(
            "openbuddy",
            system="{}\n\n",
            user="User: {}\n",
            assistant="Assistant: {}\n",
            answer="Assistant:",
            default=_OPENBUDDY_SYSTEM,
        ),
        stop=("\nUser:",),
    ),
    "openchat": Entry(
        "OpenChat 3.5 (its model card and tokenizer_config.json)",
        plain_template(
            "openchat",
            system="GPT4 Correct System: {}<|end_of_turn|>",
            user="GPT4 Correct User: {}<|end_of_turn|>",
            assistant="GPT4 Correct Assistant: {}<|end_of_turn|>",
            answer="GPT4 Correct Assistant:",
            bos=True,
        ),
        eos_token="<|end_of_turn|>",
    ),
    "phind": Entry(
        "Phind-CodeLlama-34B-v2 (its model card)",
        plain_template(
            "phind",
            system="### System Prompt\n{}\n\n",
            user="### User Message\n{}\n\n",
            assistant="### Assistant\n{}\n\n",
            answer="### Assistant\n",
            default="You are an intelligent programming assistant.",
        ),
        stop=("### User Message",),
    ),
    "pygmalion": Entry(
        "Pygmalion 2 and Metharme (model card of pygmalion-2-13b)",
        plain_template(
            "pygmalion",
            system="<|system|>{}",
            user="<|user|>{}",
            assistant="<|model|>{}",
            answer="<|model|>",
        ),
        stop=("<|user|>",),
    ),
    "qwen": Entry(
        "Qwen 1.5, 2 and 2.5 chat models (Qwen's documentation of its ChatML and tool calls)",
        file="chatml.jinja",
        default_system="You are a helpful assistant.",
        stop=("<|endoftext|>", "<|im_start|>"),
        bos_token="",
        eos_token="<|im_end|>",
        tool_syntax="tool_call_tags",
    ),
    "redpajama-incite": Entry(
        "RedPajama-INCITE-Chat (its model card)",
        plain_template(
            "redpajama-incite",
            system="{}\n",
            user="<human>: {}\n",
            assistant="<bot>: {}\n",
            answer="<bot>:",
        ),
        stop=("<human>",),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    ),
    "saiga": Entry(
        "Saiga 2 and Saiga-Mistral (model cards of IlyaGusev)",
        plain_template(
            "saiga",
            system="{bos}system\n{}{eos}",
            user="{bos}user\n{}{eos}",
            assistant="{bos}bot\n{}{eos}",
            answer="{bos}bot",
            default=_SAIGA_SYSTEM,
        ),
    ),
    "snoozy": Entry(
        "GPT4All-13B-snoozy (prompt of the gpt4all bindings)",
        plain_template(
            "snoozy",
            system="### Instruction:\n{}\n",
            user="### Prompt: {}\n",
            assistant="### Response: {}\n",
            answer="### Response:",
            default=_SNOOZY_SYSTEM,
        ),
        stop=("### Prompt:",),
    ),
    "vicuna": Entry(
        "Vicuna 1.1 and later (vicuna_weights_version.md of FastChat)",
        plain_template(
            "vicuna",
            system="{} ",
            user="USER: {} ",
            assistant="ASSISTANT: {}{eos}",
            answer="ASSISTANT:",
            default=_VICUNA_SYSTEM,
        ),
    ),
    "zephyr": Entry(
        "Zephyr-7B (its model card)",
        plain_template(
            "zephyr",
            system="<|system|>\n{}{eos}\n",
            user="<|user|>\n{}{eos}\n",
            assistant="<|assistant|>\n{}{eos}\n",
            answer="<|assistant|>\n",
        ),
        stop=("<|user|>",),
    ),
}
