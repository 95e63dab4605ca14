"""Ray Data on a real cluster: every kind of row, errors of single rows, and a node that dies."""

from __future__ import annotations

import gc
import http.server
import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import ray.data
from models.conftest import Handler, Hub
from ray.cluster_utils import Cluster
from ray.exceptions import RayTaskError

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_integrations.ray import LlamaActor, build_processor

CHAT, EMBEDDER = "smollm2-135m-instruct", "all-minilm-l6-v2"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning"),  # Ray's own, of its own ways
]
SMALL = {"n_ctx": 256}


def by_id(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows), "a row was answered twice"
    return found


def test_chat_answers_as_the_model_does_and_keeps_columns(llm: Llama) -> None:
    texts = ["What is steam?", "Name a city.", "Say hello."]
    rows = [{"id": i, "text": text, "tags": ["a", str(i)]} for i, text in enumerate(texts)]
    processor = build_processor(
        CHAT,
        preprocess=lambda row: {"messages": [{"role": "user", "content": row["text"]}]},
        params={"max_tokens": 8, "temperature": 0},
        engine_kwargs=SMALL,
    )
    found = by_id(processor(ray.data.from_items(rows)).take_all())
    assert len(found) == 3
    for i, text in enumerate(texts):
        messages = [{"role": "user", "content": text}]
        expected = llm.create_chat_completion(messages, max_tokens=8, temperature=0)
        assert found[i]["generated_text"] == expected["choices"][0]["message"]["content"]
        assert found[i]["finish_reason"] == expected["choices"][0]["finish_reason"]
        assert found[i]["completion_tokens"] == expected["usage"]["completion_tokens"]
        assert (found[i]["text"], list(found[i]["tags"])) == (text, ["a", str(i)])
        assert found[i]["error"] is None


def test_bad_rows_are_errors_of_their_own() -> None:
    def request(row: dict[str, Any]) -> Any:
        return {
            0: {"prompt": "Tea is"},
            1: {"prompt": "Tea is", "sampling_params": {"temperature": "hot"}},
            2: {"prompt": "Tea is", "sampling_params": {"max_token": 2}},
            3: {"prompt": 7},
            4: {"sampling_params": {}},
            5: "Tea is",
            6: {"prompt": "Tea is", "sampling_params": "hot"},
            7: {"prompt": "tea " * 400},
        }[row["id"]]

    def shout(row: dict[str, Any]) -> dict[str, Any]:
        assert row["id"] != 5, "I do not like five"
        return {"id": row["id"], "said": row["generated_text"].upper()}

    processor = build_processor(
        CHAT,
        task="completion",
        preprocess=request,
        postprocess=shout,
        params={"max_tokens": 2, "temperature": 0},
        engine_kwargs=SMALL,
    )
    found = by_id(processor(ray.data.range(9)).take_all())
    assert len(found) == 9
    assert found[0]["said"]
    wrong = {
        1: ("InvalidParameterError", "temperature"),
        2: ("InvalidParameterError", "max_token"),
        3: ("InvalidParameterError", "prompt"),
        4: ("InvalidParameterError", "prompt"),
        5: ("AssertionError", None),  # of the postprocess
        6: ("InvalidParameterError", "sampling_params"),
        7: ("ContextOverflowError", "prompt"),
        8: ("KeyError", None),  # of the preprocess
    }
    assert {i: (found[i]["error_type"], found[i]["error_field"]) for i in wrong} == wrong
    assert all(found[i]["error"] for i in wrong)


def test_rows_are_requests_without_a_preprocess(embedder: Llama) -> None:
    rows = [
        {"id": 0, "input": "the moon", "sampling_params": {"normalize": True}},
        {"id": 1, "input": "a boat", "sampling_params": {"normalize": None}},
        {"id": 2, "input": None, "sampling_params": None},
    ]
    found = by_id(build_processor(EMBEDDER, task="embedding")(ray.data.from_items(rows)).take_all())
    expected = embedder.create_embedding(["the moon", "a boat"])["data"]
    for i in (0, 1):
        assert found[i]["embeddings"] == pytest.approx(expected[i]["embedding"], abs=1e-3)
    assert (found[2]["embeddings"], found[2]["error_field"]) == (None, "input")


