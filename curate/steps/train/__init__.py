"""What fits the small models that score: fastText classifiers and n-gram language models.

    train_fasttext(good, poor, "models/quality")            # a model, its card, its held-out figures
    train_labels([("Where is Ohio ?", "LOC"), ...], "models/topics")
    count_shard(texts, "counts/part-00000.parquet", order=5, form=TextForm("ccnet_spaced", "punct"))
    fit_ngram(["counts/part-00000.parquet"], "models/wiki.arpa")

Everything here is a plain function over texts and paths.
"""

from curate.models.fasttext.train import train_fasttext
from curate.models.fasttext.train_labels import train_labels
from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram

__all__ = ["count_shard", "fit_ngram", "train_fasttext", "train_labels"]
