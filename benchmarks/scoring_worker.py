"""One tool over one part of a file on one core: `python benchmarks/scoring_worker.py TOOL ARGS.json` prints seconds.

`benchmarks/scoring.py` starts it, in the environment of the tool, one process for each core that takes part. A
process reads the whole file and takes every n-th text. The figures of Curate and the libraries are the best of three;
those of datatrove and NeMo Curator are of one pass, which takes them half a minute and more.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import zstandard

Texts = list[str]
FAMILIES = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
ALL = "all"


def read_texts(path: str, megabytes: float) -> Texts:
    """The first texts of a file of JSON lines, up to about so many 10^6 bytes."""
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    size, taken = 0, []
    for text in texts:
        if size > megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def best(function: Callable[[], object], passes: int = 3) -> float:
    """Seconds of the fastest pass."""
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def curate(texts: Texts, models: Mapping[str, str]) -> dict[str, float]:
    """Every row of the table, each from the raw bytes: nothing is shared between two rows."""
    import pyarrow as pa

    from curate.steps.score import SCORERS
    from curate.text.batch import TextBatch

    scorers = {
        "gopher_quality": SCORERS["gopher_quality"](variant="datatrove"),
        "gopher_repetition": SCORERS["gopher_repetition"](variant="datatrove"),
        "c4": SCORERS["c4"](variant="paper", terminal_punctuation=False),
        "fineweb": SCORERS["fineweb"](),
        "nemo_quality": SCORERS["gopher_quality"](variant="nemo"),
        "nemo_repetition": SCORERS["gopher_repetition"](variant="nemo"),
        "own_quality": SCORERS["gopher_quality"](),
        "own_repetition": SCORERS["gopher_repetition"](),
        "lines": SCORERS["lines"](),
        "markup": SCORERS["markup"](),
        "language": SCORERS["language"](model=models["language"]),
        "quality": SCORERS["quality"](model=models["quality"], label="hq"),
        "perplexity": SCORERS["perplexity"](model=models["ngram"]),
        "dsir": SCORERS["dsir"](model=models["dsir"]),
    }
    defaults = ("own_quality", "own_repetition", "c4", "fineweb")
    together = {
        **{name: (name,) for name in scorers},
        "datatrove together": FAMILIES,
        "defaults together": defaults,
        "nemo together": ("nemo_quality", "nemo_repetition", "lines", "markup"),
        "with models": (*defaults, "quality", "perplexity"),
        "every scorer": (*defaults, "lines", "markup", "quality", "perplexity", "dsir", "language"),
    }
    array = pa.array(texts, pa.large_string())

    def run(names: Iterable[str]) -> None:
        batch = TextBatch(array)
        for name in names:
            scorers[name](batch)

    run(scorers)  # compiled and loaded before anything is timed
    return {row: best(lambda names=names: run(names)) for row, names in together.items()}


def libraries(texts: Texts, models: Mapping[str, str]) -> dict[str, float]:
    """`str.split`, fastText's batch predict, and kenlm alone: on texts that are one line or cut into words already."""
    import fasttext
    import kenlm

    from curate.models.ngram.text_form import TextForm
    from curate.text.batch import TextBatch

    lines = [" ".join(text.split()) for text in texts]
    form = TextForm("ccnet_spaced", "punct")
    cut = [" ".join(form.tokens(text)) for text in TextBatch.of(texts).strings()]
    seconds = {"str.split": best(lambda: [text.split() for text in texts])}
    for name, labels in (("quality", 2), ("language", 1)):
        model = fasttext.load_model(models[name])
        seconds[name] = best(lambda model=model, labels=labels: model.predict(lines, k=labels))
    model = kenlm.Model(models["arpa"])
    seconds["perplexity"] = best(lambda: [model.score(text) for text in cut])
    return seconds


def datatrove(texts: Texts, _: Mapping[str, str]) -> dict[str, float]:
    """Its filters, which stop at the first rule that a text fails."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    seconds = {}
    for name, each in filters.items():
        each.filter(Document(text="Hello there. This is it.", id="0"))
        start = time.perf_counter()
        for i, text in enumerate(texts):
            each.filter(Document(text=text, id=str(i)))
        seconds[name] = time.perf_counter() - start
    return {**seconds, "datatrove together": sum(seconds.values())}


def nemo(texts: Texts, _: Mapping[str, str]) -> dict[str, float]:
    """The 28 heuristics of its English recipe, called without the framework around them."""
    from nemo_curator.stages.text.filters.heuristic import repetition as r
    from nemo_curator.stages.text.filters.heuristic import string as s

    groups = {
        "nemo_quality": [
            s.WordCountFilter(),
            s.MeanWordLengthFilter(),
            s.SymbolsToWordsFilter(),
            s.EllipsisFilter(),
            s.BulletsFilter(),
            s.WordsWithoutAlphabetsFilter(),
            s.CommonEnglishWordsFilter(),
        ],
        "nemo_repetition": [
            r.RepeatedLinesFilter(),
            r.RepeatedParagraphsFilter(),
            r.RepeatedLinesByCharFilter(),
            r.RepeatedParagraphsByCharFilter(),
            *(r.RepeatingTopNGramsFilter(n=n) for n in (2, 3, 4)),
            *(r.RepeatingDuplicateNGramsFilter(n=n) for n in range(5, 11)),
        ],
        "nemo others": [
            s.NonAlphaNumericFilter(),
            s.NumbersFilter(),
            s.UrlsFilter(),
            s.WhiteSpaceFilter(),
            s.ParenthesesFilter(),
            s.LongWordFilter(),
            s.BoilerPlateStringFilter(),
            s.PunctuationFilter(),
        ],
    }
    seconds = {}
    for name, filters in groups.items():
        start = time.perf_counter()
        for text in texts:
            for each in filters:
                each.score_document(text)
        seconds[name] = time.perf_counter() - start
    return {**seconds, "nemo together": sum(seconds.values())}


TOOLS = {each.__name__: each for each in (curate, libraries, datatrove, nemo)}


def main() -> None:
    """Run one tool; the arguments are a JSON file, so that nothing needs quoting."""
    tool, arguments = sys.argv[1:3]
    with open(arguments, encoding="utf-8") as stream:
        args = json.load(stream)
    part, parts = int(sys.argv[3]), int(sys.argv[4])
    texts = read_texts(args["path"], args["megabytes"])[part::parts]
    print(json.dumps(TOOLS[tool](texts, args["models"])))


if __name__ == "__main__":
    main()
