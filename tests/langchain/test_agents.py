from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama, scripted_info
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ContextEditingMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel, Field

from llamacpp_core import Llama
from llamacpp_core.errors import GenerationError
from llamacpp_integrations.langchain import ChatLlamaCpp


@tool
def temperature_of(city: str) -> int:
    """The temperature in a city, in degrees Celsius."""
    return {"Oslo": -3, "Cairo": 31}.get(city, 12)


@tool
def to_fahrenheit(celsius: int) -> float:
    """Convert degrees Celsius into degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


class Report(BaseModel):
    """A weather report."""

    city: str = Field(max_length=12)
    fahrenheit: int = Field(ge=-100, le=200)


TOOLS = [temperature_of, to_fahrenheit]
SCRIPT = (
    Answer("Let me look.", tool_calls=[("temperature_of", {"city": "Oslo"})]),
    Answer(tool_calls=[("to_fahrenheit", {"celsius": -3})]),
    Answer("It is 26.6 degrees Fahrenheit in Oslo."),
)
QUESTION = {"messages": [HumanMessage("How warm is it in Oslo, in Fahrenheit?")]}


def react_graph(chat: ChatLlamaCpp) -> Any:
    """Model and tools in a loop, as LangGraph's own tutorial builds it."""
    model = chat.bind_tools(TOOLS)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


def kinds(messages: list[Any]) -> list[str]:
    return [message.type for message in messages]


@pytest.mark.parametrize("build", [react_graph, lambda chat: create_agent(chat, TOOLS)])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_an_agent_with_two_tools(build: Any, asynchronous: bool, version: str) -> None:
    llama = ScriptedLlama(*SCRIPT)
    agent = build(ChatLlamaCpp(llama=llama, output_version=version))
    state = asyncio.run(agent.ainvoke(QUESTION)) if asynchronous else agent.invoke(QUESTION)
    assert kinds(state["messages"]) == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert state["messages"][2].content == "-3"
    assert float(state["messages"][4].content) == 26.6
    assert "26.6" in state["messages"][-1].text
    assert len(llama.calls) == 3


def test_streaming_an_agents_tokens() -> None:
    agent = create_agent(ChatLlamaCpp(llama=ScriptedLlama(*SCRIPT)), TOOLS)
    pieces = [
        chunk.text
        for chunk, _ in agent.stream(QUESTION, stream_mode="messages")
        if isinstance(chunk, AIMessage)
    ]
    assert "".join(pieces) == "Let me look.It is 26.6 degrees Fahrenheit in Oslo."
    assert len(pieces) > 8


def test_a_conversation_with_memory() -> None:
    llama = ScriptedLlama("first", "second")
    agent = create_agent(ChatLlamaCpp(llama=llama), [], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [HumanMessage("one")]}, config)
    agent.invoke({"messages": [HumanMessage("two")]}, config)
    assert [message["content"] for message in llama.calls[1][1]] == ["one", "first", "two"]


def test_tools_and_a_final_schema_in_one_request() -> None:
    report = json.dumps({"city": "Oslo", "fahrenheit": 27})
    llama = ScriptedLlama(*SCRIPT[:2], report)
    agent = create_agent(ChatLlamaCpp(llama=llama), TOOLS, response_format=ProviderStrategy(Report))
    state = agent.invoke(QUESTION)
    assert state["structured_response"] == Report(city="Oslo", fahrenheit=27)
    for _, _, params in llama.calls:
        assert len(params["tools"]) == 2
        assert params["response_format"]["type"] == "json_schema"


def test_tool_strategy() -> None:
    final = Answer(tool_calls=[("Report", {"city": "Oslo", "fahrenheit": 27})])
    llama = ScriptedLlama(*SCRIPT[:2], final)
    agent = create_agent(ChatLlamaCpp(llama=llama), TOOLS, response_format=ToolStrategy(Report))
    assert agent.invoke(QUESTION)["structured_response"] == Report(city="Oslo", fahrenheit=27)
    assert llama.calls[0][2]["tool_choice"] == "required"


def test_summarising_by_a_fraction_of_the_profile() -> None:
    llama = ScriptedLlama("a summary", "the answer", info=scripted_info(n_ctx=2000))
    chat = ChatLlamaCpp(llama=llama)
    middleware = SummarizationMiddleware(chat, trigger=("fraction", 0.5), keep=("messages", 1))
    agent = create_agent(chat, [], middleware=[middleware])
    history = [HumanMessage("word " * 500), AIMessage("word " * 500), HumanMessage("and now?")]
    state = agent.invoke({"messages": history})
    assert len(llama.calls) == 2
    assert "a summary" in str(llama.calls[1][1][0]["content"])
    assert state["messages"][-1].text == "the answer"


