"""What a model can do, in LangChain's terms."""

from __future__ import annotations

from langchain_core.language_models.model_profile import ModelProfile

from llamacpp_core import ModelInfo

__all__ = ["model_profile"]


def model_profile(info: ModelInfo) -> ModelProfile:
    """The profile of a loaded model, from its file, its template and how it is loaded.

    Calls can be forced and answers held to a schema with every model, since grammars do it.
    ``structured_output`` is False nevertheless: by it, ``create_agent`` chooses between the answer's format
    and a tool for the object. With the format, nothing leads a small model from its tools to the answer; with
    the tool, it is told of the object beside the others, and more agents end.
    """
    caps = info.capabilities
    return ModelProfile(
        name=info.name,
        open_weights=True,
        max_input_tokens=info.n_ctx,
        max_output_tokens=info.n_ctx,
        text_inputs=True,
        image_inputs=caps.image,
        image_url_inputs=False,
        audio_inputs=caps.audio,
        video_inputs=False,
        pdf_inputs=False,
        image_tool_message=False,
        pdf_tool_message=False,
        text_outputs=True,
        image_outputs=False,
        audio_outputs=False,
        video_outputs=False,
        reasoning_output=caps.reasoning,
        tool_calling=True,
        tool_choice=True,
        tool_call_streaming=True,
        structured_output=False,
        attachment=caps.image or caps.audio,
        temperature=True,
    )
