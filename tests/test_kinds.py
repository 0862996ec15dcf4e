"""The table of kinds, which knows of a module what its name says until a config names the kind."""

from __future__ import annotations

import functools
import typing

import pytest

from curate.core.step import Result, StepConfig
from curate.generate.access import Access
from curate.kinds import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_one_function_which_takes_the_config_that_is_parsed(name: str) -> None:
    kind = KINDS[name]
    assert (kind.run is None) != (kind.ask is None)
    takes = typing.get_type_hints(kind.run or kind.ask)
    assert issubclass(takes["config"], StepConfig) and takes["return"] is Result
    assert (takes.get("access") is Access) == (kind.ask is not None)
    if isinstance(kind.parse, functools.partial):
        assert kind.parse.args == (takes["config"],)
    else:
        assert typing.get_type_hints(kind.parse)["return"] is takes["config"]
    assert isinstance(kind.version, int)
