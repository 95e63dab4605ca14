"""Each named format renders as it is published.

The expected texts are written out by hand from the publication that the format's description names.
"""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core.chat_format import (
    NAMED_FORMATS,
    Jinja2ChatFormatter,
    NamedChatFormatter,
    named_format,
)
from llamacpp_core.chat_format.named import constants
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, UnsupportedCapabilityError

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
]

FUNCTIONARY_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. The assistant calls functions with appropriate "
    "input when necessary"
)
NO_FUNCTIONS = (
    "// Supported function definitions that should be called when necessary.\n"
    "namespace functions {\n\n} // namespace functions"
)
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
)

EXPECTED = {
    "alpaca": (
        "Be brief.\n\n### Instruction:\nHi\n\n### Response:Hello!</s>### Instruction:\nBye\n\n### Response:"
    ),
    "baichuan": "Be brief.<reserved_102>Hi<reserved_103>Hello!<reserved_102>Bye<reserved_103>",
    "baichuan-2": "Be brief.<reserved_106>Hi<reserved_107>Hello!<reserved_106>Bye<reserved_107>",
    "chatglm3": (
        "[gMASK]sop<|system|>\n Be brief.<|user|>\n Hi<|assistant|>\n Hello!<|user|>\n Bye<|assistant|>"
    ),
    "chatml": CHATML,
    "chatml-function-calling": CHATML,
    "functionary": (
        f"system:\n{FUNCTIONARY_SYSTEM}\nsystem:\nBe brief.\n"
        "user:\n</s>Hi</s>\nassistant:\nHello!\nuser:\n</s>Bye</s>\nassistant:\n"
    ),
    "functionary-v1": (
        f"system:\n{NO_FUNCTIONS}<|END_OF_SYSTEM|>\nsystem:\n{FUNCTIONARY_SYSTEM}<|END_OF_SYSTEM|>\n"
        "system:\nBe brief.<|END_OF_SYSTEM|>\nuser:\nHi<|END_OF_USER|>\n"
        "assistant:\nHello!<|END_OF_ASSISTANT|>\nuser:\nBye<|END_OF_USER|>\nassistant:"
    ),
    "functionary-v2": (
        f"<|from|>system\n<|recipient|>all\n<|content|>{NO_FUNCTIONS}\n"
        f"<|from|>system\n<|recipient|>all\n<|content|>{FUNCTIONARY_SYSTEM}\n"
        "<|from|>system\n<|recipient|>all\n<|content|>Be brief.\n"
        "<|from|>user\n<|recipient|>all\n<|content|>Hi\n"
        "<|from|>assistant\n<|recipient|>all\n<|content|>Hello!<|stop|>\n"
        "<|from|>user\n<|recipient|>all\n<|content|>Bye\n"
        "<|from|>assistant\n<|recipient|>all\n<|content|>"
    ),
    "gemma": (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    ),
    "intel": (
        "### System:\nBe brief.\n### User:\nHi\n### Assistant:\nHello!\n### User:\nBye\n### Assistant:\n"
    ),
    "llama-2": ("<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]"),
    "llama-3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "mistral-instruct": "<s>[INST] Be brief.\n\nHi [/INST]Hello!</s>[INST] Bye [/INST]",
    "mistrallite": (
        "<|system|>Be brief.</s><|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Bye</s><|assistant|>"
    ),
    "oasst_llama": (
        "<|system|>Be brief.</s><|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Bye</s><|assistant|>"
    ),
    "open-orca": (
        "Be brief.<|end_of_turn|>User: Hi<|end_of_turn|>Assistant: Hello!<|end_of_turn|>"
        "User: Bye<|end_of_turn|>Assistant:"
    ),
    "openbuddy": "Be brief.\n\nUser: Hi\nAssistant: Hello!\nUser: Bye\nAssistant:",
    "openchat": (
        "<s>GPT4 Correct System: Be brief.<|end_of_turn|>GPT4 Correct User: Hi<|end_of_turn|>"
        "GPT4 Correct Assistant: Hello!<|end_of_turn|>GPT4 Correct User: Bye<|end_of_turn|>"
        "GPT4 Correct Assistant:"
    ),
    "phind": (
        "### System Prompt\nBe brief.\n\n### User Message\nHi\n\n### Assistant\nHello!\n\n"
        "### User Message\nBye\n\n### Assistant\n"
    ),
    "pygmalion": "<|system|>Be brief.<|user|>Hi<|model|>Hello!<|user|>Bye<|model|>",
    "qwen": CHATML,
    "redpajama-incite": "Be brief.\n<human>: Hi\n<bot>: Hello!\n<human>: Bye\n<bot>:",
    "saiga": "<s>system\nBe brief.</s><s>user\nHi</s><s>bot\nHello!</s><s>user\nBye</s><s>bot",
    "snoozy": (
        "### Instruction:\nBe brief.\n### Prompt: Hi\n### Response: Hello!\n### Prompt: Bye\n### Response:"
    ),
    "vicuna": "Be brief. USER: Hi ASSISTANT: Hello!</s>USER: Bye ASSISTANT:",
    "zephyr": (
        "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n"
        "<|user|>\nBye</s>\n<|assistant|>\n"
    ),
}

