"""Nothing that a config means has changed since it was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.record import IDENTITIES, OWN_TEXT, PAGES, PIPELINES, ROOT, RUNS, identity_of


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_every_step_of_a_config_keeps_its_identity_and_its_inputs(path: Path) -> None:
    recorded = json.loads(IDENTITIES.read_text())[str(path.relative_to(ROOT))]
    found = json.loads(json.dumps(identity_of(path)))
    assert list(found) == list(recorded)
    for name, step in found.items():
        assert step == recorded[name], name


def test_the_record_knows_every_config_and_page_and_nothing_that_is_gone() -> None:
    assert set(json.loads(IDENTITIES.read_text())) == {str(path.relative_to(ROOT)) for path in PIPELINES}
    runs = {"quickstart", "quickstart-questions", "quickstart-selection", "same-bytes", "models"}
    pages = {page.stem for page in PAGES} - OWN_TEXT
    assert runs <= set(json.loads(RUNS.read_text())["runs"]) <= runs | pages