def test_a_column_that_the_answer_needs_ends_the_work() -> None:
    rows = [{"prompt": "Tea is", "generated_text": "hot"}]
    with pytest.raises(RayTaskError, match=r"'generated_text'.*rename or drop it"):
        build_processor(CHAT, task="completion", engine_kwargs=SMALL)(ray.data.from_items(rows)).take_all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "translation"),
        ("num_cpus", 0),
        ("num_gpus", -1),
        ("concurrency", 0),
        ("concurrency", (4, 2)),
        ("concurrency", (1, 8, 9)),
        ("concurrency", (1,)),
        ("concurrency", "many"),
        ("batch_size", 0),
        ("preprocess", "text"),
        ("postprocess", 1),
        ("params", [1]),
        ("engine_kwargs", "n_ctx"),
        ("ray_remote_args", 2),
    ],
)
def test_arguments_are_checked_before_anything_runs(field: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        build_processor(CHAT, **{field: value})
    assert caught.value.parameter == field


def test_reranking() -> None:
    rows = [{"id": 0, "query": "How hot is the Sun?", "documents": ["Boats float.", "The Sun is hot."]}]
    processor = build_processor(EMBEDDER, task="rerank", params={"top_n": 1})
    (row,) = processor(ray.data.from_items(rows)).take_all()
    assert [entry["index"] for entry in json.loads(row["ranking"])] == [1]


def test_actors_of_a_node_fetch_a_model_once(smollm2_path: Path, tmp_path: Path) -> None:
    hub = Hub()
    hub.add("owner/real", {"real.gguf": smollm2_path})
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}
        here = ray.remote(LlamaActor).options(num_cpus=0.5, runtime_env={"env_vars": environment})
        table = pyarrow.table({"prompt": ["Tea is"]})
        loading = {"task": "completion", "params": {"max_tokens": 1}, "engine_kwargs": SMALL}
        actors = [here.remote("hf:owner/real:real.gguf", **loading) for _ in range(2)]
        answers = ray.get([actor.__call__.remote(table) for actor in actors])
        server.shutdown()
    assert all(answer["error"].to_pylist() == [None] for answer in answers)
    assert sum(request.startswith("GET owner/real/resolve") for request in hub.requests) == 1


def test_a_node_is_killed_in_the_middle_and_every_row_is_answered_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The node dies while its actor is in the middle of a block, of which some rows are answered already.

    The garbage collector comes by, too: nothing in Ray or asyncio keeps the blocks that wait for answers.
    """
    (doomed,) = cluster.worker_nodes
    log = tmp_path / "begun"

    def request(row: dict[str, Any]) -> str:
        gc.collect()
        node = ray.get_runtime_context().get_node_id()
        with log.open("a") as file:
            file.write(f"{node} {row['id']}\n")
        return f"The number {row['id']} is"

    def kill() -> None:
        deadline = time.monotonic() + 240
        while not (log.exists() and log.read_text().count(doomed.node_id) > 8):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        cluster.remove_node(doomed, allow_graceful=False)

    processor = build_processor(
        CHAT,
        task="completion",
        preprocess=request,
        params={"max_tokens": 16, "temperature": 1.5},  # other answers when they are computed again
        engine_kwargs={"n_ctx": 128, "n_parallel": 2},
        concurrency=2,
        batch_size=4,
    )
    killer = threading.Thread(target=kill)
    killer.start()
    rows = list(processor(ray.data.range(64)).iter_rows())
    killer.join()
    assert sorted(row["id"] for row in rows) == list(range(64))
    assert all(row["error"] is None and row["finish_reason"] for row in rows)
    begun = [line.split() for line in log.read_text().splitlines()]
    assert len({node for node, _ in begun}) == 2, "both nodes worked"
    assert len(begun) > 64, "the node had unanswered rows when it died"
    assert doomed not in cluster.worker_nodes
