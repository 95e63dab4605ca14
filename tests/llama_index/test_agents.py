"""Agents over the real model, which is forced to use its tools."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from llamacpp_integrations.llama_index import LlamaCpp


def multiply(a: int, b: int) -> int:
    """Multiplies two numbers."""
    return a * b


async def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}"


class Report(BaseModel):
    """What came out."""

    title: str = Field(max_length=16)
    number: int = Field(ge=0, le=100)


# The agents of the framework use what their workflow engine deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")


@pytest.fixture
def model(chat_model: LlamaCpp) -> LlamaCpp:
    return chat_model.model_copy(update={"max_tokens": 80})


async def run(agent: Any, question: str) -> tuple[AgentOutput, list[Any]]:
    """The agent's answer, and the events on the way to it."""
    # So weak a model may go on calling tools; then it is asked for an answer without them.
    handler = agent.run(user_msg=question, max_iterations=3, early_stopping_method="generate")
    events = [event async for event in handler.stream_events()]
    return await handler, events


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_uses_its_tools(model: LlamaCpp, streaming: bool) -> None:
    agent = FunctionAgent(
        tools=[multiply, weather],
        llm=model,
        system_prompt="Use the tools.",
        initial_tool_choice="multiply",
        streaming=streaming,
    )
    output, events = await run(agent, "What is 6 times 7?")
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert results[0].tool_name == "multiply"
    assert results[0].tool_output.raw_output == results[0].tool_kwargs["a"] * results[0].tool_kwargs["b"]
    assert output.response.role.value == "assistant"
    assert output.response.content
    if streaming:
        arguments = [
            e.tool_calls[0].tool_kwargs for e in events if isinstance(e, AgentStream) and e.tool_calls
        ]
        assert {} in arguments
        assert results[0].tool_kwargs in arguments


async def test_an_agents_memory_goes_on(model: LlamaCpp) -> None:
    tool = FunctionTool.from_defaults(async_fn=weather, return_direct=True)
    agent = FunctionAgent(tools=[multiply, tool], llm=model, initial_tool_choice="weather")
    memory = Memory.from_defaults(session_id="agent", token_limit=2000, tokenizer_fn=model.tokenizer)
    for question in ("How is the weather in Rome?", "And in Oslo?"):
        output = await agent.run(user_msg=question, memory=memory)
        assert output.response.content.startswith("Sunny in")
    roles = [message.role.value for message in await memory.aget()]
    assert roles == ["user", "assistant", "tool", "assistant"] * 2


async def test_structured_output_of_an_agent(model: LlamaCpp) -> None:
    agent = FunctionAgent(
        tools=[multiply, weather], llm=model, output_cls=Report, initial_tool_choice="multiply"
    )
    output, _ = await run(agent, "What is 6 times 7?")
    assert isinstance(output.get_pydantic_model(Report), Report)


async def test_a_workflow_of_two_agents(model: LlamaCpp) -> None:
    first = FunctionAgent(
        name="receptionist",
        description="Takes questions.",
        tools=[multiply],
        llm=model,
        system_prompt="Hand over to the forecaster.",
        can_handoff_to=["forecaster"],
        initial_tool_choice="handoff",
    )
    second = FunctionAgent(
        name="forecaster",
        description="Knows the weather.",
        tools=[weather],
        llm=model,
        system_prompt="Answer with the weather.",
        can_handoff_to=[],
    )
    workflow = AgentWorkflow(agents=[first, second], root_agent="receptionist")
    output, events = await run(workflow, "How is the weather in Rome?")
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert results[0].tool_name == "handoff"
    assert results[0].tool_kwargs["to_agent"]
    assert output.current_agent_name in ("receptionist", "forecaster")
    assert output.response.role.value == "assistant"


async def test_a_react_agent(model: LlamaCpp) -> None:
    grammar = 'root ::= "Thought: I can answer.\\nAnswer: " [a-zA-Z ]{1,20}'
    bound = model.model_copy(update={"additional_kwargs": {"grammar": grammar}})
    output, _ = await run(ReActAgent(tools=[multiply], llm=bound), "What is 6 times 7?")
    assert output.response.content
