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
# # 4. Structured output and forced tools on a tiny model
#
# Ask a model for JSON, and it gives you something like JSON. Give the engine a schema, and the model can
# write nothing else: after each token, the tokens that would break the schema are taken away. This notebook
# asks one tiny model both ways and counts.

# %%
import json

from llamacpp_core import Llama
from llamacpp_core.display import show

llm = Llama("smollm2-135m-instruct", n_ctx=2048)

TEXTS = [
    "Anna Keller, 31, is a baker from Vienna. She speaks German and Italian.",
    "Tom Reed is 54. He drives a bus in Leeds and speaks English.",
    "Mei Tanaka, a 27-year-old nurse, speaks Japanese, English and some French.",
    "At 63, Paul Novak still repairs clocks in Brno. He speaks Czech and Polish.",
]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "job": {"enum": ["baker", "driver", "nurse", "clockmaker", "other"]},
        "languages": {
            "type": "array",
            "items": {"type": "string", "maxLength": 12},
            "maxItems": 4,
        },
    },
    "required": ["name", "age", "job", "languages"],
    "additionalProperties": False,
}
PROMPT = "{}\n\nGive the name, age, job and languages of this person as a JSON object."


def ask(text, **constraint):
    """One answer about a text."""
    question = {"role": "user", "content": PROMPT.format(text)}
    answer = llm.create_chat_completion(
        [question], temperature=0, max_tokens=90, **constraint
    )
    return answer["choices"][0]["message"]["content"]


# %% [markdown]
# ## The same question, free and with a schema

# %%
format_ = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
free = [ask(text) for text in TEXTS]
bound = [ask(text, response_format=format_) for text in TEXTS]
print("free:\n" + free[0] + "\n\nwith the schema:\n" + bound[0])

# %% [markdown]
# ## Which answers can a program use?


# %%
def verdict(answer):
    """What a program that needs SCHEMA makes of an answer."""
    try:
        data = json.loads(answer)
    except ValueError:
        return "not JSON"
    properties = SCHEMA["properties"]
    if not isinstance(data, dict) or set(data) != set(properties):
        return "other fields"
    if data["job"] not in properties["job"]["enum"] or not isinstance(data["age"], int):
        return "other values"
    return "usable"


print(f"{'text':<24} {'free':<14} with the schema")
for text, before, after in zip(TEXTS, free, bound, strict=True):
    print(f"{text[:22] + '…':<24} {verdict(before):<14} {verdict(after)}")

# %% [markdown]
# The schema gives the form, not the truth: check what a small model says.

# %%
for answer in bound:
    print(answer)

# %% [markdown]
# ## A forced tool call
#
# The model's template has no place for tools. First "auto": it is told about them and may answer as it
# likes. Then "required": the answer is a call.

# %%
tools = [
    {
        "type": "function",
        "function": {
            "name": "book_table",
            "description": "Book a table in a restaurant.",
            "parameters": {
                "type": "object",
                "properties": {
                    "people": {"type": "integer", "minimum": 1, "maximum": 12},
                    "day": {
                        "enum": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
                    },
                },
                "required": ["people", "day"],
            },
        },
    }
]
request = [{"role": "user", "content": "A table for four on Friday, please."}]


def call(choice):
    """The message that answers the request."""
    answer = llm.create_chat_completion(
        request, tools=tools, tool_choice=choice, temperature=0, max_tokens=60
    )
    return answer["choices"][0]["message"]


show(call("auto"))

# %%
show(call("required"))

# %% [markdown]
# ## A grammar of your own
#
# What no schema says, a grammar in llama.cpp's GBNF notation does.

# %%
grammar = """
root   ::= colour ", " colour " and " colour
colour ::= "black" | "blue" | "green" | "orange" | "red" | "white" | "yellow"
"""
answer = llm.create_chat_completion(
    [{"role": "user", "content": "Which three colours does the flag of France have?"}],
    grammar=grammar,
    temperature=0,
    max_tokens=16,
)
answer["choices"][0]["message"]["content"]

# %% [markdown]
# ## What cannot be enforced is refused
#
# A keyword that the engine cannot hold to is an error that names its place, not a promise broken in silence.

# %%
from llamacpp_core import GrammarError

bad = {"type": "object", "properties": {"n": {"type": "array", "uniqueItems": True}}}
try:
    ask(
        TEXTS[0],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "bad", "schema": bad},
        },
    )
except GrammarError as error:
    print(error)

# %%
llm.close()
