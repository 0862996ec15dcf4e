"""MB/s of each scorer and of all together, beside the peers on the same file, in one run, on one core and on two.

    python benchmarks/scoring.py [--data ../shared/data] [--megabytes 8]
    python benchmarks/scoring.py --scaling

datatrove and NeMo Curator run in virtual environments of their own (below build/), made on the first call; NeMo
Curator is left out where it does not install. MB are 10^6 bytes of UTF-8. On two cores two processes take half of the
texts each, pinned to a core, and the slower one counts. The tools run one after the other; nothing else should.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from scaling import scaling
from scoring_worker import read_texts

BUILD = Path("build")
WORKER = str(Path(__file__).with_name("scoring_worker.py"))
PEERS = {  # torch first, so that no build of it with CUDA comes along
    "datatrove": [["datatrove[processing]==0.10.1", "spacy==3.8.18", "zstandard"]],
    "nemo": [["torch==2.13.0"], ["nemo-curator==1.4.0", "zstandard"]],
}
ROWS = [  # (heading, Curate's row, the peer, the peer's row)
    ("Gopher quality, as datatrove", "gopher_quality", "datatrove", "gopher_quality"),
    ("Gopher repetition, as datatrove", "gopher_repetition", "datatrove", "gopher_repetition"),
    ("C4", "c4", "datatrove", "c4"),
    ("FineWeb quality", "fineweb", "datatrove", "fineweb"),
    ("**the four together**", "datatrove together", "datatrove", "datatrove together"),
    ("Gopher quality, as NeMo Curator", "nemo_quality", "nemo", "nemo_quality"),
    ("Gopher repetition, as NeMo Curator", "nemo_repetition", "nemo", "nemo_repetition"),
    ("**28 heuristics** (these and lines, mark-up)", "nemo together", "nemo", "nemo together"),
    ("fastText, two labels, bigrams", "quality", "libraries", "quality"),
    ("fastText, 176 languages", "language", "libraries", "language"),
    ("5-gram perplexity (kenlm: words cut before)", "perplexity", "libraries", "perplexity"),
    ("line and paragraph statistics", "lines", "", ""),
    ("code and mark-up shares", "markup", "", ""),
    ("DSIR", "dsir", "", ""),
    ("the four families, Curate's defaults", "defaults together", "", ""),
    ("these with fastText and 5-grams", "with models", "", ""),
    ("every scorer above together", "every scorer", "", ""),
]
NAMES = {"datatrove": "datatrove", "nemo": "NeMo Curator", "libraries": "fastText, kenlm"}


def python_of(tool: str) -> str | None:
    """The interpreter that a tool runs with; None where it cannot be installed."""
    if tool not in PEERS:
        return sys.executable
    folder = BUILD / tool
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for packages in PEERS[tool]:
            command = [str(python), "-m", "pip", "install", "--quiet", *packages]
            if subprocess.run(command).returncode:
                print(f"{tool} does not install here and is left out", file=sys.stderr)
                return None
        done.touch()
    return str(python)


def seconds(python: str, tool: str, arguments: str, cores: int) -> dict[str, float]:
    """Seconds of each row: of the slowest of as many processes as cores."""
    environment = os.environ if tool not in PEERS else {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    running = []
    for part, core in enumerate(sorted(os.sched_getaffinity(0))[:cores]):
        command = ["taskset", "-c", str(core), python, WORKER, tool, arguments, str(part), str(cores)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment))
    found = []
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{tool} failed; run it by hand: {' '.join(map(str, process.args))}")
        found.append(json.loads(out.splitlines()[-1]))
    return {row: max(each[row] for each in found) for row in found[0]}


def models(data: Path) -> dict[str, str]:
    """A classifier by DCLM's settings, a 5-gram model and a DSIR model of the prose in `data`, trained once."""
    folder = BUILD / "bench-models"
    config = folder / "models.yaml"
    if not config.exists():
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(f"""
name: bench-models
steps:
  prose: {{read: {{path: {data}/hq_text.dev.jsonl.zst}}}}
  chat: {{read: {{path: {data}/lowq_webtext_nltk.dev.jsonl.zst}}}}
  classifier: {{train: {{fasttext: {{positive: prose, negative: chat}}}}}}
  lm: {{train: {{ngram: {{from: prose, order: 5}}}}}}
  weights: {{train: {{dsir: {{target: prose, raw: chat}}}}}}
""")
    subprocess.run(
        [sys.executable, "-m", "curate", "run", str(config), "--root", str(folder), "--progress", "quiet"], check=True
    )
    found = {}
    for manifest in sorted(folder.glob("bench-models/*/manifest.json")):
        step = json.loads(manifest.read_text())
        if step["kind"] == "train":
            found[step["step"]] = str((manifest.parent / step["details"]["model"]).resolve())
    arpa = str(Path(found["lm"]).with_suffix(".arpa"))
    language = str((data / "lid.176.ftz").resolve())
    return {
        "quality": found["classifier"],
        "ngram": found["lm"],
        "arpa": arpa,
        "dsir": found["weights"],
        "language": language,
    }


def speed(data: Path, megabytes: float) -> None:
    """Print the table."""
    path = data / "web_wet_trafilatura.dev.jsonl.zst"
    size = sum(len(text.encode()) for text in read_texts(str(path), megabytes)) / 1e6
    arguments = {"path": str(path), "megabytes": megabytes, "models": models(data)}
    found: dict[tuple[str, int], dict[str, float]] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(arguments, file)
        file.flush()
        for tool in ("curate", "libraries", *PEERS):
            if python := python_of(tool):
                for cores in (1, 2):
                    found[tool, cores] = seconds(python, tool, file.name, cores)

    def rate(tool: str, cores: int, row: str) -> float | None:
        took = found.get((tool, cores), {}).get(row)
        return size / took if took else None

    def cell(value: float | None, digits: int = 1) -> str:
        return "" if value is None else f"{value:.{digits if value >= 10 else digits + 1}f}"

    print(f"{size:.1f} MB of web pages, {platform.machine()}, {datetime.date.today()}, load {os.getloadavg()[0]:.1f};")
    print(f"`str.split` on the same texts: {cell(rate('libraries', 1, 'str.split'))} MB/s\n")
    print("| MB/s | Curate, one core | two cores | peer | one core | two cores | ratio |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    for heading, row, peer, theirs in ROWS:
        one, two = rate("curate", 1, row), rate("curate", 2, row)
        other, others = rate(peer, 1, theirs), rate(peer, 2, theirs)
        ratio = (
            "" if one is None or other is None else f"{one / other:.0f}" if one > 10 * other else f"{one / other:.1f}"
        )
        named = NAMES[peer] if other is not None else ""
        print(f"| {heading} | {cell(one)} | {cell(two)} | {named} | {cell(other)} | {cell(others)} | {ratio} |")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of test data")
    parser.add_argument("--megabytes", type=float, default=8, help="how much text to take")
    parser.add_argument("--scaling", action="store_true", help="instead: one against two workers, and memory")
    args = parser.parse_args()
    if args.scaling:
        scaling(args.data, models(args.data))
    else:
        speed(args.data, args.megabytes)


if __name__ == "__main__":
    main()
