"""The verifiers `refusal` and `copied_prompt`: answers that decline, and answers that give the prompt back.

    is_refusal("I'm sorry, but I can't help with that.")            # True
    is_refusal("I can't wait to see you!")                          # False
    copies_prompt("#Given Prompt#: Name a colour.", "Rewrite ...")  # True

A refusal is found where it stands in the first sentences, or anywhere in a short answer: a text about refusals is not
one. What declines in other words is missed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.text.columns import column as arrow
from curate.text.overlap import Hashed, hashed_words, runs

# What only a prompt or a chat template has: of Evol-Instruct's prompts (Xu et al. 2023) and of common templates.
MARKERS = (
    "#Given Prompt#",
    "#The Given Prompt#",
    "#Rewritten Prompt#",
    "#Created Prompt#",
    "#New Prompt#",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "### Instruction:",
    "### Response:",
)
_MARKER = re.compile("|".join(map(re.escape, MARKERS)), re.IGNORECASE)

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_OPENING = 240  # characters in which a refusal begins
_SHORT = 400  # characters of an answer that is looked at as a whole

_NOT = r"(?:can'?t|can ?not|could ?n'?t|won'?t|will not|(?:am|'m|are|'re) (?:not able|unable)(?: to)?)"
_DO = (
    r"(?:help(?! but)|assist|provide|fulfil|fulfill|comply|answer|create|generate|write|produce|engage in|discuss|"
    r"share|offer|give (?:you|an?\b|any|advice|legal|medical)|do (?:that|this)|complete (?:this|the|your)|"
    r"participate|accommodate|respond|continue with|browse|recommend|process (?:this|your)|proceed|advise|promote|"
    r"facilitate|access (?:the internet|real|external|your|any))"
)
# Where a sentence begins, with what may come before a refusal in it.
_SENTENCE = (
    r"(?:^|(?<=[.!?:;\n\"*])) ?(?:(?:but|however|unfortunately|sadly|regrettably|sorry|no|hello|hi|therefore|so|and|"
    r"thank you|thanks|as such)\b[,.!]? ?)*"
)
_ENGLISH = (
    # I cannot help, we are unable to provide
    rf"{_SENTENCE}(?:i|we) ?(?:really |simply |just |also )?{_NOT} (?:directly |currently |ethically )?{_DO}\b",
    # Sorry, but I can't; I apologise, but as an AI
    rf"{_SENTENCE}(?:(?:i|we) ?(?:'m|am|are|'re|must|do)? ?(?:very |really |so |truly |deeply )?)?"
    rf"(?:sorry|apologi[sz]e|apologies|regret)\b[^.!?\n]{{0,60}}?\b(?:i|we) ?{_NOT}(?! (?:wait|attend|come))\b",
    rf"{_SENTENCE}(?:my apologies|sorry|apologies|unfortunately|i(?:'m| am) sorry|i apologi[sz]e)\b[^.!?\n]{{0,40}}?"
    r"\bas an? (?:ai|artificial|large|language)\b",
    # Sorry, the task is beyond the model, so we cannot complete it
    r"\b(?:i|we) (?:can'?t|can ?not) complete this task\b",
    # As an AI language model, I don't have
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language)\b(?:[ -]?(?:powered|based|language|text|chat))* ?"
    r"(?:model|assistant|chatbot|system|program)?,? i\b ?"
    r"(?:can'?t|can ?not|don'?t|do not|am not|'m not|am unable|'m unable|won'?t|will not|lack|have no|"
    r"(?:am|'m) (?:only|just)|haven'?t|am (?:programmed|designed)|should not|shouldn'?t)",
    r"\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|(?:large )?language model)\b[^.!?\n]{0,60}?\b"
    r"(?:can'?t|can ?not|don'?t|do not|unable|not able|no ability)\b",
    rf"{_SENTENCE}i(?:'m| am) not comfortable (?:with )?(?:writ|creat|provid|generat|help|assist|answer|discuss)",
    rf"{_SENTENCE}i (?:must|have to|will have to|would prefer to) (?:respectfully )?(?:decline|refuse)\b",
    rf"{_SENTENCE}i (?:decline|refuse) to (?:answer|help|assist|provide|write|create)\b",
    r"\b(?:goes|is) against my (?:programming|guidelines|policy|policies)\b",
    rf"{_SENTENCE}it (?:would not be|wouldn't be|is not|isn't) (?:appropriate|ethical) for me to\b",
    rf"{_SENTENCE}i (?:do not|don'?t) have (?:the (?:ability|capability) to|access to (?:real[- ]time|the internet))",
)
_GERMAN = (
    r"(?:tut mir|bedau[e]?re|entschuldig\w*|verzeihung|leider)\b[^.!?\n]{0,80}?\bkann ich\b[^.!?\n]{0,80}?"
    r"\b(?:nicht|kein\w*)\b",
    r"(?:tut mir|bedau[e]?re|entschuldig\w*|verzeihung|leider)\b[^.!?\n]{0,40}?\bich (?:kann|darf|bin nicht)\b"
    r"[^.!?\n]{0,80}?\b(?:nicht|kein\w*)\b",
    r"ich (?:kann|darf|werde|möchte) (?:\w+ ){0,4}(?:nicht|kein\w*)\b[^.!?\n]{0,60}?"
    r"(?:helfen|beantworten|erstellen|geben|unterstützen|erfüllen|schreiben|bereitstellen|eingehen)\b",
    r"als (?:ein\w* )?(?:ki|künstliche intelligenz|sprachmodell|großes sprachmodell)\b[^.!?\n]{0,40}?"
    r"(?:kann|habe|bin|darf|besitze|verfüge)\b[^.!?\n]{0,80}?\b(?:nicht|kein\w*)\b",
    r"ich bin (?:nur |lediglich )?(?:ein\w* )?(?:ki|künstliche intelligenz|sprachmodell)\b[^.!?\n]{0,60}?"
    r"\b(?:nicht|kein\w*)\b",
)
_OTHERS = (
    r"désolée?\b[^.!?\n]{0,40}?\bje ne (?:peux|suis) pas\b",
    r"lo siento\b[^.!?\n]{0,40}?\bno puedo\b",
)
_REFUSAL = re.compile("|".join((*_ENGLISH, *(rf"\b{each}" for each in (*_GERMAN, *_OTHERS)))))
_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")


def refusal(*, column: str = "text") -> Verifier:
    """Whether a text declines to answer, `""` (bool); null for a null text. See `is_refusal`."""

    def verify(batch: VerifyBatch) -> Columns:
        return {"": pa.array([None if text is None else is_refusal(text) for text in batch.texts(column)], pa.bool_())}

    return verify


def is_refusal(text: str) -> bool:
    """Whether a text says in its opening, or anywhere if it is short, that it will not or cannot answer.

    English and German, and the commonest words in French and Spanish.
    """
    opening = text.strip()[: _SHORT + 1]
    if len(opening) <= _SHORT:
        return _REFUSAL.search(_plain(opening)) is not None
    found = _REFUSAL.search(_plain(opening))
    return found is not None and found.start() < _OPENING


def copied_prompt(*, column: str = "text", prompt: str = "prompt", words: int = 12) -> Verifier:
    """What a text has of the prompt that it answers.

    `""` (float64) is the share of its words that are in a run of so many words which the prompt has too: 0 for a text
    without words, null where the text or the prompt is. `marker` (bool) says whether it has one of `MARKERS`.

    Args:
        column: the text.
        prompt: the column of the prompt.
        words: in a run that counts as copied.

    Raises:
        ConfigError: `words` is below 1.
    """
    if words < 1:
        raise ConfigError(f"copied_prompt: words {words} is below 1; set a positive number")

    def verify(batch: VerifyBatch) -> Columns:
        texts, prompts = batch.texts(column), batch.texts(prompt)
        valid = np.array([text is not None for text in texts], np.bool_)
        both = valid & np.array([each is not None for each in prompts], np.bool_)
        shares = _copied([text or "" for text in texts], [each or "" for each in prompts], words)
        marked = np.array([_MARKER.search(text or "") is not None for text in texts], np.bool_)
        return {"": arrow(shares, both), "marker": arrow(marked, valid)}

    return verify


def copies_prompt(text: str, prompt: str, *, words: int = 12, share: float = 0.5) -> bool:
    """Whether a text has one of `MARKERS`, or takes that share of its words or more from the prompt, in long runs."""
    if _MARKER.search(text) is not None:
        return True
    return may_copy(text, prompt, words) and bool(_copied([text], [prompt], words)[0] >= share)


def may_copy(text: str, prompt: str, words: int) -> bool:
    """Whether a text may have a run of so many words of the prompt: a quick look that misses none.

    The words of ASCII text are made of letters, digits and few signs, so that as many runs of those must be in both.
    """
    if not text.isascii():
        return True
    own = _ASCII_WORD.findall(text.lower())
    if len(own) < words:
        return False
    others = set(_ASCII_WORD.findall(prompt.lower()))
    return sum(each in others for each in own) >= words


def _plain(text: str) -> str:
    return text.translate(_APOSTROPHES).lower()


def _copied(texts: Sequence[str], prompts: Sequence[str], n: int) -> npt.NDArray[np.float64]:
    """For each text the share of its words that are in a run of n words which its prompt has too."""
    own = hashed_words(texts)
    found, wanted = runs(own, n), runs(hashed_words(prompts), n)
    shares = np.zeros(len(texts))
    for i, size in enumerate(own.sizes.tolist()):
        same = np.isin(_of(found, i), _of(wanted, i))
        if same.any():
            # +1 where a copied run begins and -1 where it ends: a word is copied while the sum is above 0.
            steps = np.zeros(size + 1, np.int64)
            at = np.flatnonzero(same)
            np.add.at(steps, at, 1)
            np.add.at(steps, at + n, -1)
            shares[i] = np.count_nonzero(np.cumsum(steps)[:size]) / size
    return shares


def _of(hashed: Hashed, i: int) -> npt.NDArray[np.uint64]:
    return hashed.keys[hashed.at[i] : hashed.at[i + 1]]