DEFAULT_BEGINNINGS = {
    "alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nHi\n\n### Response:"
    ),
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "gemma": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "llama-2": "<s>[INST] Hi [/INST]",
    "mistral-instruct": "<s>[INST] Hi [/INST]",
    "openbuddy": (
        "You are a helpful, respectful and honest INTP-T AI Assistant named Buddy. You are talking to a "
        "human User.\n\nUser: Hi\nAssistant:"
    ),
    "phind": (
        "### System Prompt\nYou are an intelligent programming assistant.\n\n"
        "### User Message\nHi\n\n### Assistant\n"
    ),
    "qwen": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    ),
    "saiga": (
        "<s>system\nТы — Сайга, русскоязычный автоматический ассистент. "  # noqa: RUF001  (Russian)
        "Ты разговариваешь с людьми и помогаешь им.</s><s>user\nHi</s><s>bot"  # noqa: RUF001  (Russian)
    ),
    "snoozy": (
        "### Instruction:\nThe prompt below is a question to answer, a task to complete, or a conversation "
        "to respond to; decide which and write an appropriate response.\n### Prompt: Hi\n### Response:"
    ),
    "vicuna": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
        "helpful, detailed, and polite answers to the user's questions. USER: Hi ASSISTANT:"
    ),
    "zephyr": "<|user|>\nHi</s>\n<|assistant|>\n",
}


def render(name: str, messages: list[Any], **kwargs: Any) -> str:
    return NamedChatFormatter(name)(messages=messages, **kwargs).prompt


def test_every_format_is_tested() -> None:
    assert tuple(sorted(EXPECTED)) == NAMED_FORMATS


@pytest.mark.parametrize("name", NAMED_FORMATS)
def test_a_conversation_renders_as_published(name: str) -> None:
    assert render(name, CONVERSATION) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(DEFAULT_BEGINNINGS))
def test_a_conversation_without_a_system_message(name: str) -> None:
    assert render(name, CONVERSATION[1:2]) == DEFAULT_BEGINNINGS[name]


@pytest.mark.parametrize("name", NAMED_FORMATS)
def test_a_format_is_complete(name: str) -> None:
    found = named_format(name)
    assert found.name == name
    assert found.stop[0] == found.eos_token
    assert all(found.stop)
    assert len(found.description) > 10
    assert "@" not in found.template
    assert not found.template.endswith("\n")


@pytest.mark.parametrize("name", NAMED_FORMATS)
def test_the_bos_token_is_told_to_the_tokenizer(name: str) -> None:
    response = NamedChatFormatter(name)(messages=CONVERSATION)
    writes_bos = name in ("gemma", "llama-2", "llama-3", "mistral-instruct", "openchat", "saiga")
    assert response.added_special is writes_bos
    assert response.stop == list(named_format(name).stop)


@pytest.mark.parametrize("name", NAMED_FORMATS)
def test_no_message_is_left_out(name: str) -> None:
    texts = ["SYSTEM-1", "USER-2", "ANSWER-3", "USER-4", "ANSWER-5", "USER-6"]
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    prompt = render(name, [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)])
    places = [prompt.index(text) for text in texts]
    assert places == sorted(places)


