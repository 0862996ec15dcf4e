"""One way of asking a language model: `python benchmarks/synthesis_worker.py WAY '{"url": ...}'` prints what it took.

`benchmarks/synthesis.py` starts it, a process for every turn, in the environment of the way. The server is the tests'
loopback server, as a process of its own: `python benchmarks/synthesis_worker.py server '{"latency": 0.05}'`.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

MODEL = "small"
SAMPLING = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 1024}
# In USD a million tokens, of the prompt and of the answer.
PRICES = ("0.15", "0.60")
TEXT = (
    "quiet river lamp teacher garden letter window harbour engine market bridge sailor mountain library painter orchard"
    " clock village kitchen forest captain station violin island blanket doctor meadow tunnel farmer castle journal"
)
WORDS = TEXT.split()
Took = dict[str, float]


def prompts(seed: str, count: int) -> list[str]:
    """Prompts of about 400 bytes, none like another."""
    draw = random.Random(seed)
    return [f"Write about these words ({seed} {i}): {' '.join(draw.choices(WORDS, k=52))}." for i in range(count)]


def server(latency: float) -> None:
    """Serve until killed; three lines of about 100 bytes for every request."""
    from tests.llm.answers import Body, digest
    from tests.llm.server import Server

    def answer(body: Body) -> str:
        draw = random.Random(digest(body))
        return "\n".join(f"{i + 1}. The {' '.join(draw.choices(WORDS, k=13))}." for i in range(3))

    serving = Server(answer=answer, prices={MODEL: PRICES}, latency=latency)
    asyncio.run(serving.run(0, lambda url: print(url, flush=True), asyncio.Event()))


def body_of(prompt: str) -> dict[str, Any]:
    """A request as the endpoint gets it, without the model."""
    return {"messages": [{"role": "user", "content": prompt}], **SAMPLING}


def clocks() -> tuple[float, float]:
    """Seconds, and those of this process and its children on a CPU."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in used)


