"""Filters: rules over score columns that say of every row whether it is kept, and if not, why.

    kept: {filter: {from: [scores, dups], rules: [{preset: gopher-quality}, {column: quality, top: 0.10}]}}

Rules are read in order. A threshold by quantile, count or budget is taken among the rows that passed every
rule before it, and it needs no rescoring to change. So are the rows that a rule with `sample` draws.

The step `bucket` drops nothing: it names the range that a score falls into.
"""
