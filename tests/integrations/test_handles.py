"""One behaviour in both frameworks: closing, copying, pickling, freezing and keywords."""

from __future__ import annotations

import copy
import gc
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from fakes import ScriptedLlama
from integrations.kinds import CHATS, KINDS, Kind
from running import RunPython

from llamacpp_core import Llama
from llamacpp_core.errors import EngineClosedError, InvalidParameterError
from llamacpp_core.llama import handle, lingering

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


def is_open(llama: Llama) -> bool:
    try:
        llama.tokenize("x")
    except EngineClosedError:
        return False
    return True


# Closing


@every_kind
def test_a_closed_object_refuses_to_work(kind: Kind) -> None:
    with kind.make(**kind.model) as made:
        assert kind.use(made, "Hello")
        llama = made.client
    assert not is_open(llama)
    made.close()
    with pytest.raises(EngineClosedError, match=f"{kind.make.__name__} was closed"):  # type: ignore[attr-defined]
        kind.use(made, "Hello")


@every_kind
def test_the_model_goes_with_the_last_object_that_uses_it(kind: Kind) -> None:
    first, second = kind.make(**kind.model, keep_alive=0), kind.make(**kind.model, keep_alive=0)
    llama = first.client
    assert second.client is llama
    first.close()
    assert kind.use(second, "Hello")
    del first, second
    gc.collect()
    assert not is_open(llama)


@every_kind
def test_a_given_model_stays_its_owners(kind: Kind) -> None:
    llama = ScriptedLlama()
    made = kind.make(llama=llama)
    twin = copy.copy(made)
    made.close()
    with pytest.raises(EngineClosedError):
        kind.use(made, "Hello")
    assert kind.use(twin, "Hello")
    assert kind.use(kind.make(llama=llama), "Hello")


# Copies

WAYS_TO_COPY: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda made: made.model_copy(),
    "model_copy-deep": lambda made: made.model_copy(deep=True),
    "pickle": lambda made: pickle.loads(pickle.dumps(made)),
}


@every_kind
@pytest.mark.parametrize("way", WAYS_TO_COPY)
def test_a_copy_has_a_share_of_its_own(kind: Kind, way: str) -> None:
    made = kind.make(**kind.model, seed=7)
    twin = WAYS_TO_COPY[way](made)
    assert twin._held.loaded is (way != "pickle")  # that one loads, or shares, on first use
    assert twin._held == made._held
    assert (twin.n_parallel, twin.load_options) == (made.n_parallel, made.load_options)
    llama = made.client
    assert twin.client is llama
    made.close()
    assert kind.use(twin, "Hello")
    assert is_open(llama)
    twin.close()
    assert not is_open(llama)


@every_kind
@pytest.mark.parametrize("way", WAYS_TO_COPY)
def test_a_copy_of_a_closed_object_loads_again(kind: Kind, way: str) -> None:
    made = kind.make(**kind.model)
    made.close()
    with WAYS_TO_COPY[way](made) as twin:
        assert kind.use(twin, "Hello")


@every_kind
def test_a_copy_that_is_loaded_in_another_way(kind: Kind) -> None:
    with kind.make(**kind.model) as made, made.model_copy(update={"n_batch": 128}) as other:
        assert (made.client.info.n_batch, other.client.info.n_batch) == (512, 128)
        assert other.n_parallel == made.n_parallel
        same = made.model_copy(update={kind.number: 3})
        assert (same.client is made.client, getattr(same, kind.number)) == (True, 3)
        same.close()


@every_kind
def test_a_pickle_of_an_object_with_a_given_model(kind: Kind) -> None:
    with Llama(kind.model["model"], n_parallel=2, embedding=True) as llama:
        data = pickle.dumps(kind.make(llama=llama))
    assert len(data) < 10_000
    with pickle.loads(data) as twin:
        assert twin.client.info.path == llama.info.path
        assert twin.client.info.n_parallel == 2
        assert kind.use(twin, "Hello")
    with pytest.raises(TypeError, match="cannot be pickled: give it model="):
        pickle.dumps(kind.make(llama=ScriptedLlama()))


