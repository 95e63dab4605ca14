"""Structured prediction: the answer is JSON that a grammar made from the output class's schema admits."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.program.utils import create_flexible_model
from llama_index.core.types import PydanticProgramMode

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.llama_index._tools import partial_json

if TYPE_CHECKING:
    from llama_index.core.prompts import PromptTemplate

__all__ = ["PartialObjects", "StructuredOutputLLM", "schema_params", "with_schema"]

dispatcher = get_dispatcher(__name__)

M = TypeVar("M", bound=BaseModel)

# Given by the framework's programs to every LLM; here the schema says it all.
_OF_PROGRAMS = ("tool_required", "tool_choice", "allow_parallel_tool_calls")


def schema_params(output_cls: type[BaseModel], llm_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments of a chat call whose answer is an object of the class.

    Raises:
        InvalidParameterError: ``llm_kwargs`` constrain the answer in another way.
    """
    if llm_kwargs is not None and not isinstance(llm_kwargs, Mapping):
        raise InvalidParameterError(
            f"llm_kwargs must be a dict, got {type(llm_kwargs).__name__}", parameter="llm_kwargs"
        )
    params = {name: value for name, value in (llm_kwargs or {}).items() if name not in _OF_PROGRAMS}
    for name in ("response_format", "grammar", "tools"):
        if params.get(name):
            raise InvalidParameterError(f"llm_kwargs: {name} contradicts the output class", parameter=name)
    schema = {"name": output_cls.__name__, "schema": output_cls.model_json_schema()}
    return params | {"response_format": {"type": "json_schema", "json_schema": schema}}


def with_schema(messages: Sequence[ChatMessage], output_cls: type[BaseModel]) -> list[ChatMessage]:
    """The conversation with the schema at its end, so that the model knows the fields' names and meanings.

    It goes into the last user message, since not every chat template takes a system message.
    """
    schema = json.dumps(output_cls.model_json_schema(), ensure_ascii=False)
    block = TextBlock(text=f"Answer only with JSON that follows this JSON schema:\n{schema}")
    if messages and messages[-1].role == MessageRole.USER:
        last = messages[-1]
        return [*messages[:-1], last.model_copy(update={"blocks": [*last.blocks, block]})]
    return [*messages, ChatMessage(role=MessageRole.USER, blocks=[block])]


class PartialObjects(Generic[M]):
    """Objects of a class from JSON that is still being written.

    An object that does not yet satisfy its class comes as a ``FlexibleModel`` with the class's fields, None
    where nothing has been written so far.
    """

    def __init__(self, output_cls: type[M]) -> None:
        self._output_cls = output_cls
        self._flexible = create_flexible_model(output_cls)
        self._text = ""
        self._value: Any = None
        self._last: Any = None

    def add(self, text: str) -> Iterator[M | BaseModel]:
        """The object that the text holds so far, when it is another one than before."""
        self._text = text
        value = partial_json(text)
        if value is None or value == self._value:
            return
        self._value = value
        try:
            self._last = self._output_cls.model_validate(value)
        except ValidationError:
            if not isinstance(value, dict):
                return
            self._last = self._flexible.model_validate(value)
        yield self._last

    def finish(self) -> Iterator[M]:
        """The complete object, unless it was the last one.

        Raises:
            ValidationError: The class has rules beyond its JSON schema, and the object breaks one.
        """
        complete = self._output_cls.model_validate_json(self._text)
        if type(self._last) is not type(complete) or self._last != complete:
            yield complete


class StructuredOutputLLM(FunctionCallingLLM):
    """The four forms of structured prediction, for an LLM whose chat takes ``response_format``.

    A ``pydantic_program_mode`` other than the default leaves the work to the framework's own programs.
    """

    @dispatcher.span
    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> BaseModel:
        """Answers a prompt with an object.

        A grammar made from the class's JSON schema admits nothing else.

        Args:
            output_cls: A pydantic model.
            prompt: The prompt.
            llm_kwargs: As the keywords of :meth:`chat`; not changed.
            prompt_args: Variables of the prompt.

        Raises:
            GrammarError: The schema has something that no grammar can enforce.
            IncompleteOutputError: The answer was cut off.
            ValidationError: The class has rules beyond its JSON schema, and the answer breaks one.
        """
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            result = super().structured_predict(output_cls, prompt, dict(llm_kwargs or {}), **prompt_args)
            return cast(BaseModel, result)
        dispatcher.event(
            LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args)
        )
        messages = self._structured_messages(output_cls, prompt, prompt_args)
        response = self.chat(messages, **schema_params(output_cls, llm_kwargs))
        result = output_cls.model_validate_json(response.message.content or "")
        dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    @dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> BaseModel:
        """:meth:`structured_predict` for coroutines."""
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            result = await super().astructured_predict(
                output_cls, prompt, dict(llm_kwargs or {}), **prompt_args
            )
            return cast(BaseModel, result)
        dispatcher.event(
            LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args)
        )
        messages = self._structured_messages(output_cls, prompt, prompt_args)
        response = await self.achat(messages, **schema_params(output_cls, llm_kwargs))
        result = output_cls.model_validate_json(response.message.content or "")
        dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            yield from super()._structured_stream_call(
                output_cls, prompt, dict(llm_kwargs or {}), **prompt_args
            )
            return
        messages = self._structured_messages(output_cls, prompt, prompt_args)
        objects = PartialObjects(output_cls)
        for response in self.stream_chat(messages, **schema_params(output_cls, llm_kwargs)):
            yield from objects.add(response.message.content or "")
        yield from objects.finish()

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            return await super()._structured_astream_call(
                output_cls, prompt, dict(llm_kwargs or {}), **prompt_args
            )
        messages = self._structured_messages(output_cls, prompt, prompt_args)
        responses = await self.astream_chat(messages, **schema_params(output_cls, llm_kwargs))

        async def objects_of() -> AsyncGenerator[Any, None]:
            objects = PartialObjects(output_cls)
            async for response in responses:
                for partial in objects.add(response.message.content or ""):
                    yield partial
            for complete in objects.finish():
                yield complete

        return objects_of()

    def _structured_messages(
        self, output_cls: type[BaseModel], prompt: PromptTemplate, prompt_args: Mapping[str, Any]
    ) -> list[ChatMessage]:
        if not isinstance(output_cls, type) or not issubclass(output_cls, BaseModel):
            raise InvalidParameterError(
                f"output_cls must be a class derived from pydantic's BaseModel, got {output_cls!r:.80}",
                parameter="output_cls",
            )
        return with_schema(self._extend_messages(prompt.format_messages(llm=self, **prompt_args)), output_cls)
