from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from curate.core.errors import ModelError
from curate.models.device import threads
from curate.models.encoder.encoder import Encoder, load_encoder
from curate.models.encoder.head import Head, Settings, save_head
from curate.models.lm.folder import check_folder, load_tokenizer
from curate.steps.score.embedding import embedding
from curate.text.batch import TextBatch

TEXTS = [
    "The garden was quiet.",
    "word",
    "Nobody knew that it would be back with the wind. " * 40,
    "日本語",
    "Two words",
]


@pytest.fixture(scope="module")
def encoder(shared: Path) -> Encoder:
    return load_encoder(str(shared / "models/tiny-llama"), context=128, device="cpu")


@pytest.fixture
def classifier(shared: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "classifier"
    save_head(str(folder), Head(np.linspace(-0.5, 0.5, 192), 2.5, Settings(0, 5, 3, 128)))
    shutil.copytree(shared / "models/tiny-llama", folder / "encoder", copy_function=shutil.copyfile)
    return folder


@pytest.fixture(scope="module")
def bert(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that reads both ways, of random weights, with the tokens that it adds to every text."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForMaskedLM(BertConfig(vocab_size=4096, max_position_embeddings=64, **small)).save_pretrained(folder)
    from tokenizers.processors import TemplateProcessing

    fast: PreTrainedTokenizerFast = load_tokenizer(check_folder(str(shared / "models/tiny-llama")))  # type: ignore
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A <|end|>", special_tokens=[("<|bos|>", 0), ("<|end|>", 1)]
    )
    fast.save_pretrained(folder)
    return str(folder)


def test_an_embedding_is_the_mean_of_the_states_of_the_tokens(encoder: Encoder) -> None:
    import torch

    (found,) = encoder.embed([TEXTS[0]])
    ids = encoder.tokenizer([TEXTS[0]], add_special_tokens=True, split_special_tokens=True, verbose=False)["input_ids"]
    with torch.inference_mode(), threads(1):
        mask = torch.ones((1, len(ids[0])), dtype=torch.long)
        states = encoder.model(input_ids=torch.tensor(ids), attention_mask=mask).last_hidden_state
    assert found == pytest.approx(states[0].double().mean(0).numpy(), abs=1e-5)


def test_the_company_of_a_text_changes_no_bit(encoder: Encoder) -> None:
    together = encoder.embed(TEXTS)
    for i, text in enumerate(TEXTS):
        assert (encoder.embed([text], batch_tokens=1)[0] == together[i]).all()
    assert (encoder.embed(TEXTS[::-1])[::-1] == together).all()


def test_an_encoder_that_reads_both_ways_does_not_see_the_padding(bert: str) -> None:
    import torch

    encoder = load_encoder(bert, context=512, device="cpu")
    assert encoder.context == 64  # what the model can read
    short = "A short one."
    ids = encoder.tokenizer([short], add_special_tokens=True, split_special_tokens=True, verbose=False)["input_ids"]
    assert ids[0][0] == 0 and ids[0][-1] == 1
    with torch.inference_mode(), threads(1):
        mask = torch.ones((1, len(ids[0])), dtype=torch.long)
        states = encoder.model(input_ids=torch.tensor(ids), attention_mask=mask).last_hidden_state
    assert encoder.embed([short, *TEXTS])[0] == pytest.approx(states[0].double().mean(0).numpy(), abs=1e-5)


def test_only_the_first_tokens_of_a_text_are_read(encoder: Encoder) -> None:
    start = "Nobody knew. " * 400
    one, two = encoder.embed([start + "An end.", start + "Another end of it."])
    assert (one == two).all()


def test_golden_rows(classifier: Path) -> None:
    columns = embedding(model=str(classifier))(TextBatch.of([*TEXTS, "", None]))
    found = columns[""].to_pylist()
    assert found[:5] == pytest.approx(GOLDEN[:5], abs=1e-4) and found[5:] == GOLDEN[5:]
    assert columns["label"].to_pylist() == [4, 0, 1, 0, 4, None, None]


def change_settings(classifier: Path, **values: int) -> None:
    path = classifier / "head.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **values}))


GOLDEN = [4.011041, -1.882927, 1.138881, -0.544469, 3.613088, None, None]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "head.json").unlink(), r"no head\.json in it"),
        (lambda f: (f / "head.json").write_text("{}"), "its head cannot be read"),
        (lambda f: (f / "head.safetensors").write_bytes(b"xx"), "its head cannot be read"),
        (lambda f: change_settings(f, lowest=9), r"its head cannot be read \(threshold 3: not above 9 and up to 5\)"),
        (lambda f: change_settings(f, context=0), r"its head cannot be read \(context 0: expected 1 or more\)"),
        (lambda f: save_head(str(f), Head(np.full(192, np.nan), 0.0, Settings(0, 5, 3, 8))), "not finite; train it"),
        (lambda f: (f / "encoder/model.safetensors").rename(f / "encoder/model.bin"), r"no \.safetensors weights"),
        (lambda f: save_head(str(f), Head(np.ones(3), 0.0, Settings(0, 5, 3, 8))), "its head is for 3 numbers"),
    ],
)
def test_a_classifier_that_is_not_whole_is_refused(classifier: Path, break_it: object, message: str) -> None:
    break_it(classifier)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        embedding(model=str(classifier))
