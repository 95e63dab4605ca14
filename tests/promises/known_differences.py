"""Where our prompts differ from the reference's, and why; docs/promises.md shows the same table."""

from __future__ import annotations

TEXT_ONLY = (
    "the template takes text only and fails on parts, prints them or drops them: we join them with line ends"
)
JOINED = "llama.cpp does not notice that the template takes parts: we join them with line ends"
GENERIC = (
    "the template has no calls, or none that can be read back: tools and calls are written in our own form"
)
NEEDS_MORE = "the reference fails on what the template leaves undefined (no tools, no description, no date)"
ROLES = "the template refuses a system message or the order of roles: ours are merged into users' turns"
SANDBOX = "the reference's sandbox forbids list.append, which the template uses"
GENERATOR = "the reference cannot serialise what the template maps"
ESCAPES = "Jinja2 escapes what is added to text marked |safe: HTML that no model was trained on"
OPEN_REASONING = "the template leaves the reasoning open in front of an answer: we close it"
KEPT_REASONING = "the reasoning of earlier turns is kept, as llama-server does where a template can"


def _calls(reason: str) -> dict[str, str]:
    return dict.fromkeys(("tools", "calls", "calls answered"), reason)


def _without_calls(reason: str) -> dict[str, str]:
    return dict.fromkeys(("system", "turns", "parts", "empty", "prefill"), reason)


#: From template to conversation to reason.
KNOWN_DIFFERENCES: dict[str, dict[str, str]] = {
    "Apertus-8B-Instruct": {"parts": TEXT_ONLY},
    "Apriel-1.6-15b-Thinker-fixed": {"prefill": OPEN_REASONING},
    "Bielik-11B-v3.0-Instruct": {"parts": TEXT_ONLY},
    "ByteDance-Seed-OSS": {"parts": TEXT_ONLY},
    "CohereForAI-c4ai-command-r-plus-tool_use": {
        **_without_calls(NEEDS_MORE),
        **_calls(NEEDS_MORE),
    },
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": {"parts": TEXT_ONLY},
    "GigaChat3-10B-A1.8B": {"parts": TEXT_ONLY},
    "GigaChat3.1-10B-A1.8B": {"parts": TEXT_ONLY},
    "HuggingFaceTB-SmolLM3-3B": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "Kimi-K2-Instruct": {"calls": SANDBOX, "calls answered": SANDBOX},
    "Kimi-K2-Thinking": {"calls": SANDBOX, "calls answered": SANDBOX},
    "LFM2-8B-A1B": {**_calls(GENERIC), "parts": TEXT_ONLY},
    "LFM2.5-8B-A1B": {"parts": JOINED},
    "LFM2.5-Instruct": {**_calls(GENERIC), "parts": TEXT_ONLY},
    "MiMo-VL": {"parts": TEXT_ONLY},
    "Mistral-Small-3.2-24B-Instruct-2506": {
        **_calls(GENERIC),
    },
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": {"parts": TEXT_ONLY},
    "NVIDIA-Nemotron-Nano-v2": {"parts": TEXT_ONLY, "prefill": OPEN_REASONING},
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": {
        **_without_calls(NEEDS_MORE),
    },
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": {
        **_without_calls(NEEDS_MORE),
    },
    "Qwen-QwQ-32B": {"parts": TEXT_ONLY},
    "Qwen-Qwen2.5-7B-Instruct": {"parts": TEXT_ONLY},
    "Qwen-Qwen3-0.6B": {"parts": TEXT_ONLY},
    "Qwen3-Coder": {"parts": TEXT_ONLY},
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "deepseek-ai-DeepSeek-V3.1": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "deepseek-ai-DeepSeek-V3.2": {"parts": TEXT_ONLY},
    "deepseek-ai-DeepSeek-V4": {"turns": KEPT_REASONING, "parts": TEXT_ONLY},
    "deepseek-ai-DeepSeek-V4-Flash-0731": {"turns": KEPT_REASONING, "parts": TEXT_ONLY},
    "fireworks-ai-llama-3-firefunction-v2": {
        **_without_calls(NEEDS_MORE),
        **_calls(NEEDS_MORE),
    },
    "google-gemma-2-2b-it": {
        "system": ROLES,
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "ibm-granite-granite-3.3-2B-Instruct": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "inclusionai-ling-3.0-flash": {"parts": TEXT_ONLY},
    "llama-cpp-deepseek-r1": {
        **_calls(GENERATOR),
        "parts": TEXT_ONLY,
    },
    "llama-cpp-rwkv-world": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "meetkai-functionary-medium-v3.1": {
        **_calls(ESCAPES),
        "parts": TEXT_ONLY,
    },
    "meetkai-functionary-medium-v3.2": {"parts": TEXT_ONLY},
    "meta-llama-Llama-3.1-8B-Instruct": {"parts": TEXT_ONLY},
    "meta-llama-Llama-3.2-3B-Instruct": {"parts": TEXT_ONLY},
    "meta-llama-Llama-3.3-70B-Instruct": {"parts": TEXT_ONLY},
    "microsoft-Phi-3.5-mini-instruct": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
    "mistralai-Ministral-3-14B-Reasoning-2512": {"parts": JOINED},
    "mistralai-Mistral-Nemo-Instruct-2407": {"parts": TEXT_ONLY},
    "openai-gpt-oss-120b": {"parts": TEXT_ONLY},
    "openbmb-MiniCPM5-1B": {"parts": TEXT_ONLY},
    "poolside-Laguna-S-2.1": {"parts": TEXT_ONLY},
    "poolside-Laguna-XS-2.1": {"parts": TEXT_ONLY},
    "poolside-Laguna-XS.2": {"parts": TEXT_ONLY},
    "upstage-Solar-Open-100B": {
        **_calls(GENERIC),
        "parts": TEXT_ONLY,
    },
}


def as_markdown() -> str:
    """The table for the documentation: each reason with the templates and conversations that it is for."""
    rows = ["| Why | Conversations | Templates |", "|---|---|---|"]
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for template, differences in KNOWN_DIFFERENCES.items():
        for reason in dict.fromkeys(differences.values()):
            names = tuple(name for name, why in differences.items() if why == reason)
            found.setdefault((reason, names), []).append(template)
    for (reason, names), templates in sorted(found.items(), key=lambda item: -len(item[1])):
        listed = ", ".join(f"`{template}`" for template in templates)
        rows.append(f"| {reason.replace('|', '&#124;')} | {', '.join(names)} | {listed} |")
    return "\n".join(rows)
