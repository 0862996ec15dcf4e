"""Models in the form of a folder: `config.json`, `*.safetensors` and a tokenizer, nothing that runs code.

    lm = load_causal_lm("models/smol", device="auto")
    lm.encode(["Some text."])                    # [array([...], dtype=int32)]

Nothing is fetched, nothing is unpickled, and code that comes with a model is never run: no setting changes that.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import orjson

from curate.core.errors import ModelError
from curate.core.files import is_remote
from curate.models.device import Device, choose, require
from curate.models.lm.batching import grain_of

if TYPE_CHECKING:
    import torch

Tokens = npt.NDArray[np.int32]
# As the tokenizer holds several hundred bytes a token, texts are given to it so many characters at a time.
_ENCODED_AT_ONCE = 1_000_000
Kind = Literal["CausalLM", "Seq2SeqLM", "SequenceClassification", ""]
# The classes of transformers for a kind of model, and what it is called.
_KINDS: dict[Kind, tuple[str, str, str]] = {
    "CausalLM": ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING", "a causal language model"),
    "Seq2SeqLM": (
        "AutoModelForSeq2SeqLM",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
        "a model that writes one text from another",
    ),
    "SequenceClassification": (
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
        "a classifier of sequences",
    ),
    "": ("AutoModel", "MODEL_MAPPING", "an encoder of text"),
}
# What may be said to the libraries about a folder.
_SAFE = {"local_files_only": True, "trust_remote_code": False}


class Config(Protocol):
    """What is used of a model's `config.json`."""

    model_type: str
    bos_token_id: object
    eos_token_id: object
    architectures: list[str] | None

    def get_text_config(self) -> object:
        """The part that is about text."""
        ...


class Tokenizer(Protocol):
    """What is used of a tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    def __call__(
        self,
        texts: list[str],
        *,
        add_special_tokens: bool,
        split_special_tokens: bool,
        verbose: bool,
        truncation: bool = False,
        max_length: int | None = None,
    ) -> dict[str, list[list[int]]]:
        """Texts to token ids, under `input_ids`."""
        ...

    def __len__(self) -> int: ...

    def save_pretrained(self, folder: str) -> object:
        """Write its files."""
        ...


class Output(Protocol):
    """What a causal language model returns: logits (rows, length, vocabulary)."""

    @property
    def logits(self) -> torch.Tensor:
        """Of the next token, at every position."""
        ...


class Model(Protocol):
    """What is used of a causal language model."""

    def __call__(self, *, input_ids: torch.Tensor) -> Output:
        """From token ids (rows, length)."""
        ...

    def to(self, device: str) -> Model:
        """The model on a device."""
        ...

    def get_input_embeddings(self) -> torch.nn.Embedding:
        """A row for each token."""
        ...


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model, ready to score.

    Attributes:
        path: its folder.
        model: float32, on `device`.
        encode: texts to token ids, no special token among them whatever the text says.
        start: the id that the first token of a text is predicted from.
        context: how many tokens the model may read at once; None where its config does not say.
        vocabulary: the number of logits.
        device: `cpu` or `cuda`.
        grain: which rows may share a batch, see `curate.models.lm.batching.grain_of`.
    """

    path: str
    model: Model
    encode: Callable[[Sequence[str]], list[Tokens]]
    start: int
    context: int | None
    vocabulary: int
    device: str
    grain: int


def local_folder(path: str, holds: str) -> str:
    """The local path of a folder that has a file called `holds`.

    Raises:
        ModelError: it is not local, not there, or has no such file.
    """
    if is_remote(path):
        raise ModelError(f"{path}: models are read from local folders; copy it and name the copy")
    path = path.removeprefix("file://").rstrip("/")
    if os.path.isfile(path):
        raise ModelError(f"{path}: a file, but this model is a folder; name the folder that holds {holds}")
    if not os.path.isdir(path):
        raise ModelError(
            f"{path}: no such model folder; a model of the Hub is downloaded first:"
            f" hf download {path} --local-dir models/{os.path.basename(path)}"
        )
    if not os.path.isfile(os.path.join(path, holds)):
        raise ModelError(f"{path}: no {holds} in it, so it is not the model that is needed; name the right folder")
    return path


def check_folder(path: str) -> str:
    """The local path of a model's folder that is safe to load.

    Raises:
        ModelError: it is no local folder of a model, has no safetensors weights, or wants code of its own to run.
    """
    path = local_folder(path, "config.json")
    names = os.listdir(path)
    if "adapter_config.json" in names:
        raise ModelError(f"{path}: an adapter of another model; merge the two and name the folder of the result")
    for name in ("config.json", "tokenizer_config.json"):
        if name in names and "auto_map" in read_json(os.path.join(path, name)):
            raise ModelError(
                f"{path}: {name} wants code of its own to run (auto_map), which is never done;"
                " use a model that transformers knows by itself"
            )
    if not any(name.endswith(".safetensors") for name in names):
        others = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf")))
        found = f" (only {others[0]})" if others else ""
        raise ModelError(f"{path}: no .safetensors weights{found}; others are never loaded: convert the model")
    return path


