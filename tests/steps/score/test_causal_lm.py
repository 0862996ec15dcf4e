from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, strategies

from curate.core.config import model_of, resources, validate
from curate.core.errors import ConfigError, ModelError
from curate.core.fingerprints import Fingerprints
from curate.models.device import threads
from curate.models.lm.batching import LANES, batches, padded
from curate.models.lm.folder import LanguageModel, load_causal_lm
from curate.models.lm.windows import token_losses, windows
from curate.steps.score import step
from curate.steps.score.causal_lm import causal_lm
from curate.text.batch import TextBatch
from tests.pipelines import run_yaml

GOLDEN = "The garden was quiet, and nobody knew that it would be back with the wind."
GOLDEN_LOSS = 4.170959  # the mean of what transformers gives for it, 20 tokens


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


@pytest.fixture(scope="module")
def lm(folder: str) -> LanguageModel:
    return load_causal_lm(folder, device="cpu")


@pytest.fixture(scope="module")
def pages(shared: Path) -> list[str]:
    """Real texts of many lengths, from a few tokens to several contexts of 64."""
    with zstandard.open(shared / "data/cc_clean_misc.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        texts = [orjson.loads(next(stream))["text"] for _ in range(24)]
    return [text[: 10 + 37 * i] for i, text in enumerate(texts)]


def by_hand(lm: LanguageModel, text: str, *, left: int = 0) -> np.ndarray:
    """Each token's loss by transformers itself, the text alone, behind `left` tokens of padding."""
    import torch

    ids = [lm.start, *lm.encode([text])[0].tolist()]
    mask = torch.tensor([[0] * left + [1] * len(ids)])
    with torch.inference_mode(), threads(1):
        logits = lm.model(  # type: ignore[call-arg]
            input_ids=torch.tensor([[4] * left + ids]),
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        ).logits[0, left:]
    logs = torch.log_softmax(logits.double(), -1)
    return np.array([-float(logs[i, token]) for i, token in enumerate(ids[1:])])


def test_golden_row(folder: str) -> None:
    row = {k: v[0].as_py() for k, v in causal_lm(model=folder)(TextBatch.of([GOLDEN])).items()}
    assert row["tokens"] == 20
    assert row["loss"] == pytest.approx(GOLDEN_LOSS, abs=1e-5)
    assert row["perplexity"] == pytest.approx(math.exp(GOLDEN_LOSS), rel=1e-5)
    assert row[""] == pytest.approx(GOLDEN_LOSS * 20 / math.log(2) / len(GOLDEN), abs=1e-5)


def test_the_numbers_are_those_of_transformers_for_every_batch_size_order_and_padding(
    lm: LanguageModel, pages: list[str]
) -> None:
    tokens = lm.encode(pages)
    expected = [by_hand(lm, page) for page in pages]
    for i in (0, 9, 23):
        assert by_hand(lm, pages[i], left=13).mean() == pytest.approx(expected[i].mean(), abs=1e-5)
    forwards = list(range(len(pages)))
    for order, size in ((forwards, 1), (forwards, 500), (forwards[::-1], 100_000)):
        got = token_losses(lm, [tokens[i] for i in order], context=1024, stride=512, batch_tokens=size)
        for i, losses in zip(order, got, strict=True):
            assert losses.mean() == pytest.approx(expected[i].mean(), abs=1e-5)
            assert losses == pytest.approx(expected[i], abs=1e-4)


def test_the_company_of_a_text_changes_no_bit(lm: LanguageModel, pages: list[str]) -> None:
    tokens = lm.encode(pages)
    together = token_losses(lm, tokens, context=64, stride=32, batch_tokens=4096)
    for i in (0, 7, 23):
        (alone,) = token_losses(lm, [tokens[i]], context=64, stride=32, batch_tokens=1)
        assert (alone == together[i]).all()


@pytest.mark.parametrize(("context", "stride"), [(8, 8), (8, 3), (8, 1), (64, 32)])
@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 16, 100])
def test_windows_score_each_token_once_with_the_context_promised(tokens: int, context: int, stride: int) -> None:
    scored: list[int] = []
    for window in windows(0, tokens, context, stride):
        assert window.length <= padded(window.length, context) <= context
        for token in range(window.first, window.end):
            before = token - window.begin  # besides the window's first, which is read and not scored
            assert before >= min(token, context - stride)
            scored.append(token)
    assert scored == list(range(tokens))