def since(start: tuple[float, float]) -> Took:
    """What it took from a moment on."""
    seconds, cpu = (now - then for now, then in zip(clocks(), start, strict=True))
    return {"seconds": seconds, "cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


async def flood(one: Callable[[str], Awaitable[object]], asked: Iterable[str], at_once: int) -> None:
    """Ask everything, so many at once."""
    places = asyncio.Semaphore(at_once)

    async def in_turn(prompt: str) -> None:
        async with places:
            await one(prompt)

    await asyncio.gather(*map(in_turn, asked))


async def timed(one: Callable[[str], Awaitable[object]], args: dict[str, Any], at_once: int) -> Took:
    """Five requests a place to open connections and governor, then those that count."""
    first, asked = prompts(f"{args['seed']} warm", 5 * args["in_flight"]), prompts(args["seed"], args["requests"])
    await flood(one, first, at_once)
    start = clocks()
    await flood(one, asked, at_once)
    return since(start)


async def bare_aiohttp(args: dict[str, Any]) -> Took:
    """No client library but aiohttp, and orjson."""
    import aiohttp
    import orjson

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(prompt: str) -> str:
            data = orjson.dumps({"model": MODEL, **body_of(prompt)})
            head = {"Content-Type": "application/json"}
            async with session.post(f"{args['url']}/chat/completions", data=data, headers=head) as response:
                return str(orjson.loads(await response.read())["choices"][0]["message"]["content"])

        return await timed(one, args, args["in_flight"])


async def bare_openai(args: dict[str, Any]) -> Took:
    """The `openai` client, over aiohttp or over its default transport."""
    import openai

    over = openai.DefaultAioHttpClient() if args["transport"] == "aiohttp" else None
    async with openai.AsyncOpenAI(
        base_url=args["url"], api_key="none", max_retries=0, timeout=600, http_client=over
    ) as client:

        async def one(prompt: str) -> str | None:
            answer = await client.chat.completions.create(model=MODEL, **body_of(prompt))
            return answer.choices[0].message.content

        return await timed(one, args, args["in_flight"])


def curate(args: dict[str, Any]) -> Took:
    """Curate: on record and within a budget; as many wait for the governor as in the synthesize step."""
    from curate.generate.access import Access, open_access
    from curate.generate.budget import Cap, Caps
    from curate.generate.endpoints import Endpoint, Endpoints
    from curate.generate.prices import Price
    from curate.generate.request import CHAT, Request

    endpoint = Endpoint(url=args["url"], model=MODEL, in_flight=args["in_flight"])
    caps = Caps(usd=1000, models={MODEL: Cap(usd=900, tokens=10**12)})
    endpoints = Endpoints({"large": endpoint}, caps, {MODEL: Price(150_000, 150_000, 600_000)}, ())

    async def run(access: Access) -> Took:
        async with access.session(f"made/{args['seed']}", ["large"]) as ask:

            async def one(prompt: str) -> str:
                return (await ask(Request("large", MODEL, "", CHAT, body_of(prompt), 0, SAMPLING["max_tokens"]))).text

            return await timed(one, args, 4 * args["in_flight"])

    with open_access(endpoints, args["folder"], replay=False, host="127.0.0.1") as access:
        return asyncio.run(run(access))


async def ledger(args: dict[str, Any]) -> Took:
    """The ledger alone: attempts begun and settled with an answer, so many at once."""
    import orjson

    from curate.generate.ledger import Amount, Attempt, Ledger
    from curate.generate.request import CHAT, Request

    book = Ledger(f"{args['folder']}/{args['seed']}.sqlite")
    response = orjson.dumps({"choices": [{"message": {"content": prompts("answer", 1)[0][:300]}}], "usage": {}})

    async def one(prompt: str) -> None:
        request = Request("large", MODEL, "", CHAT, body_of(prompt), 0, SAMPLING["max_tokens"])
        await book.begin(Attempt(request.key[:24], request.key, MODEL, Amount(1, 1, 1)))
        await book.settle(request.key[:24], "settled", Amount(1, 1, 1), (request, response))

    took = await timed(one, args, args["in_flight"])
    book.close()
    return took


def pipeline(args: dict[str, Any]) -> Took:
    """The last step of a pipeline; what it reads is made before the clock starts."""
    from curate.core.config import parse
    from curate.core.engine import Resources
    from curate.core.engine.local import LocalEngine
    from curate.core.progress import Progress
    from curate.pipeline import Pipeline

    def run(text: str) -> int:
        made = Pipeline.of(parse(text, "benchmark.yaml")).run(
            args["root"], LocalEngine(), Resources(workers=1), Progress("quiet"), replay=args["replay"]
        )
        return list(made.values())[-1].rows

    run(args["before"])
    before = since(clocks())["peak"]
    start = clocks()
    rows = run(args["before"] + args["last"])
    return {**since(start), "before": before, "rows": rows}


def distilabel(args: dict[str, Any]) -> Took:
    """Its OpenAILLM without a pipeline around it: batches as large as may be in flight, one after the other."""
    from distilabel.models import OpenAILLM

    llm = OpenAILLM(
        model=MODEL,
        base_url=args["url"],
        api_key="none",
        generation_kwargs={"max_new_tokens": 1024, "temperature": 0.8, "top_p": 0.95},
    )
    llm.load()

    def ask(asked: Sequence[str]) -> None:
        for start in range(0, len(asked), args["in_flight"]):
            some = asked[start : start + args["in_flight"]]
            found = llm.generate_outputs(inputs=[[{"role": "user", "content": each}] for each in some],
                                         **llm.generation_kwargs)  # fmt: skip
            assert all(each["generations"][0] for each in found)

    ask(prompts(f"{args['seed']} warm", 5 * args["in_flight"]))
    start = clocks()
    ask(prompts(args["seed"], args["requests"]))
    return since(start)


def curator(args: dict[str, Any]) -> Took:
    """Its LLM over a data set, as it is used; its cache folder is new."""
    from bespokelabs import curator as library

    llm = library.LLM(
        model_name=MODEL,
        backend="openai",
        generation_params=SAMPLING,
        backend_params={
            "base_url": args["url"],
            "api_key": "none",
            "max_concurrent_requests": args["in_flight"],
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**10,
        },
    )
    llm(prompts(f"{args['seed']} warm", args["in_flight"]))
    asked = prompts(args["seed"], args["requests"])
    start = clocks()
    found = llm(asked)
    took = since(start)
    data = getattr(found, "dataset", found)
    assert len(data) == len(asked)
    return took


def main() -> None:
    """Run one way; the arguments are JSON."""
    way, args = sys.argv[1], json.loads(sys.argv[2])
    if way == "server":
        server(args["latency"])
        return
    alone: dict[str, Callable[[dict[str, Any]], Took]] = {
        each.__name__: each for each in (curate, pipeline, distilabel, curator)
    }
    at_once = {"aiohttp": bare_aiohttp, "openai": bare_openai, "ledger": ledger}
    took = alone[way](args) if way in alone else asyncio.run(at_once[way](args))
    print(json.dumps(took))


if __name__ == "__main__":
    main()
