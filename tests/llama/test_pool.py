"""``ModelPool``: what is loaded and unloaded when, what waits, and what it counts as memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llamacpp_core import (
    EngineClosedError,
    InvalidParameterError,
    ModelAllocationError,
    ModelLoadError,
    ModelNotFoundError,
    ModelPool,
)
from llamacpp_core.llama.pool import models as pool_models
from llamacpp_core.llama.pool import pool as pool_module

MIB = 2**20


class Pretended:
    """A model that takes what it says, and loads when it is let."""

    loads: list[str]
    closes: list[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        Pretended.loads.append(name)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            Pretended.closes.append(self.name)


class PretendedFootprint:
    """Sizes in MiB: "a:3" is estimated and measured as 3, "a:3:5" is estimated as 3 and measured as 5."""

    gates: dict[str, threading.Event]

    def __init__(self, options: Any) -> None:
        self.name, *sizes = options["model"].split(":")
        self.sizes = [int(size) * MIB for size in sizes]
        self.known: int | None = None

    @property
    def needed(self) -> int:
        assert self.known is not None
        return self.known

    def estimate(self, budget: int | None) -> None:
        self.known = self.known or self.sizes[0]

    def load(self) -> Pretended:
        if self.name in self.gates:
            assert self.gates[self.name].wait(30)
        if self.name == "broken":
            raise ModelLoadError("it is broken")
        self.known = self.sizes[-1]
        return Pretended(self.name)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Pretended.loads, Pretended.closes, PretendedFootprint.gates = [], [], {}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelPool]]:
    monkeypatch.setattr(pool_models, "Footprint", PretendedFootprint)
    monkeypatch.setattr(pool_module, "_PATIENCE", 0.2)
    made: list[ModelPool] = []

    def make(*models: str, budget: int | None = 10, **options: Any) -> ModelPool:
        names = {model.partition(":")[0]: model for model in models}
        budget = None if budget is None else budget * MIB
        made.append(ModelPool(names, budget=budget, **options))
        return made[-1]

    yield make
    for gate in PretendedFootprint.gates.values():
        gate.set()
    for pool in made:
        pool.close()


def loaded(pool: ModelPool) -> set[str]:
    return {name for name, entry in pool.info().items() if entry.loaded}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def touch(pool: ModelPool, name: str) -> None:
    with pool.use(name):
        pass


def test_models_are_loaded_when_used_and_stay(make: Callable[..., ModelPool]) -> None:
    pool = make("a:3", "b:3")
    assert (pool.names, loaded(pool)) == (("a", "b"), set())
    with pool.use("a") as first:
        assert pool.info()["a"].users == 1
    with pool.use("a") as second:
        assert first is second
    info = pool.info()
    assert (Pretended.loads, info["a"].users, info["a"].bytes) == (["a"], 0, 3 * MIB)
    assert info["b"].bytes is None
    assert info["a"].last_used == pytest.approx(time.time(), abs=30)
    assert info["b"].last_used is None


def test_the_longest_unused_go_first_and_no_more_than_needed(make: Callable[..., ModelPool]) -> None:
    pool = make("a:3", "b:3", "c:3", "d:5")
    for name in ("a", "b", "c", "a"):
        touch(pool, name)
    touch(pool, "d")  # 9 of 10 are taken: b and c have to go
    assert loaded(pool) == {"a", "d"}
    assert Pretended.closes == ["b", "c"]


def test_without_a_budget_all_stay(make: Callable[..., ModelPool]) -> None:
    pool = make("a:300", "b:300", budget=None)
    touch(pool, "a")
    touch(pool, "b")
    assert loaded(pool) == {"a", "b"}


def test_a_model_in_use_stays_and_others_wait_for_it(make: Callable[..., ModelPool]) -> None:
    pool = make("a:6", "b:6")
    with ThreadPoolExecutor(1) as threads:
        with pool.use("a") as a:
            waiting = threads.submit(touch, pool, "b")
            until(lambda: pool.info()["b"].users == 1)
            time.sleep(0.05)
            assert (loaded(pool), a.closed) == ({"a"}, False)  # type: ignore[attr-defined]
        waiting.result(30)
    assert loaded(pool) == {"b"}
    assert a.closed  # type: ignore[attr-defined]


def test_waiting_has_an_end(make: Callable[..., ModelPool]) -> None:
    pool = make("a:6", "b:6")
    with pool.use("a"):
        with pytest.raises(ModelAllocationError, match="b: other models"), pool.use("b", timeout=0.05):
            pass
        assert pool.info()["b"].users == 0
    touch(pool, "b")


def test_a_busy_model_takes_nobody_new_when_another_waits_for_long(make: Callable[..., ModelPool]) -> None:
    pool = make("a:6", "b:6")
    order: list[str] = []

    def use(name: str) -> None:
        with pool.use(name):
            order.append(name)

    with ThreadPoolExecutor(2) as threads:
        with pool.use("a"):
            first = threads.submit(use, "b")
            until(lambda: pool.info()["b"].users == 1)
            time.sleep(0.5)  # beyond its patience
            with pool.use("a"):  # who holds it gets it again
                pass
            second = threads.submit(use, "a")
            until(lambda: pool.info()["a"].users == 2)
            time.sleep(0.05)
            assert order == []
        first.result(30)
        second.result(30)
    assert order == ["b", "a"]


def test_too_large_for_the_budget(make: Callable[..., ModelPool]) -> None:
    pool = make("a:3", "b:11", "c:3:11")
    touch(pool, "a")
    for _ in range(2):
        for name in ("b", "c"):
            with pytest.raises(ModelAllocationError, match=f"{name} takes 11 MiB, the budget is 10 MiB"):
                touch(pool, name)
    assert loaded(pool) == {"a"}
    assert Pretended.loads == ["a", "c"]  # it is known after the first time


def test_an_estimate_that_was_too_low_costs_others_their_place(make: Callable[..., ModelPool]) -> None:
    pool = make("a:4", "b:4:8")
    touch(pool, "a")
    touch(pool, "b")
    assert loaded(pool) == {"b"}
    assert Pretended.loads == ["a", "b", "b"]


def test_many_users_load_a_model_once(make: Callable[..., ModelPool]) -> None:
    PretendedFootprint.gates["a"] = threading.Event()
    pool = make("a:3", "b:3")
    with ThreadPoolExecutor(8) as threads:
        users = [threads.submit(touch, pool, "a") for _ in range(8)]
        until(lambda: pool.info()["a"].users == 8)
        assert pool.info()["a"].loading
        PretendedFootprint.gates["a"].set()
        for user in users:
            user.result(30)
    assert Pretended.loads == ["a"]


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(make: Callable[..., ModelPool]) -> None:
    pool = make("broken:6", "a:6")
    for _ in range(2):
        with pytest.raises(ModelLoadError):
            touch(pool, "broken")
    touch(pool, "a")
    assert pool.info()["broken"].users == 0


def test_close_while_loading(make: Callable[..., ModelPool]) -> None:
    PretendedFootprint.gates["a"] = threading.Event()
    pool = make("a:3", "b:3")
    with ThreadPoolExecutor(3) as threads:
        users = [threads.submit(touch, pool, name) for name in ("a", "b")]
        until(lambda: pool.info()["a"].loading and pool.info()["b"].users == 1)
        closing = threads.submit(pool.close)
        with pytest.raises(EngineClosedError):
            users[1].result(30)
        assert not closing.done()
        PretendedFootprint.gates["a"].set()
        closing.result(30)
        assert Pretended.closes == Pretended.loads == ["a"]
        with pytest.raises(EngineClosedError):
            users[0].result(30)
    with pytest.raises(EngineClosedError):
        touch(pool, "a")
    pool.close()


def test_close_in_use(make: Callable[..., ModelPool]) -> None:
    pool = make("a:3")
    with pool.use("a") as a:
        pool.close()
        assert a.closed  # type: ignore[attr-defined]
    assert pool.info()["a"].users == 0


def test_unload(make: Callable[..., ModelPool]) -> None:
    pool = make("a:3")
    assert pool.unload("a")
    with pool.use("a"):
        assert not pool.unload("a")
    assert pool.unload("a")
    assert (loaded(pool), Pretended.closes) == (set(), ["a"])
    with pytest.raises(InvalidParameterError, match="unknown model 'aa'"):
        pool.unload("aa")


@pytest.mark.parametrize("keep_alive", [0, 0.1])
def test_keep_alive(make: Callable[..., ModelPool], keep_alive: float) -> None:
    pool = make("a:3", "b:3", keep_alive=keep_alive)
    with pool.use("b"):
        touch(pool, "a")
        until(lambda: Pretended.closes == ["a"])
        assert loaded(pool) == {"b"}
    until(lambda: Pretended.closes == ["a", "b"])
    touch(pool, "a")
    until(lambda: Pretended.closes == ["a", "b", "a"])


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_a_forgotten_pool_is_closed_with_a_warning(make: Callable[..., ModelPool]) -> None:
    pool = ModelPool({"a": "a:3"}, keep_alive=100)
    touch(pool, "a")
    with pytest.warns(ResourceWarning, match="was not closed"):
        del pool
    assert Pretended.closes == ["a"]


def test_a_storm(make: Callable[..., ModelPool]) -> None:
    """Models in use are never closed, and never more are loaded than fit."""
    sizes = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6}
    pool = make(*(f"{name}:{size}" for name, size in sizes.items()), keep_alive=0.01)

    def work(seed: int) -> None:
        for i in range(60):
            name = "abcde"[(seed * 7 + i * i) % 5]
            with pool.use(name) as model:
                time.sleep(0.0005)
                assert model.name == name  # type: ignore[attr-defined]
                assert not model.closed  # type: ignore[attr-defined]
                assert sum(sizes[one] for one in loaded(pool)) <= 10

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, seed) for seed in range(8)]:
            done.result(120)
    pool.close()
    assert sorted(Pretended.loads) == sorted(Pretended.closes)


@pytest.mark.parametrize(
    ("models", "options", "field"),
    [
        ({}, {}, "models"),
        (["a"], {}, "models"),
        ({1: "a"}, {}, "models"),
        ({"a": 1}, {}, "models['a']"),
        ({"a": {"n_ctx": 512}}, {}, "models['a']"),
        ({"a": {"model": "b", "n_context": 512}}, {}, "models['a']"),
        ({"a": {"model": "b", "n_ctx": "many"}}, {}, "models['a']"),
        ({"a": "b"}, {"budget": "8 apples"}, "budget"),
        ({"a": "b"}, {"budget": 0}, "budget"),
        ({"a": "b"}, {"budget": True}, "budget"),
        ({"a": "b"}, {"keep_alive": -1}, "keep_alive"),
        ({"a": "b"}, {"keep_alive": "5m"}, "keep_alive"),
    ],
)
def test_arguments_are_checked(models: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameterError) as raised:
        ModelPool(models, **options)
    assert raised.value.parameter == field


@pytest.mark.parametrize(
    ("budget", "size"),
    [("8GiB", 8 * 2**30), ("500 MB", 500 * 10**6), ("1.5gib", 3 * 2**29), ("7", 7), (9, 9), (None, None)],
)
def test_budgets(budget: Any, size: int | None) -> None:
    assert ModelPool({"a": "b"}, budget=budget).budget == size


def test_no_such_model() -> None:
    with ModelPool({"a": "no-such-model"}) as pool, pytest.raises(ModelNotFoundError):
        touch(pool, "a")