@given(
    lengths=strategies.lists(strategies.integers(1, 1024), max_size=60),
    context=strategies.sampled_from([1024, 1000, 37]),
    batch_tokens=strategies.integers(1, 5000),
    grain=strategies.sampled_from([0, 1, 4, 32]),
)
def test_each_length_is_in_one_batch_of_its_own_padded_length_and_of_rows_that_fill_vectors(
    lengths: list[int], context: int, batch_tokens: int, grain: int
) -> None:
    lengths = [min(each, context) for each in lengths]
    found = list(batches(lengths, context, batch_tokens, grain))
    assert sorted(i for _, some in found for i in some) == list(range(len(lengths)))
    for length, some in found:
        assert {padded(lengths[i], context) for i in some} == {length}
        assert len(some) == 1 or len(some) * length <= batch_tokens
        assert len(some) == 1 or (grain and length * grain % LANES == 0)


def test_a_long_text_is_read_in_windows(lm: LanguageModel, folder: str, pages: list[str]) -> None:
    text = pages[-1]
    ids = lm.encode([text])[0]
    assert len(ids) > 200
    (losses,) = token_losses(lm, [ids], context=128, stride=64, batch_tokens=4096)
    whole = by_hand(lm, text)
    assert losses[:128] == pytest.approx(whole[:128], abs=1e-4)
    assert np.abs(losses[128:] - whole[128:]).max() > 1e-3  # with less before it, a token is predicted otherwise
    mean = causal_lm(model=folder, context=128)(TextBatch.of([text]))["loss"][0].as_py()
    assert mean == pytest.approx(losses.mean(), abs=1e-6)


def test_real_prose_is_predicted_better_than_noise(folder: str, pages: list[str]) -> None:
    noise = "".join(chr(33 + 37 * i * i % 90) for i in range(400))
    prose, odd = causal_lm(model=folder)(TextBatch.of([pages[-1], noise]))[""].to_pylist()
    assert prose < 3 < odd


def test_a_text_without_a_token_has_no_score(folder: str) -> None:
    columns = causal_lm(model=folder)(TextBatch.of(["", None, "a"]))
    assert columns["tokens"].to_pylist() == [0, 0, 1]
    for key in ("", "loss", "perplexity"):
        assert columns[key].is_null().to_pylist() == [True, True, False]


def test_only_the_first_characters_count_when_a_limit_is_set(folder: str) -> None:
    short, cut = causal_lm(model=folder, max_chars=20)(TextBatch.of([GOLDEN[:20], GOLDEN]))[""].to_pylist()
    assert short == cut != causal_lm(model=folder)(TextBatch.of([GOLDEN]))[""][0].as_py()


def test_a_special_token_spelt_out_in_a_text_is_plain_text(lm: LanguageModel) -> None:
    (ids,) = lm.encode(["a <|end|> b <|bos|>"])
    assert not {0, 1} & set(ids.tolist())


def test_a_models_folder_is_known_by_what_it_holds_and_not_by_where_it_lies(folder: str, tmp_path: Path) -> None:
    copy = changed(folder, tmp_path / "copy", "config.json")
    shutil.copyfile(f"{folder}/config.json", f"{copy}/config.json")
    known = Fingerprints(str(tmp_path))
    assert known.of(copy) == known.of(folder)
    for name in ("model.safetensors", "tokenizer.json", "new.txt"):
        before = known.of(copy)
        with open(f"{copy}/{name}", "ab") as stream:
            stream.write(b" ")
        assert known.of(copy) != before


def test_a_pipeline_tells_how_to_get_a_model_of_the_hub(tmp_path: Path) -> None:
    text = f"""
name: hub
steps:
  docs: {{read: {{path: {__file__}, format: lines}}}}
  scores: {{score: {{from: docs, causal_lm: {{model: HuggingFaceTB/SmolLM2-135M}}}}}}
"""
    with pytest.raises(ConfigError, match=r"causal_lm\.model: 'HuggingFaceTB/SmolLM2-135M' .*hf download"):
        run_yaml(tmp_path, text)


def test_device_and_batch_size_are_resources_and_bear_no_identity() -> None:
    args = validate(model_of(causal_lm), {"model": "m"}, ())
    assert resources(args) == {"batch_tokens", "device"}
    one, two = (
        step.parse({"from": "docs", "causal_lm": {"model": "m", **extra}}, ())
        for extra in ({}, {"device": "cuda", "batch_tokens": 1})
    )
    assert one.identity() == two.identity()
    other = step.parse({"from": "docs", "causal_lm": {"model": "m", "stride": 7}}, ())
    assert other.identity() != one.identity()