def test_context_editing_with_exact_counts(llm: Llama) -> None:
    chat = ChatLlamaCpp(llama=llm, max_tokens=4)
    agent = create_agent(chat, TOOLS, middleware=[ContextEditingMiddleware(token_count_method="model")])
    assert agent.invoke({"messages": [HumanMessage("Hello")]})["messages"][-1].text


def test_retrying_middleware() -> None:
    llama = ScriptedLlama(GenerationError("once"), "fine")
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0)
    agent = create_agent(ChatLlamaCpp(llama=llama), [], middleware=[retry])
    assert agent.invoke({"messages": [HumanMessage("x")]})["messages"][-1].text == "fine"


# On the real model. Which tool to choose is beyond 135M parameters, so a node forces it; what it writes as
# arguments, and all the machinery around, is real.


def forced_graph(chat: ChatLlamaCpp) -> Any:
    graph = StateGraph(MessagesState)

    def forced(name: str) -> Any:
        model = chat.bind_tools(TOOLS, tool_choice=name, max_tokens=60)
        return lambda state: {"messages": [model.invoke(state["messages"])]}

    graph.add_node("look", forced("temperature_of"))
    graph.add_node("look_tools", ToolNode(TOOLS))
    graph.add_node("convert", forced("to_fahrenheit"))
    graph.add_node("convert_tools", ToolNode(TOOLS))
    graph.add_node("answer", lambda state: {"messages": [chat.invoke(state["messages"])]})
    for one, other in zip(
        [START, "look", "look_tools", "convert", "convert_tools", "answer"],
        ["look", "look_tools", "convert", "convert_tools", "answer", END],
        strict=True,
    ):
        graph.add_edge(one, other)
    return graph.compile()


def test_two_real_tools_on_the_real_model(chat: ChatLlamaCpp) -> None:
    messages = forced_graph(chat).invoke(QUESTION)["messages"]
    assert kinds(messages) == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert [message.name for message in messages if isinstance(message, ToolMessage)] == [
        "temperature_of",
        "to_fahrenheit",
    ]
    assert all(message.status == "success" for message in messages if isinstance(message, ToolMessage))
    assert messages[-1].text


def test_create_agent_on_the_real_model(chat: ChatLlamaCpp) -> None:
    roomy = chat.model_copy(update={"max_tokens": 60})
    agent = create_agent(roomy, [temperature_of], response_format=ToolStrategy(Report))
    state = agent.invoke(
        {"messages": [HumanMessage("Report: it is 80 Fahrenheit in Cairo.")]}, {"recursion_limit": 4}
    )
    first = state["messages"][1]
    assert first.tool_calls[0]["name"] in ("temperature_of", "Report")


def test_an_agent_with_a_schema_is_given_a_tool_for_it() -> None:
    llama = ScriptedLlama(Answer(tool_calls=[("Report", {"city": "Oslo", "fahrenheit": 26})]))
    agent = create_agent(ChatLlamaCpp(llama=llama), [temperature_of], response_format=Report)
    assert agent.invoke({"messages": [HumanMessage("x")]})["structured_response"].city == "Oslo"
    params = llama.calls[0][2]
    assert [tool["function"]["name"] for tool in params["tools"]] == ["temperature_of", "Report"]
    assert params["tool_choice"] == "required"


def test_tools_and_schema_together_on_the_real_model(chat: ChatLlamaCpp) -> None:
    bound = chat.bind_tools(TOOLS, response_format=Report, max_tokens=80)
    answer = bound.invoke("Report: it is 80 Fahrenheit in Cairo.")
    if answer.tool_calls:
        assert answer.tool_calls[0]["name"] in ("temperature_of", "to_fahrenheit")
    else:
        assert Report.model_validate_json(answer.text)


def test_parallel_nodes_on_the_real_model(chat: ChatLlamaCpp) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = StateGraph(MessagesState)
        for name in ("one", "two", "three"):
            graph.add_node(name, lambda _: {"messages": [chat.invoke("Hello")]})
            graph.add_edge(START, name)
            graph.add_edge(name, END)
        messages = graph.compile().invoke({"messages": []})["messages"]
    assert len(messages) == 3
    assert all(message.text for message in messages)
