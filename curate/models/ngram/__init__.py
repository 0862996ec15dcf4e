"""Back-off n-gram models as compact tables: read from ARPA, kept in a file that workers share, asked by a kernel.

tables = load("wiki.arpa")                 # or the file that `build_tables` wrote
tables.score(form_words(batch, form))       # log10 P of each text
"""

from curate.models.ngram.tables import Tables, build_tables, load, save

__all__ = ["Tables", "build_tables", "load", "save"]