def test_code_that_comes_with_a_model_cannot_be_switched_on() -> None:
    with pytest.raises(ConfigError, match="trust_remote_code: no such key"):
        step.parse({"from": "docs", "causal_lm": {"model": "m", "trust_remote_code": True}}, ())


def changed(folder: str, to: Path, name: str, **values: object) -> str:
    """A copy of a model with other values in one of its JSON files."""
    shutil.copytree(folder, to, copy_function=shutil.copyfile)
    to.chmod(0o755)
    content = json.loads((to / name).read_text())
    (to / name).write_text(json.dumps({**content, **values}))
    return str(to)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_folder_that_wants_its_own_code_to_run_is_refused(folder: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    path = changed(folder, tmp_path / "m", name, auto_map={"AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(ModelError, match=rf"{name} wants code of its own to run \(auto_map\), which is never done"):
        causal_lm(model=path)


def test_weights_that_are_not_safetensors_are_refused(folder: str, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "m", "config.json")
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \.safetensors weights \(only pytorch_model\.bin\)"):
        causal_lm(model=path)


def test_weights_that_do_not_fit_the_config_are_refused(folder: str, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "m", "config.json", num_hidden_layers=7)
    with pytest.raises(ModelError, match="its weights do not fit"):
        causal_lm(model=path)


def test_a_config_that_no_model_can_have_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded \(ZeroDivisionError"):
        causal_lm(model=changed(folder, tmp_path / "m", "config.json", num_attention_heads=0))


def test_a_loss_beyond_the_largest_exponential_has_the_largest_perplexity(folder: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = changed(folder, tmp_path / "m", "config.json")
    tensors = load_file(tmp_path / "m/model.safetensors")
    sharp = {name: each.astype("f4") * (1e6 if name == "model.norm.weight" else 1) for name, each in tensors.items()}
    save_file(sharp, tmp_path / "m/model.safetensors", metadata={"format": "pt"})
    columns = causal_lm(model=path, device="cpu")(TextBatch.of([GOLDEN]))
    assert columns["loss"][0].as_py() > 709
    assert columns["perplexity"][0].as_py() == pytest.approx(8.2184e307, rel=1e-4)


def test_weights_that_are_cut_short_are_refused(folder: str, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "m", "config.json")
    weights = tmp_path / "m/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        causal_lm(model=path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda p: "HuggingFaceTB/SmolLM2-135M",
            "hf download HuggingFaceTB/SmolLM2-135M --local-dir models/SmolLM2-135M",
        ),
        (lambda p: "s3://bucket/model", "copy it and name the copy"),
        (lambda p: str(p), r"no config\.json in it"),
        (lambda p: __file__, "a file, but this model is a folder"),
    ],
)
def test_what_is_no_model_folder_is_refused(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        causal_lm(model=make(tmp_path))  # type: ignore[operator]


def test_another_kind_of_model_is_refused(folder: str, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "m", "config.json", model_type="clip")
    with pytest.raises(ModelError, match="not a causal language model"):
        causal_lm(model=path)
    # Its weights fit: the layer that predicts tokens is the embedding.
    path = changed(folder, tmp_path / "c", "config.json", architectures=["LlamaForSequenceClassification"])
    with pytest.raises(ModelError, match="LlamaForSequenceClassification is not a causal language model; name one"):
        causal_lm(model=path)


def test_numbers_out_of_range_are_refused(folder: str) -> None:
    for wrong, message in (
        ({"context": 5000}, "the model reads 1024 tokens at once"),
        ({"context": 64, "stride": 65}, "leaves tokens out"),
        ({"stride": 0}, "stride 0 is below 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            causal_lm(model=folder, **wrong)


def test_a_gpu_that_is_not_there_is_named(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no GPU here; set `device:` to cpu or auto"):
        causal_lm(model=folder, device="cuda")


def test_importing_the_scorers_and_the_methods_does_not_import_torch() -> None:
    code = "import sys, curate.steps.score, curate.steps.train.step; assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_the_error_names_the_remedy(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'curate-data\[neural\]'"):
        causal_lm(model=folder)