@pytest.mark.parametrize("name", [name for name in NAMED_FORMATS if name != "llama-3"])
def test_an_unknown_role_is_refused(name: str) -> None:
    with pytest.raises(InvalidMessageError, match="narrator"):
        render(name, [*CONVERSATION, {"role": "narrator", "content": "x"}])


def test_the_roles_are_those_of_every_conversation() -> None:
    with pytest.raises(InvalidMessageError, match="unknown role 'ipython'"):
        render("llama-3", [{"role": "ipython", "content": "x"}])


PLAIN = [name for name in NAMED_FORMATS if named_format(name).tool_syntax is None]


@pytest.mark.parametrize("name", PLAIN)
def test_tool_messages_are_refused_where_the_format_has_none(name: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [*CONVERSATION, {"role": "assistant", "content": None, "tool_calls": [call]}]
    with pytest.raises(UnsupportedCapabilityError, match=r"messages\[4\] has tool calls"):
        render(name, history)
    with pytest.raises(UnsupportedCapabilityError, match="the answer of a tool"):
        render(name, [*CONVERSATION, {"role": "function", "content": "x", "name": "f"}])


@pytest.mark.parametrize("name", ["gemma", "llama-2", "mistral-instruct"])
@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([CONVERSATION[1], CONVERSATION[1]], "alternate"),
        ([CONVERSATION[2]], "alternate"),
        ([CONVERSATION[0]], "needs a user message"),
        ([CONVERSATION[1], CONVERSATION[2], CONVERSATION[0]], "role"),
    ],
)
def test_formats_with_fixed_turns_refuse_others(name: str, messages: list[Any], message: str) -> None:
    with pytest.raises(InvalidMessageError, match=message):
        render(name, messages)


@pytest.mark.parametrize("name", ["alpaca", "vicuna", "zephyr"])
def test_a_second_system_message_is_refused_where_there_is_no_place(name: str) -> None:
    with pytest.raises(InvalidMessageError, match="at the beginning only"):
        render(name, [*CONVERSATION, CONVERSATION[0]])


def test_parts_of_text_are_joined_and_others_refused() -> None:
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert "User: One.\nTwo.<|end_of_turn|>" in render("openchat", [{"role": "user", "content": parts}])
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(UnsupportedCapabilityError, match=r"messages\[0\]\.content\[2\]"):
        render("openchat", [{"role": "user", "content": [*parts, image]}])
    with pytest.raises(InvalidMessageError, match="unknown content type 'video'"):
        render("openchat", [{"role": "user", "content": [{"type": "video"}]}])


def test_a_developer_message_is_a_system_message() -> None:
    assert (
        render("vicuna", [{"role": "developer", "content": "Be brief."}, *CONVERSATION[1:]])
        == EXPECTED["vicuna"]
    )


@pytest.mark.parametrize("message", [{"role": "user"}, {"role": "user", "content": None}])
def test_a_message_without_content_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError, match=r"messages\[0\]\.content: a user message needs"):
        render("vicuna", [message])


def test_an_unknown_format() -> None:
    with pytest.raises(InvalidParameterError, match="known are alpaca"):
        named_format("nope")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("CHATML", CHATML),
        ("MISTRAL_INSTRUCT", "<s>[INST] Be brief.\n\nHi [/INST]Hello!</s> [INST] Bye [/INST]"),
        ("MIXTRAL_INSTRUCT", "<s>[INST] Be brief.\n\nHi [/INST]Hello!</s>[INST] Bye [/INST]"),
        ("LLAMA3_INSTRUCT", EXPECTED["llama-3"]),
    ],
)
def test_the_template_constants(prefix: str, expected: str) -> None:
    formatter = Jinja2ChatFormatter(
        template=getattr(constants, f"{prefix}_CHAT_TEMPLATE"),
        eos_token=getattr(constants, f"{prefix}_EOS_TOKEN"),
        bos_token=getattr(constants, f"{prefix}_BOS_TOKEN"),
    )
    assert formatter.format_messages(CONVERSATION).prompt == expected
