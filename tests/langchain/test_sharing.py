from __future__ import annotations

import copy
import gc
import pickle

import pytest
from fakes import ScriptedLlama

from llamacpp_core.errors import EngineClosedError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings, LlamaCppLLM, LlamaCppRerank

MODEL = "smollm2-135m-instruct"
OPTIONS = {"n_ctx": 256, "n_parallel": 2}


def test_one_engine_for_the_same_model_and_options() -> None:
    chat = ChatLlamaCpp(model=MODEL, **OPTIONS)
    text = LlamaCppLLM(model=MODEL, temperature=0, max_tokens=2, **OPTIONS)
    rerank = LlamaCppRerank(model=MODEL, **OPTIONS)
    other = ChatLlamaCpp(model=MODEL, n_ctx=128, n_parallel=2)
    assert chat.client is text.client is rerank.client
    assert chat.client is not other.client
    engine, different = chat.client, other.client
    del chat, rerank, other
    gc.collect()
    assert text.invoke("One, two,")
    with pytest.raises(EngineClosedError):
        different("x")
    del text
    gc.collect()
    with pytest.raises(EngineClosedError):
        engine("x")


def test_close_gives_the_share_back_and_a_later_call_loads_again() -> None:
    chat = ChatLlamaCpp(model=MODEL, max_tokens=2, **OPTIONS)
    engine = chat.client
    chat.close()
    chat.close()
    with pytest.raises(EngineClosedError):
        engine("x")
    assert chat.invoke("Hello").text
    assert chat.client is not engine
    chat.close()


def test_a_given_llama_stays_its_owners() -> None:
    llama = ScriptedLlama()
    chat = ChatLlamaCpp(llama=llama)
    chat.close()
    assert chat.client is llama
    assert copy.deepcopy(chat).client is llama
    with pytest.raises(TypeError, match="llama="):
        pickle.dumps(chat)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda chat: chat.model_copy()])
def test_copies_share_the_engine(copied: object) -> None:
    chat = ChatLlamaCpp(model=MODEL, max_tokens=2, stop=["q"], **OPTIONS)
    twin = copied(chat)  # type: ignore[operator]
    assert twin.client is chat.client
    assert twin == chat
    engine = chat.client
    chat.close()
    if copied is copy.deepcopy:
        assert twin.stop is not chat.stop
    del chat, twin
    gc.collect()
    with pytest.raises(EngineClosedError):
        engine("x")


def test_pickle_by_configuration() -> None:
    chat = ChatLlamaCpp(model=MODEL, temperature=0.3, max_tokens=2, dry_multiplier=0.5, **OPTIONS)
    data = pickle.dumps(chat)
    assert len(data) < 10_000
    twin = pickle.loads(data)
    assert twin._lease is None  # loaded, or shared, when it is first used
    assert twin.asdict() == chat.asdict()
    assert twin.profile == chat.profile
    assert twin.client is chat.client
    assert twin.invoke("Hello").text
    chat.close()
    twin.close()


@pytest.mark.parametrize("kind", [LlamaCppEmbeddings, LlamaCppRerank])
def test_pickle_of_the_others(kind: type) -> None:
    made = kind(model="all-minilm-l6-v2")
    twin = pickle.loads(pickle.dumps(made))
    assert twin.client is made.client
    made.close()
    twin.close()


def test_pathlike_and_the_name_of_llama_cpp_python(tmp_path: object, smollm2_path: object) -> None:
    one = ChatLlamaCpp(model=smollm2_path, **OPTIONS)
    two = ChatLlamaCpp(model_path=str(smollm2_path), **OPTIONS)
    assert one.client is two.client
    one.close()
    two.close()
