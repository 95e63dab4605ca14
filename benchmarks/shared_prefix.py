"""Many requests that begin alike and arrive together: how often is the beginning computed?

    make bench-tools
    .venv/bin/python benchmarks/shared_prefix.py
    .venv/bin/python benchmarks/shared_prefix.py --rows langchain --openai PYTHON

Rows, by their names for ``--rows``:

``engine``       8 and 32 requests with the same system prompt of 1,500 tokens, arriving together, against one
                 such request: how many times as long they take. Nothing shared would be 8 and 32.
``langchain``    ``.batch()`` of 16 over a template with a preamble of 1,000 tokens, against ChatOpenAI on
                 llama-server (``--openai`` names a Python with langchain-openai)
``llama-index``  the same question put to 8 chunks with a preamble of 1,000 tokens, with ``use_async`` against
                 one after another

No beginning comes twice, so nothing is found that an earlier round has left.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from _pairs import Row, arguments, chosen, compare, find_tool, in_turn, report
from _passages import passages, preamble
from _peers import Worker, chat_file

from llamacpp_core import Llama

CHATS = Path(__file__).with_name("_chats.py")
SEEDS = itertools.count(1)
#: Words for about that many tokens of such text with the small chat model, whose digits are tokens.
TOKENS_PER_WORD = 1.42


def fresh_preamble(n_tokens: int) -> str:
    """A beginning of about that many tokens that nobody has seen."""
    return preamble(int(n_tokens / TOKENS_PER_WORD), next(SEEDS))


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# The engine


def together(llm: Llama, n: int, n_tokens: int, n_gen: int) -> float:
    """Seconds for that many requests with one fresh system prompt that arrive together."""
    system = fresh_preamble(n_tokens)
    questions = [passage.question for passage in passages(n)]
    failed: list[BaseException] = []

    def ask(question: str) -> None:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        try:
            llm.create_chat_completion(messages, max_tokens=n_gen, temperature=0, ignore_eos=True)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - start


def engine(args: Any) -> dict[str, Row]:
    """Several against one, in seconds; the ratio says how many times as long."""
    rows = {}
    for n in args.sizes:
        with Llama(args.model, n_ctx=2048, n_parallel=n, n_threads=args.threads) as llm:
            together(llm, 1, 64, 2)
            got = in_turn(
                {
                    "many": partial(together, llm, n, args.prefix, args.max_tokens),
                    "one": partial(together, llm, 1, args.prefix, args.max_tokens),
                },
                args.pairs,
            )
        rows[f"{n} requests / 1, s (times as long)"] = compare(got["many"], got["one"])
    return rows


# LangChain


def langchain(args: Any) -> dict[str, Row]:
    """Batches a minute; alone, ours against ours one after another."""
    path, threads = chat_file(args.model, args.threads)
    settings = json.dumps(
        {
            "chat": path,
            "n_ctx": 2048,
            "n_parallel": args.parallel,
            "n_threads": threads,
            "max_tokens": args.max_tokens,
            "llama_server": str(args.llama_server or (find_tool("llama-server") if args.openai else "")),
        }
    )

    def prompts() -> list[Any]:
        system = fresh_preamble(1000)
        return [[["system", system], ["user", passage.question]] for passage in passages(args.batch)]

    def batch(worker: Worker) -> float:
        return 60 / float(worker.call("batch", prompts=prompts()))

    def one_by_one(worker: Worker) -> float:
        return 60 / sum(worker.call("batch", prompts=[prompt]) for prompt in prompts())

    with ExitStack() as stack:
        ours = stack.enter_context(Worker("ours", sys.executable, CHATS, "ours", settings))
        sides: dict[str, Callable[[], float]] = {"ours": partial(batch, ours)}
        if args.openai:
            name = "ChatOpenAI on llama-server"
            peer = stack.enter_context(Worker(name, args.openai, CHATS, "openai", settings))
            sides[name] = partial(batch, peer)
        else:
            name = "ours one by one"
            sides[name] = partial(one_by_one, ours)
        got = in_turn(sides, args.pairs)
    return {
        f"batch of {args.batch}, 1,000 tokens shared, batches/min / {name}": compare(got["ours"], got[name])
    }


# LlamaIndex


def llama_index(args: Any) -> dict[str, Row]:
    """One question to 8 chunks: all at once against one after another; above 1, at once is faster."""
    from llama_index.core import PromptTemplate
    from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer

    from llamacpp_integrations.llama_index import LlamaCpp, configure_settings

    with Llama(args.model, n_ctx=2048, n_parallel=8, n_threads=args.threads) as llama:
        llm = LlamaCpp(
            llama=llama, temperature=0, max_tokens=args.max_tokens, additional_kwargs={"ignore_eos": True}
        )
        configure_settings(llm, None)
        chunks = [passage.text for passage in passages(8)]

        def ask(use_async: bool) -> float:
            template = fresh_preamble(1000) + "\n\n{context_str}\n\nQuestion: {query_str}\nAnswer:"
            synthesizer = get_response_synthesizer(
                llm=llm,
                response_mode=ResponseMode.ACCUMULATE,
                use_async=use_async,
                text_qa_template=PromptTemplate(template),
            )
            return seconds(lambda: synthesizer.get_response("What happened here, and when?", chunks))

        got = in_turn({"async": partial(ask, True), "in turn": partial(ask, False)}, args.pairs)
    row = compare(got["async"], got["in turn"], seconds=True)
    return {"LlamaIndex use_async, 8 chunks, s / one after another": row}


ROWS: dict[str, Callable[[Any], dict[str, Row]]] = {
    "engine": engine,
    "langchain": langchain,
    "llama-index": llama_index,
}


def main() -> None:
    """Runs the chosen comparisons and prints a table."""
    parser = arguments(__doc__, pairs=3)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--sizes", type=int, nargs="*", default=[8, 32], help="engine: requests together")
    parser.add_argument("--prefix", type=int, default=1500, help="engine: tokens of the system prompt, about")
    parser.add_argument("--batch", type=int, default=16, help="langchain: prompts of a batch")
    parser.add_argument("--parallel", type=int, default=8, help="langchain: requests at once, on both sides")
    parser.add_argument("--max-tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--openai", metavar="PYTHON", help="langchain: a Python that has langchain-openai")
    parser.add_argument("--llama-server", type=Path, help="by default the one of make bench-tools")
    args = parser.parse_args()
    rows: dict[str, Row] = {}
    for name in chosen(args.rows, ROWS, "row"):
        rows |= ROWS[name](args)
    report(rows, "", args.json, pairs=args.pairs)


if __name__ == "__main__":
    main()
