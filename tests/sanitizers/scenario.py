"""What the engine does in a day, in a minute: every kind of request, errors, and a storm of cancellations.

``run.py`` starts it on a module that was compiled with a sanitizer. It can also run on the usual one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"
STORM = 48
FORKS = 6

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
MESSAGES = [{"role": "user", "content": "What is 1 + 2? <|im_end|>"}]


def use_build(folder: Path) -> None:
    """Takes the extension modules from this folder, wherever the package itself comes from."""
    for name in ("llamacpp_core.native._cpu", "llamacpp_core.native._native"):
        path = next(folder.glob(f"{name.rpartition('.')[2]}.*so"))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module


def step(name: str) -> None:
    print(f"scenario: {name}", flush=True)


def requests(llm: Any) -> None:
    """One of each kind."""
    step("completion")
    llm("Once upon a time", max_tokens=4, logprobs=2)
    list(llm.create_completion("One, two,", max_tokens=4, stream=True, n=2, seed=1))
    step("chat, tools and schemas")
    llm.create_chat_completion(MESSAGES, max_tokens=4, top_logprobs=2, logprobs=True)
    llm.create_chat_completion(MESSAGES, tools=[TOOL], tool_choice="required", max_tokens=48)
    list(llm.create_chat_completion(MESSAGES, tools=[TOOL], max_tokens=8, stream=True))
    llm.create_chat_completion(MESSAGES, max_tokens=8, response_format={"type": "json_object"})
    step("a sampler in Python")
    llm("The sky is", max_tokens=3, logits_processor=lambda ids, scores: scores)
    step("state")
    state = llm.save_state()
    llm.load_state(state)


def errors(llm: Any) -> None:
    """What has to come back as an exception."""
    step("errors")
    from llamacpp_core import Llama, LlamaCppError

    bad: list[Any] = [
        lambda: llm("word " * 2000, max_tokens=1),
        lambda: llm("x", grammar="root ::= nowhere"),
        lambda: llm.create_chat_completion([{"role": "user"}]),
        lambda: llm.create_chat_completion(
            MESSAGES, response_format={"type": "json_schema", "json_schema": {"schema": {"type": "what"}}}
        ),
        lambda: Llama("/nowhere/model.gguf"),
        lambda: Llama(CHAT_MODEL, n_ctx=64, chat_template="{% for %}"),
    ]
    for call in bad:
        try:
            call()
        except LlamaCppError:
            continue
        raise AssertionError("no error")


def embeddings(n_threads: int) -> None:
    """An encoder, its vectors and its scores."""
    step("embeddings")
    from llamacpp_core import Llama

    with Llama(EMBEDDING_MODEL, n_threads=n_threads) as llm:
        llm.embed(["a", "b", "the cat sat on the mat"])
        llm.rerank("cat", ["a cat", "a dog"])


def lowlevel(path: str, n_threads: int) -> None:
    """A loop of one's own."""
    step("lowlevel")
    from llamacpp_core.lowlevel import Model, Sampler

    with (
        Model(path) as model,
        model.create_context(n_ctx=64, n_threads=n_threads) as context,
        Sampler(model).top_k(40).temp(0.8).dist(seed=1) as sampler,
    ):
        tokens = model.tokenize("One, two,")
        for _ in range(3):
            context.decode(tokens)
            tokens = [sampler.sample(context)]


def storm(llm: Any) -> None:
    """Streams that are dropped, closed and cancelled at random moments, from threads and from coroutines."""
    step("storm")
    chance = random.Random(7)
    places = [chance.randrange(4) for _ in range(STORM)]

    def drop(place: int) -> None:
        stream = llm.create_chat_completion(MESSAGES, tools=[TOOL], max_tokens=8, stream=True)
        for i, _ in enumerate(stream):
            if i == place:
                break
        stream.close()

    async def cancel(place: int) -> None:
        task = asyncio.ensure_future(llm.acreate_completion("Once upon a time", max_tokens=64, seed=place))
        await asyncio.sleep(place / 50)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def cancel_all() -> None:
        await asyncio.gather(*(cancel(place) for place in places))

    with ThreadPoolExecutor(8) as pool:
        dropped = [pool.submit(drop, place) for place in places]
        asyncio.run(cancel_all())
        for one in dropped:
            one.result()
    assert llm("The capital of France is", max_tokens=1, temperature=0)["choices"]


def shared_beginning(llm: Any) -> None:
    """Requests whose prompts begin alike: cells are copied, read in one place for all, and written over."""
    step("a shared beginning")
    beginning = (
        "A list of the things that one needs for a long walk in the hills, written down with care: " * 16
    )
    assert len(llm.tokenize(beginning.encode())) >= 300

    def ask(number: int) -> Any:
        return llm(f"{beginning}{number}", max_tokens=4 + number, temperature=0, ignore_eos=True)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            for answer in pool.map(ask, range(6)):
                assert answer["usage"]["completion_tokens"] >= 4
            llm("Something else, which takes the place of one of them.", max_tokens=2)
        streams = [llm(f"{beginning}{i}", max_tokens=30, stream=True) for i in range(4)]
        for stream in streams:  # one after the other leaves, and what the others read of it stays
            next(stream)
            stream.close()


