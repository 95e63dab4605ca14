"""llama-cpp-python's chat handlers for pictures, by name: here a projector's file is all that is needed."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError

__all__ = [
    "Gemma4ChatHandler",
    "Llama3VisionAlphaChatHandler",
    "Llava15ChatHandler",
    "Llava16ChatHandler",
    "MTMDChatHandler",
    "MiniCPMv26ChatHandler",
    "MoondreamChatHandler",
    "NanoLlavaChatHandler",
    "ObsidianChatHandler",
    "Qwen25VLChatHandler",
]

_HINT = "load the model with mmproj=<its projector file>"


class MTMDChatHandler:
    """Names a projector: ``Llama(m, chat_handler=MTMDChatHandler(path))`` is ``Llama(m, mmproj=path)``.

    The conversation is written by the model's own template, or by ``chat_format``.

    Args:
        clip_model_path: The projector's file.
        verbose: Taken and not used: ``Llama(verbose=True)`` shows the log.

    Raises:
        InvalidParameterError: ``clip_model_path`` is no path, or an argument is unknown.
    """

    def __init__(self, clip_model_path: str | os.PathLike[str], verbose: bool = True, **more: Any) -> None:
        name = type(self).__name__
        if not isinstance(clip_model_path, str | os.PathLike):
            raise InvalidParameterError(
                f"clip_model_path of {name} must be a path: better {_HINT}", parameter="clip_model_path"
            )
        if more:
            unknown = sorted(more)[0]
            raise InvalidParameterError(
                f"{name} takes no {unknown!r}: {_HINT}, and give other options to Llama", parameter=unknown
            )
        self.clip_model_path = os.fspath(clip_model_path)
        self.verbose = verbose

    def __call__(self, **_: Any) -> NoReturn:
        """Refuses to answer in place of the engine, which does it with the projector.

        Raises:
            UnsupportedCapabilityError: Always; says how to load the projector.
        """
        raise UnsupportedCapabilityError(
            f"{type(self).__name__} only names a projector: {_HINT}", parameter="chat_handler"
        )

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuses to download a projector by itself.

        Raises:
            UnsupportedCapabilityError: Always; says how to load the projector.
        """
        raise UnsupportedCapabilityError(
            f"{cls.__name__}.from_pretrained downloads nothing here: {_HINT}", parameter="chat_handler"
        )


class Gemma4ChatHandler(MTMDChatHandler):
    """Names a projector of Gemma 4."""


class Llava15ChatHandler(MTMDChatHandler):
    """Names a projector of LLaVA 1.5, whose files have no template: give ``chat_format="vicuna"``, too."""


class Llama3VisionAlphaChatHandler(Llava15ChatHandler):
    """Names a projector of llama3-vision-alpha; give ``chat_format="llama-3"``, too."""


class Llava16ChatHandler(Llava15ChatHandler):
    """Names a projector of LLaVA 1.6."""


class MiniCPMv26ChatHandler(Llava15ChatHandler):
    """Names a projector of MiniCPM-V 2.6."""


class MoondreamChatHandler(Llava15ChatHandler):
    """Names a projector of Moondream."""


class NanoLlavaChatHandler(Llava15ChatHandler):
    """Names a projector of nanoLLaVA."""


class ObsidianChatHandler(Llava15ChatHandler):
    """Names a projector of Obsidian."""


class Qwen25VLChatHandler(Llava15ChatHandler):
    """Names a projector of Qwen2.5-VL."""