# Fields


@every_kind
@pytest.mark.parametrize("name", ["model", "n_ctx", "n_parallel", "n_batch", "load_options"])
def test_what_loading_decides_is_frozen(kind: Kind, name: str) -> None:
    made = kind.make(llama=ScriptedLlama())
    with pytest.raises(InvalidParameterError, match=f"{name} is frozen") as caught:
        setattr(made, name, {"n_ubatch": 64} if name == "load_options" else "256")
    assert caught.value.parameter == name
    setattr(made, name, getattr(made, name))  # changes nothing
    with pytest.raises(InvalidParameterError, match=r"llama=Llama\(\.\.\.\)") as caught:
        made.model_copy(update={"n_ctx": 512})
    assert caught.value.parameter == "n_ctx"


@every_kind
@pytest.mark.parametrize("value", [-5, "many"])
def test_other_fields_are_checked_wherever_they_are_set(kind: Kind, value: Any) -> None:
    made = kind.make(llama=ScriptedLlama())
    before = getattr(made, kind.number)
    for setting in (
        lambda: kind.make(llama=ScriptedLlama(), **{kind.number: value}),
        lambda: setattr(made, kind.number, value),
        lambda: made.model_copy(update={kind.number: value}),
    ):
        with pytest.raises(InvalidParameterError, match=kind.number) as caught:
            setting()
        assert caught.value.parameter == kind.number
    assert getattr(made, kind.number) == before
    setattr(made, kind.number, 3)
    assert getattr(made, kind.number) == 3


