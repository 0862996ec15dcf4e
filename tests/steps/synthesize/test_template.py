"""Templates of recipes: what a row holds is data, what is not there is an error, and nothing else is in reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.steps.synthesize.functions import functions
from curate.steps.synthesize.recipe import load_recipe
from curate.steps.synthesize.template import MOST, BadTemplate, CannotRender, Expression, Template, plain

RECIPE = """\
name: mine
about: a text -> a title
needs: [text]
params: {words: 8}
stages:
  - name: title
    system: You write titles.
    prompt: |
      A title of at most {{ words }} words for:
      {{ text }}
rows:
  text: "{{ title }}"
"""


def load(folder: Path, text: str) -> None:
    (folder / "mine.yaml").write_text(text)
    load_recipe(str(folder / "mine.yaml"))


def test_a_template_is_filled_from_the_row() -> None:
    template = Template("Reword {{ count }} times:\n{{ text }}")
    assert template.names == {"count", "text"}
    assert template.render({"count": 3, "text": "Hi."}) == "Reword 3 times:\nHi."


@given(st.text())
def test_whatever_a_row_holds_stays_as_it_is(text: str) -> None:
    assert Template("<{{ text }}>").render({"text": text}) == f"<{text}>"
    assert Template("<{{ rows[0].text }}>").render({"rows": [{"text": text}]}) == f"<{text}>"


@pytest.mark.parametrize("data", ["{{ 7 * 7 }}", "{% raw %}", "{# no comment #}", "{{ secret }}", "}} {{"])
def test_braces_in_data_are_no_template(data: str) -> None:
    assert Template("{{ text }}").render({"text": data, "secret": "x"}) == data


def test_a_name_that_is_not_there_is_an_error_and_not_an_empty_text() -> None:
    with pytest.raises(CannotRender, match="'txet' is undefined"):
        Template("{{ txet }}").render({"text": "Hi."})
    with pytest.raises(CannotRender, match="no attribute 'title'"):
        Template("{{ row.title }}").render({"row": {"text": "Hi."}})
    for expression in ("rows[3]", "[rows[3]]", "{'a': [rows[3]]}"):
        with pytest.raises(CannotRender, match="has no element 3"):
            Expression(expression).value({"rows": []})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{{ text }}", "{{ txet }}", r"mine\.yaml:8: stages\[0\]\.prompt: no name 'txet' here; did you mean 'text'"),
        ("{{ title }}", "{{ titel }}", r"mine\.yaml:11: rows\[0\]\.text: no name 'titel' here"),
        ("{{ text }}", "{{ text", r"mine\.yaml:8: stages\[0\]\.prompt: is no template"),
        ("{{ text }}", "{{ range(9) }}", r"mine\.yaml:8: stages\[0\]\.prompt: no name 'range' here"),
        ("You write titles.", '"{{ title }}"', r"mine\.yaml:7: stages\[0\]\.system: no name 'title' here"),
        ("params: {", "parms: {", r"mine\.yaml:4: parms: "),
        ("    prompt: |", "    when: text ==\n    prompt: |", r"mine\.yaml:8: stages\[0\]\.when: is no expression"),
        ("rows:", "keep: {only: {bad: nothing}}\nrows:", r"mine\.yaml:11: keep\.only\.bad: no name 'nothing' here"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_before_anything_is_asked_with_its_file_and_line(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in RECIPE
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, RECIPE.replace(before, after, 1))


def test_a_stage_sees_no_answer_that_comes_after_it(tmp_path: Path) -> None:
    later = "  - name: second\n    prompt: '{{ title }}'\nrows:"
    load(tmp_path, RECIPE.replace("rows:", later))
    with pytest.raises(ConfigError, match=r"stages\[0\]\.prompt: no name 'second'"):
        load(tmp_path, RECIPE.replace("{{ text }}", "{{ second }}", 1).replace("rows:", later))


def test_a_made_row_is_a_text_or_turns(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of `text:`, `messages:`, `turns:`"):
        load(tmp_path, RECIPE + "  turns: turns(title)\n")
    with pytest.raises(ConfigError, match="set `kind:`"):
        load(tmp_path, RECIPE.replace('text: "{{ title }}"', "turns: turns(title)"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ text.__class__ }}",
        "{{ text.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ text | attr('__class__') }}",
        "{{ pick.func.__globals__ }}",
        "{{ pick.__self__ }}",
        "{{ self.__init__ }}",
        "{{ [].append.__self__ }}",
    ],
)
def test_no_attribute_leads_out_of_the_row(template: str) -> None:
    with pytest.raises(CannotRender):
        Template(template).render({"text": "Hi.", **functions("seed")})


@pytest.mark.parametrize("change", ["rows.append(1)", "rows.clear()", "row.update(a=1)", "row.pop('text')"])
def test_a_template_changes_nothing_of_the_row(change: str) -> None:
    row = {"rows": [{"text": "Hi."}], "row": {"text": "Hi."}}
    with pytest.raises(CannotRender):
        Template(f"{{{{ {change} }}}}").render(row)
    assert row == {"rows": [{"text": "Hi."}], "row": {"text": "Hi."}}


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ 'x'.zfill(1000000000) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'x' | center(1000000000) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_nothing_small_becomes_as_large_as_the_memory(template: str) -> None:
    with pytest.raises((CannotRender, BadTemplate)):
        Template(template).render({})


@pytest.mark.parametrize("name", ["range", "lipsum", "cycler", "joiner", "namespace", "dict"])
def test_loops_go_over_what_a_row_holds_as_there_is_nothing_else(name: str) -> None:
    assert Template(f"{{% for i in {name}(9) %}}{{% endfor %}}").names == {name}  # so a recipe with it is refused
    with pytest.raises(CannotRender, match=f"'{name}' is undefined"):
        Template(f"{{% for i in {name}(9) %}}{{% endfor %}}").render({})


def test_a_prompt_has_a_largest_size() -> None:
    row = {"rows": ["x" * 1000] * 2100}
    with pytest.raises(CannotRender, match=f"{MOST:,} is the most"):
        Template("{% for each in rows %}{{ each }}{% endfor %}").render(row)


def test_what_a_template_says_depends_on_nothing_but_the_row() -> None:
    with pytest.raises(BadTemplate, match="random"):
        Template("{{ rows | random }}")


def test_numbers_are_multiplied_and_divided() -> None:
    assert Expression("3 * n").value({"n": 4}) == 12
    assert Expression("n % 3").value({"n": 4}) == 1
    with pytest.raises(CannotRender):
        Expression("n / 0").value({"n": 4})


def test_an_expression_has_a_value_and_not_its_text() -> None:
    assert Expression("rows | length > 1").value({"rows": [1, 2]}) is True
    assert Expression("rows[:1] + [{'role': 'user'}]").value({"rows": [1, 2]}) == [1, {"role": "user"}]
    with pytest.raises(BadTemplate, match="is no expression"):
        Expression("rows }} and {{ rows")


def test_plain_values_are_what_json_can_say() -> None:
    assert plain({1: (2, {"a": None}), "b": True}) == {"1": [2, {"a": None}], "b": True}
    assert plain({"when": 1j}) == {"when": "1j"}
