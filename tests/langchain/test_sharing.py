from __future__ import annotations

import copy
import gc
import pickle

import pytest

from llamacpp_core.errors import EngineClosedError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppLLM, LlamaCppRerank

MODEL = "smollm2-135m-instruct"
OPTIONS = {"n_ctx": 256, "n_parallel": 2, "keep_alive": 0}


def test_one_engine_for_the_same_model_and_options() -> None:
    chat = ChatLlamaCpp(model=MODEL, **OPTIONS)
    text = LlamaCppLLM(model=MODEL, temperature=0, max_tokens=2, **OPTIONS)
    rerank = LlamaCppRerank(model=MODEL, **OPTIONS)
    other = ChatLlamaCpp(model=MODEL, n_ctx=128, n_parallel=2, keep_alive=0)
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


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda chat: chat.model_copy()])
def test_copies_share_the_engine(copied: object) -> None:
    chat = ChatLlamaCpp(model=MODEL, max_tokens=2, stop=["q"], **OPTIONS)
    twin = copied(chat)  # type: ignore[operator]
    assert twin.client is chat.client
    assert twin == chat
    if copied is copy.deepcopy:
        assert twin.stop is not chat.stop
    chat.close()
    twin.close()


def test_pickle_by_configuration() -> None:
    chat = ChatLlamaCpp(model=MODEL, temperature=0.3, max_tokens=2, dry_multiplier=0.5, **OPTIONS)
    data = pickle.dumps(chat)
    assert len(data) < 10_000
    twin = pickle.loads(data)
    assert twin.asdict() == chat.asdict()
    assert twin.profile == chat.profile
    assert twin.client is chat.client
    assert twin.invoke("Hello").text
    chat.close()
    twin.close()
