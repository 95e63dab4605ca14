"""What is no tool, no output class, no text and no node is refused by name, and so is half a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama
from llama_index.core import Settings
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from scripted_index_llm import CALL, HI, TOOL, Point, add, params, scripted

from llamacpp_core.errors import IncompleteOutputError, InvalidParameterError, ModelError
from llamacpp_integrations.llama_index import (
    LlamaCpp,
    LlamaCppEmbedding,
    LlamaCppRerank,
    configure_settings,
)

# Tools and objects


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        (None, "tools must be a list"),
        (TOOL, "tools must be a list"),
        ((tool for tool in [TOOL]), "tools must be a list"),
        ([add], r"tools\[0\] must be a tool of LlamaIndex, got function"),
        ([TOOL, {"type": "function"}], r"tools\[1\] must be a tool of LlamaIndex, got dict"),
        ([FunctionTool.from_defaults(add, name="my add")], r"tools\[0\]\.function\.name.*'my add'"),
    ],
)
def test_what_is_no_tool(tools: Any, said: str) -> None:
    model, _ = scripted(Answer(tool_calls=[CALL]))
    with pytest.raises(InvalidParameterError, match=said):
        model.predict_and_call(tools, "1+2?")


@pytest.mark.parametrize("name", ["tool_required", "allow_parallel_tool_calls"])
def test_flags_are_true_or_false(name: str) -> None:
    given: Any = {name: "no"}
    with pytest.raises(InvalidParameterError, match=f"{name} must be True or False"):
        scripted("x")[0].chat_with_tools([TOOL], "1+2?", **given)


class Tree(BaseModel):
    """A tree."""

    name: str
    children: list[Tree] = []


def test_a_tool_whose_arguments_refer_to_themselves_keeps_its_schema() -> None:
    model, llama = scripted("x")
    model.chat_with_tools([FunctionTool.from_defaults(print, name="plant", fn_schema=Tree)], "x")
    parameters = params(llama)["tools"][0]["function"]["parameters"]
    assert parameters["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert (parameters["required"], set(parameters["$defs"])) == (["name"], {"Tree"})


def test_a_choice_in_the_form_of_another_provider() -> None:
    model, llama = scripted(Answer(tool_calls=[CALL]))
    model.chat_with_tools([TOOL], "1+2?", tool_choice={"type": "any"})
    assert params(llama)["tool_choice"] == "required"


CUT = Answer(tool_calls=[("add", '{"a": 1, "b": ')], cut=True)


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_call_that_was_cut_off_is_not_made(parallel: bool) -> None:
    model, _ = scripted(CUT)
    given: dict[str, Any] = {"user_msg": "1+2?", "allow_parallel_tool_calls": parallel}
    for run in (
        lambda: model.predict_and_call([TOOL], **given),
        lambda: list(model.stream_chat_with_tools([TOOL], **given)),
        lambda: asyncio.run(model.apredict_and_call([TOOL], **given)),
    ):
        with pytest.raises(IncompleteOutputError, match="a tool call was cut off") as caught:
            await asyncio.to_thread(run)
        assert caught.value.partial == '{"a": 1, "b": '


def test_a_second_call_that_was_cut_off() -> None:
    answer = Answer(tool_calls=[CALL, ("add", '{"a": 1')], cut=True)
    model, _ = scripted(answer)
    with pytest.raises(IncompleteOutputError, match="a tool call was cut off"):
        model.chat(HI, tools=params_of_tools())
    assert model.predict_and_call([TOOL], "1+2?").response == "3"  # one call was allowed, and it is whole


def params_of_tools() -> list[dict[str, Any]]:
    model, llama = scripted("x")
    model.chat_with_tools([TOOL], "x")
    tools: list[dict[str, Any]] = params(llama)["tools"]
    return tools


def test_stop_strings_that_cut_an_object_or_a_call(chat_model: LlamaCpp) -> None:
    model = chat_model.model_copy(update={"stop": [","], "max_tokens": 60})
    with pytest.raises(IncompleteOutputError, match=r"stop: \[','\]") as caught:
        model.structured_predict(Point, PromptTemplate("A point."))
    assert caught.value.partial.startswith("{")
    with pytest.raises(IncompleteOutputError, match="the forced tool call was cut off"):
        model.predict_and_call([TOOL], "1+2?", tool_required=True)


@pytest.mark.parametrize("kind", [dict, None, Point(x=1, y=2), list[Point]])
async def test_output_classes(kind: Any) -> None:
    model, _ = scripted("{}")
    prompt = PromptTemplate("x")
    with pytest.raises(InvalidParameterError, match="output_cls must be a class"):
        model.structured_predict(kind, prompt)
    with pytest.raises(InvalidParameterError, match="output_cls must be a class"):
        await model.astructured_predict(kind, prompt)
    with pytest.raises(InvalidParameterError, match="output_cls must be a class"):
        list(model.stream_structured_predict(kind, prompt))


def test_arguments_of_objects_are_a_dict() -> None:
    given: Any = ["temperature"]
    with pytest.raises(InvalidParameterError, match="llm_kwargs must be a dict"):
        scripted("{}")[0].structured_predict(Point, PromptTemplate("x"), llm_kwargs=given)


# Embedding, reranking, settings


async def test_texts(embed_model: LlamaCppEmbedding) -> None:
    texts: Any = (text for text in ("a", "b"))
    assert len(embed_model.get_text_embedding_batch(texts)) == 2
    texts = iter(["a", "b", "c"])
    assert len(await embed_model.aget_text_embedding_batch(texts)) == 3
    for wrong in ("abc", b"abc", None, 3):
        texts = wrong
        with pytest.raises(InvalidParameterError, match="texts must be a list"):
            embed_model.get_text_embedding_batch(texts)
        with pytest.raises(InvalidParameterError, match="texts must be a list"):
            await embed_model.aget_text_embedding_batch(texts)


@pytest.mark.parametrize("given", [None, 3, b"x", ["x"], TextNode(text="x")])
async def test_texts_that_are_no_text(given: Any) -> None:
    model = LlamaCppEmbedding(llama=ScriptedLlama())
    for call in (model.get_text_embedding, model.get_query_embedding):
        with pytest.raises(InvalidParameterError, match=r"input\[0\] must be a string"):
            call(given)
    with pytest.raises(InvalidParameterError, match=r"input\[1\] must be a string"):
        await model.aget_text_embedding_batch(["a", given])


NODES = [NodeWithScore(node=TextNode(text=text, metadata={"k": "v"}), score=0.5) for text in ("a cat", "b")]


@pytest.mark.parametrize(
    ("nodes", "query", "said"),
    [
        (NODES, "cat", "query_bundle=QueryBundle"),
        (NODES, QueryBundle(3), "query must be a string"),  # type: ignore[arg-type]
        (None, QueryBundle("cat"), "nodes must be a list"),
        ("ab", QueryBundle("cat"), "nodes must be a list"),
        ([NODES[0].node], QueryBundle("cat"), r"nodes\[0\] must be a NodeWithScore"),
    ],
)
async def test_what_cannot_be_ranked(nodes: Any, query: Any, said: str) -> None:
    reranker = LlamaCppRerank(llama=ScriptedLlama())
    with pytest.raises(InvalidParameterError, match=said):
        reranker.postprocess_nodes(nodes, query)
    with pytest.raises(InvalidParameterError, match=said):
        await reranker.apostprocess_nodes(nodes, query)


def test_nodes_that_can_be_read_once() -> None:
    nodes: Any = iter(NODES)
    ranked = LlamaCppRerank(llama=ScriptedLlama(), top_n=2).postprocess_nodes(nodes, query_str="cat")
    assert [one.text for one in ranked] == ["a cat", "b"]


def test_the_earlier_score_is_no_part_of_what_a_model_reads() -> None:
    reranker = LlamaCppRerank(llama=ScriptedLlama(), keep_retrieval_score=True)
    ranked = reranker.postprocess_nodes(NODES, query_str="cat")
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert ranked[0].node.get_content(mode) == NODES[0].node.get_content(mode)
    assert ranked[0].node.metadata == {"k": "v", "retrieval_score": 0.5}
    again = reranker.postprocess_nodes(ranked, query_str="cat")[0].node
    assert again.excluded_llm_metadata_keys == ["retrieval_score"]
    assert NODES[0].node.excluded_llm_metadata_keys == []


def test_settings_stay_as_they_were_after_an_error() -> None:
    before = dict(vars(Settings))
    with pytest.raises(ModelError):
        configure_settings(LlamaCpp(llama=ScriptedLlama()), "nowhere.gguf")
    assert dict(vars(Settings)) == before
    wrong: Any = ScriptedLlama()
    with pytest.raises(InvalidParameterError, match="goes into llama="):
        configure_settings(wrong, None)
