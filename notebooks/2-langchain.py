# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. LangChain: a chain, tools and an agent
#
# `ChatLlamaCpp` is a LangChain chat model. What works with a hosted model works with it: chains, batches,
# streams, tools, structured output, agents.

# %%
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from llamacpp_core.display import show, stream
from llamacpp_integrations.langchain import ChatLlamaCpp

llm = ChatLlamaCpp(
    model="smollm2-135m-instruct", temperature=0, max_tokens=60, n_ctx=2048
)
[ability for ability, given in llm.profile.items() if given is True]

# %% [markdown]
# ## A chain

# %%
prompt = ChatPromptTemplate.from_messages(
    [
        ("system", "You explain things to children, in one sentence."),
        ("human", "What is {thing}?"),
    ]
)
chain = prompt | llm | StrOutputParser()
chain.invoke({"thing": "a lighthouse"})

# %% [markdown]
# `batch` sends all inputs into one shared batch of the engine, without a thread for each.

# %%
things = ["a clock", "a bee", "bread"]
for thing, answer in zip(
    things, chain.batch([{"thing": thing} for thing in things]), strict=True
):
    print(f"{thing}: {answer}\n")

# %% [markdown]
# A chain streams strings; `display.stream` shows them in place.

# %%
text = stream(chain.stream({"thing": "a book"}))

# %% [markdown]
# ## Tools
#
# A tool is a Python function. With `tool_choice="any"` the model has to call one. The call follows the tool's
# schema on every model, because the engine allows no token that would break it. So even this model, whose
# template knows nothing of tools, makes a valid call.


# %%
@tool
def temperature_of(city: str) -> int:
    """The temperature in a city now, in degrees Celsius."""
    return {"Oslo": -3, "Cairo": 31}.get(city, 12)


message = llm.bind_tools([temperature_of], tool_choice="any").invoke(
    "How cold is it in Oslo?"
)
message.tool_calls

# %% [markdown]
# ## Structured output
#
# `with_structured_output` gives instances of a class. Limits in the class hold while the answer is generated.


# %%
class Person(BaseModel):
    """What a text says about a person."""

    name: str = Field(max_length=30)
    age: int = Field(ge=0, le=120)
    languages: list[str] = Field(max_length=3)


llm.with_structured_output(Person).invoke(
    "Anna Keller, 31, is a baker. She speaks German and Italian."
)

# %% [markdown]
# ## An agent
#
# `create_agent` lets the model call tools until it answers. A model of this size does not call a tool of its
# own accord, so a small middleware forces the first call. With a larger model, leave it out.


# %%
class FirstCallATool(AgentMiddleware):
    """Forces a tool call until there is a result to answer from."""

    def wrap_model_call(self, request, handler):
        """Asks for any tool on the first turn, and for none after it."""
        has_result = any(message.type == "tool" for message in request.messages)
        return handler(request.override(tool_choice="none" if has_result else "any"))


agent = create_agent(
    llm,
    [temperature_of],
    middleware=[FirstCallATool()],
    system_prompt="Answer from the tool's result, in one sentence.",
)
state = agent.invoke({"messages": [("human", "What is the temperature in Cairo?")]})
for message in state["messages"]:
    message.pretty_print()

# %% [markdown]
# ## Where the time went
#
# The timings of each answer are in its `response_metadata`.

# %%
show(llm.invoke("Say hello.").response_metadata["timings"])
llm.close()