def read_json(path: str) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        ModelError: it holds no object.
    """
    try:
        with open(path, "rb") as stream:
            found = orjson.loads(stream.read())
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: is damaged (no JSON object); get the model again")
    return found


def load_whole(path: str, kind: Kind) -> tuple[str, Config, object, Tokenizer]:
    """The checked folder of a model, its config, the model in float32 (`kind` as for `load_model`), its tokenizer.

    Raises:
        ModelError: the folder is not safe or not whole, or holds another kind of model.
    """
    require()
    path = check_folder(path)
    with load_errors(path):
        config = read_config(path)
        return path, config, load_model(path, config, kind), load_tokenizer(path)


def load_causal_lm(path: str, *, device: Device) -> LanguageModel:
    """Load a causal language model and its tokenizer, in float32.

    Raises:
        ModelError: the folder is not safe or not whole, or holds another kind of model.
    """
    path, config, loaded, tokenizer = load_whole(path, "CausalLM")
    model = cast(Model, loaded)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(f"{path}: {len(tokenizer)} tokens in its tokenizer, {rows} in its model; get both again")
    starts = (tokenizer.bos_token_id, tokenizer.eos_token_id, config.bos_token_id, config.eos_token_id)
    start = next((each for each in starts if isinstance(each, int)), None)
    if start is None:
        raise ModelError(f"{path}: its tokenizer has neither a first nor a last token (bos, eos); add one to it")
    where = choose(device)
    return LanguageModel(
        path=path,
        model=model.to(where),
        encode=functools.partial(encode, tokenizer),
        start=start,
        context=context_of(config),
        vocabulary=rows,
        device=where,
        grain=grain_of(model, where),
    )


def read_config(path: str) -> Config:
    """The config in a checked folder."""
    return cast(Config, importlib.import_module("transformers").AutoConfig.from_pretrained(path, **_SAFE))


def load_tokenizer(path: str) -> Tokenizer:
    """The tokenizer in a checked folder."""
    return cast(Tokenizer, importlib.import_module("transformers").AutoTokenizer.from_pretrained(path, **_SAFE))


def load_model(path: str, config: Config, kind: Kind) -> object:
    """The model in a checked folder, in float32: one that predicts tokens, classifies a sequence, or gives states.

    Raises:
        ModelError: it is of another kind, or weights are missing or of other shapes than the config says.
    """
    import torch

    transformers = importlib.import_module("transformers")
    auto_name, mapping, wanted = _KINDS[kind]
    known = getattr(transformers, mapping)
    if type(config) not in known:
        raise ModelError(f"{path}: {config.model_type!r} is not {wanted}; name one")
    own = config.architectures or []
    # Its weights may fit all the same, where the head shares those of the embedding, and would say nothing.
    if kind and own and known[type(config)].__name__ not in own:
        raise ModelError(f"{path}: {own[0]} is not {wanted}; name one")
    auto = getattr(transformers, auto_name)
    model, info = auto.from_pretrained(
        path,
        use_safetensors=True,
        dtype=torch.float32,
        # Named so that no config chooses an attention which would be fetched.
        attn_implementation="sdpa" if known[type(config)]._supports_sdpa else "eager",
        output_loading_info=True,
        **_SAFE,
    )
    # A pooler is a layer above the states of the tokens, which nothing here uses.
    missing = [name for name in info["missing_keys"] if kind or not name.startswith("pooler.")]
    wrong = sorted([*missing, *(each[0] for each in info["mismatched_keys"])])
    if wrong:
        raise ModelError(f"{path}: its weights do not fit its config.json (such as {wrong[0]}); get the model again")
    model.config.get_text_config().use_cache = False  # which is for writing text, a token at a time
    return cast(object, model)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """The token ids of each text: no special token is added, and one that is spelt out in a text is plain text."""
    found: list[Tokens] = []
    at = 0
    while at < len(texts):
        end, size = at, 0
        while end < len(texts) and (end == at or size + len(texts[end]) <= _ENCODED_AT_ONCE):
            size += len(texts[end])
            end += 1
        some = list(texts[at:end])
        ids = tokenizer(some, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        found += [np.asarray(each, dtype=np.int32) for each in ids]
        at = end
    return found


def context_of(config: Config) -> int | None:
    """How many tokens a model may read at once."""
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let transformers read and write without progress bars and reports for the block."""
    logging = importlib.import_module("transformers.utils.logging")
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def load_errors(path: str) -> Iterator[None]:
    """What the libraries cannot load is an error of the model."""
    from safetensors import SafetensorError

    faults = (OSError, ValueError, KeyError, TypeError, ArithmeticError, RuntimeError, ImportError, SafetensorError)
    try:
        with quietly():
            yield
    except faults as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: cannot be loaded ({type(error).__name__}: {line}); get the model again") from None