@every_kind
@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({}, "model"),
        ({"model": "x", "llama": ScriptedLlama()}, "model"),
        ({"model": 3}, "model"),
        ({"llama": "x.gguf"}, "llama"),
        ({"llama": ScriptedLlama(), "n_ctx": 64}, "n_ctx"),
        ({"llama": ScriptedLlama(), "load_options": {"n_ubatch": 64}}, "n_ubatch"),
        ({"llama": ScriptedLlama(), "n_ubatch": 64}, "n_ubatch"),
        ({"model": "x", "n_ctx": 64, "load_options": {"n_ctx": 32}}, "n_ctx"),
        ({"model": "x", "n_ubatch": 64, "load_options": {"n_ubatch": 32}}, "n_ubatch"),
        ({"model": "x", "load_options": 3}, "load_options"),
        ({"model": "x", "model_path": "y"}, "model_path"),
        ({"model": "x", "n_contx": 64}, "n_contx"),
    ],
)
def test_keywords_that_cannot_work(kind: Kind, given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        kind.make(**given)
    assert caught.value.parameter == parameter


@every_kind
def test_paths_and_the_name_of_llama_cpp_python(kind: Kind, smollm2_path: Any, minilm_path: Any) -> None:
    path = smollm2_path if "n_ctx" in kind.model else minilm_path
    options = {name: value for name, value in kind.model.items() if name != "model"}
    with kind.make(model=path, **options) as one, kind.make(model_path=str(path), **options) as two:
        assert one.client is two.client


# Keeping alive


@every_kind
def test_objects_that_are_made_for_each_call_load_once(kind: Kind) -> None:
    models = set()
    for _ in range(3):
        made = kind.make(**differing(kind, 11))
        assert kind.use(made, "Hello")
        models.add(made.client)
        del made
        gc.collect()
    (llama,) = models
    assert is_open(llama)
    kind.make(**differing(kind, 11)).close()  # says that nobody needs it any more
    assert not is_open(llama)


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_a_model_that_nobody_uses_goes_when_its_time_is_over(kind: Kind) -> None:
    made = kind.make(**differing(kind, 12), keep_alive="1s")
    llama = made.client
    del made
    gc.collect()
    until_closed(llama)


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_few_models_stay_without_users(kind: Kind) -> None:
    models = []
    for number in range(20, 20 + lingering.MOST + 2):
        models.append(kind.make(**differing(kind, number), keep_alive=-1).client)
        gc.collect()
    for llama in models[: -lingering.MOST]:
        until_closed(llama)
    assert all(is_open(llama) for llama in models[-lingering.MOST :])
    free_lingering()


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_models_without_users_make_room_for_another(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = kind.make(**differing(kind, 13)).client
    used = kind.make(**differing(kind, 14))
    gc.collect()
    with kind.make(**differing(kind, 15)):
        assert is_open(unused)
    monkeypatch.setattr(lingering, "available_memory", lambda: unused.info.size_bytes)
    with kind.make(**differing(kind, 16)):
        assert not is_open(unused)
    assert is_open(used.client)
    used.close()


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_a_model_that_somebody_closed_is_loaded_again(kind: Kind) -> None:
    kind.make(**differing(kind, 17)).client.close()
    with kind.make(**differing(kind, 17)) as made:
        assert kind.use(made, "Hello")


def test_nothing_is_left_open_at_the_end_of_a_process(run_python: RunPython) -> None:
    code = """
from llamacpp_integrations.langchain import ChatLlamaCpp
def answer(question):
    return ChatLlamaCpp(model="smollm2-135m-instruct", n_ctx=256, max_tokens=2).invoke(question)
answer("Hello"); answer("Hello")
kept = ChatLlamaCpp(model="smollm2-135m-instruct", n_ctx=128)
import os
if (child := os.fork()) == 0: os._exit(0)
print("ended with", os.waitpid(child, 0)[1], answer("Hello").type)
"""
    ended = run_python(code, flags=("-W", "error::ResourceWarning"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended with 0 ai\n", "")


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (None, (None, handle.KEPT)),
        (90, (90, 90)),
        ("90", (90, 90)),
        ("1.5m", (90, 90)),
        ("2h", (7200, 7200)),
        (0, (None, 0)),
        (-1, (None, float("inf"))),
        ("-1m", (None, float("inf"))),
    ],
)
def test_what_keep_alive_means(value: Any, meaning: tuple[float | None, float]) -> None:
    assert handle.read_keep_alive(value) == meaning


@every_kind
def test_an_unused_model_is_freed_and_loaded_again(kind: Kind) -> None:
    with kind.make(**kind.model, keep_alive=1) as made:
        first = made.client
        assert kind.use(made, "Hello")
        until_closed(first)
        assert kind.use(made, "Hello")  # loaded again
        twin = copy.copy(made)
        assert made.client is twin.client is not first
        assert pickle.loads(pickle.dumps(made)).keep_alive == 1
    twin.close()


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_a_busy_model_and_one_that_another_keeps_stay(kind: Kind) -> None:
    with kind.make(**kind.model, keep_alive=1) as made:
        chunks = made.client.create_completion("Once", max_tokens=200, ignore_eos=True, stream=True)
        next(chunks)
        time.sleep(2.5)
        assert is_open(made.client)
        chunks.close()
        with kind.make(**kind.model) as other:
            llama = other.client
            time.sleep(2.5)
            assert is_open(llama)
        until_closed(llama)


@every_kind
@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), "5 parsecs", "", "0.2s", True, [5]])
def test_keep_alive_is_checked(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError, match="keep_alive"):
        kind.make(**kind.model, keep_alive=value)


@every_kind
def test_a_given_model_is_not_ours_to_free(kind: Kind) -> None:
    with pytest.raises(InvalidParameterError, match="keep_alive"):
        kind.make(llama=ScriptedLlama(), keep_alive=5)


def differing(kind: Kind, number: int) -> dict[str, Any]:
    """A way to load the model that no other test has."""
    return {**kind.model, "n_batch": 64 + 2 * number}


def until_closed(llama: Llama) -> None:
    deadline = time.monotonic() + 30
    while is_open(llama):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_lingering() -> None:
    """Frees all models without users, as the end of the process does."""
    lingering._free_all()
