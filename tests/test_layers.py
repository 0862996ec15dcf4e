"""Who may import whom: each room stands on a floor, and imports only from the floors below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from curate.text.native import kernels_key
from tests.helpers import ROOT
from tools.imports import circles, module_graph, modules, room_graph, room_of

PACKAGE = ROOT / "curate"

# From the ground up; the rooms of one floor do not know each other.
FLOORS = (
    {"core"},
    {"text", "generate"},
    {"models"},
    {"steps"},
    {"kinds"},
    {"report", "explain", "warm"},
    {"pipeline"},
    {"cli"},
    {"curate", "__main__"},
)
# The steps that know another, and why.
BETWEEN_STEPS = {
    ("route", "synthesize"): "a replay asks a cascade's models as the cascade would",
    ("route", "verify"): "answers are compared by the numbers in them",
    ("student", "route"): "a student learns on the features of a router",
    ("synthesize", "verify"): "answers are filtered by the functions that verify rows",
    ("verify", "clean"): "personal data is found by the cleaner that redacts it",
    ("weak", "verify"): "some labelers are verifiers",
}
# What makes a function a native kernel.
DECORATORS = {f"curate.text.native.{name}" for name in ("compiled", "inlined", "intrinsic", "kernel")}


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in modules(PACKAGE).values():
        yield path, ast.parse(path.read_text())


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_a_room_imports_only_from_the_floors_below_it() -> None:
    floor_of = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
    upward = {
        (module, other)
        for module, wanted in module_graph(PACKAGE).items()
        for other in wanted
        if room_of(module, 1) != room_of(other, 1) and floor_of[room_of(other, 1)] >= floor_of[room_of(module, 1)]
    }
    assert not upward


def test_a_step_knows_another_only_for_a_reason() -> None:
    arrows = {
        (room.removeprefix("steps."), other.removeprefix("steps."))
        for room, wanted in room_graph(module_graph(PACKAGE), 2).items()
        for other in wanted
        if room.startswith("steps.") and other.startswith("steps.")
    }
    assert arrows == set(BETWEEN_STEPS)


def test_no_two_modules_or_rooms_import_each_other() -> None:
    assert not circles(module_graph(PACKAGE))
    assert not circles(room_graph(module_graph(PACKAGE), 2))


def test_ray_is_imported_in_one_place_that_runs_ask_for_by_name() -> None:
    for path, tree in parsed():
        found = imports(tree)
        assert "curate.core.engine.ray" not in found, f"{path}: ask for it by name, when a run does"
        if path.relative_to(PACKAGE).as_posix() != "core/engine/ray.py":
            assert not any(name.split(".")[0] == "ray" for name in found), path


def test_code_that_native_kernels_are_made_of_is_where_the_cache_looks_for_it() -> None:
    for path, tree in parsed():
        if "text" not in path.relative_to(PACKAGE).parts[:1] and not path.name.endswith("_kernel.py"):
            assert not DECORATORS & imports(tree), f"{path}: call it *_kernel.py"


def test_an_edit_of_any_kernel_asks_for_machine_code_of_its_own(tmp_path: Path) -> None:
    copies = {}
    for path in modules(PACKAGE).values():
        copy = tmp_path / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        if DECORATORS & imports(ast.parse(path.read_text())):
            copies[copy] = path.read_bytes()
    before = kernels_key(tmp_path)
    assert len(copies) > 30
    for copy, source in copies.items():
        copy.write_bytes(source + b"\n# edited\n")
        assert kernels_key(tmp_path) != before, copy
        copy.write_bytes(source)
    assert kernels_key(tmp_path) == before == kernels_key(PACKAGE)


def test_no_file_grows_past_350_lines() -> None:
    long = {
        p.name: n
        for p in modules(PACKAGE).values()
        if (n := len(p.read_text().splitlines())) > 350 and "tables" not in p.name
    }
    assert not long