def adapters(llm: Any, folder: Path) -> None:
    """LoRA adapters that come and go beside requests with and without them."""
    step("adapters")
    from llamacpp_core import InvalidParameterError

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from adapter_files import write_adapter

    paths = [write_adapter(folder / f"adapter{i}.gguf", i) for i in range(2)]
    stop = threading.Event()

    def ask(worker: int) -> int:
        done = 0
        while not stop.is_set():
            lora = {"lora": f"adapter{worker % 2}"} if worker else {}
            with contextlib.suppress(InvalidParameterError):  # it is not there just now
                llm(f"The capital of country {done % 3} is", max_tokens=4, temperature=0, **lora)
                done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, worker) for worker in range(4)]
        try:
            for i in range(12):
                llm.load_lora(paths[i % 2])
                running = llm("Once upon a time", max_tokens=20, stream=True, lora=f"adapter{i % 2}")
                next(running)
                llm.unload_lora(f"adapter{i % 2}")
                if i % 3:
                    list(running)
                else:
                    running.close()
        finally:
            stop.set()
        assert sum(one.result() for one in asking) > 0
    llm.load_lora(paths[0])
    llm("The sky is", max_tokens=3, lora="adapter0", logits_processor=lambda ids, scores: scores)
    llm("The sky is", max_tokens=60, lora="adapter0", stream=True)  # the model is closed in the middle


def close_in_flight(options: dict[str, Any]) -> None:
    """Closing a model that is working, from another thread."""
    step("close in flight")
    from llamacpp_core import Llama, LlamaCppError

    llm = Llama(CHAT_MODEL, **options)

    def ask() -> None:
        with contextlib.suppress(LlamaCppError):
            llm("Once upon a time", max_tokens=200)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    llm.close()
    for thread in threads:
        thread.join()


def several_models(options: dict[str, Any]) -> None:
    """Two encoders and a chat model at once: packed weights, and pools of threads that go round."""
    step("several models")
    from llamacpp_core import Llama

    texts = [f"text number {i}, " + "of some length " * (i % 5) for i in range(16)]
    n_threads = options["n_threads"]
    with (
        Llama(EMBEDDING_MODEL, n_threads=n_threads) as exact,
        Llama(EMBEDDING_MODEL, n_threads=n_threads, precision="fast") as fast,
        Llama(CHAT_MODEL, **options) as llm,
    ):
        expected = exact.embed(texts)

        def embed(worker: int) -> None:
            for _ in range(4):
                found = (exact, fast)[worker % 2].embed(texts)
                for a, b in zip(expected, found, strict=True):
                    assert sum(x * y for x, y in zip(a, b, strict=True)) > 0.99

        def ask(worker: int) -> None:
            for i in range(3):
                llm(f"Once upon a time, {worker} or {i}", max_tokens=6)

        def load(_: int) -> None:
            with Llama(EMBEDDING_MODEL, n_threads=n_threads) as passing:
                passing.embed(texts[:2])

        with ThreadPoolExecutor(8) as pool:
            for one in [pool.submit(task, worker) for worker in range(4) for task in (embed, ask, load)]:
                one.result()


def forks(options: dict[str, Any]) -> None:
    """Children that are forked while models load, embed and answer; each uses models of its own."""
    step("forks")
    from llamacpp_core import ForkedProcessError, Llama

    stop = threading.Event()

    def work(model: str) -> None:
        while not stop.is_set():
            with Llama(model, **options) as passing:
                passing.embed("a") if model == EMBEDDING_MODEL else passing("One, two,", max_tokens=2)

    def child(llm: Any) -> int:
        try:
            llm("a", max_tokens=1)
            return 2
        except ForkedProcessError:
            pass
        with Llama(EMBEDDING_MODEL, **options) as own:
            own.embed(["a", "b c"])
        with Llama(CHAT_MODEL, **options) as own:
            own("a", max_tokens=2)
        return 0

    with Llama(CHAT_MODEL, **options) as llm, ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work, model) for model in (CHAT_MODEL, EMBEDDING_MODEL)]
        try:
            for _ in range(FORKS):
                time.sleep(0.2)
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        code = child(llm)
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        sys.stderr.flush()
                        os._exit(code)
                _, status = os.waitpid(pid, 0)
                assert status == 0, f"a child ended with {os.waitstatus_to_exitcode(status)}"
        finally:
            stop.set()
        for one in working:
            one.result()


def main() -> None:
    """Runs everything. Arguments: the folder of the modules, the threads of each model."""
    if len(sys.argv) > 1:
        use_build(Path(sys.argv[1]))
    n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    from llamacpp_core import Llama

    options = {"n_ctx": 512, "n_parallel": 4, "n_threads": n_threads}
    with Llama(CHAT_MODEL, **options) as llm:
        requests(llm)
        errors(llm)
        storm(llm)
        shared_beginning(llm)
        with tempfile.TemporaryDirectory() as folder:
            adapters(llm, Path(folder))
        path = llm.info.path
    embeddings(n_threads)
    lowlevel(path, n_threads)
    close_in_flight(options)
    several_models(options)
    if "TSAN_OPTIONS" not in os.environ:  # after a fork it takes a thread that is gone for one of the child's
        forks(options)
    step("done")


if __name__ == "__main__":
    main()
