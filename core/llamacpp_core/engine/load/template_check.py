"""Chat templates of model files that would end the process, found before llama.cpp renders them."""

from __future__ import annotations

from collections.abc import Mapping

from llamacpp_core.errors import ModelLoadError
from llamacpp_core.native import lib
from llamacpp_core.native.failures import last_report

__all__ = ["check_templates"]


def check_templates(templates: Mapping[str, str], path: str) -> None:
    """Checks the chat templates that a model file holds.

    Args:
        templates: Jinja templates, by their names in the file.
        path: The file, for the error.

    Raises:
        ModelLoadError: One is nested more deeply than a stack has room for, or passes a limit of steps, time
            or memory when it renders conversations of the usual kinds.
    """
    for name, template in templates.items():
        text = template.encode("utf-8", "surrogateescape")
        if not lib.lc_template_is_bounded(text, len(text)):
            raise ModelLoadError(
                f"{path} cannot be loaded: its chat template {name!r} has no end or is too large: "
                f"{last_report()['message']} (chat_template or chat_format sets another)",
                path=path,
            )
