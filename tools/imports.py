"""Print which room of the tree imports which: python tools/imports.py [--depth 2] [CHECKOUT].

A room is a module or folder in curate/; with `--depth 2`, one in models/ or steps/. It stands one floor above the
highest that it imports, whether at the top of a file, within a function, or by a name in a table.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping
from pathlib import Path

# Floors whose folders are rooms of their own where one looks closer.
HOUSES = ("models", "steps")

Graph = Mapping[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def module_graph(package: Path) -> dict[str, set[str]]:
    """Each module and the modules of the package that it imports; a package only where a name of its own is wanted."""
    known = modules(package)
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & known.keys()
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= wanted & known.keys()
                if wanted - known.keys() and node.module in known:
                    graph[name].add(node.module)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("curate."):
                graph[name] |= {node.value.split(":")[0]} & known.keys()  # for importlib, when it is used
        graph[name] -= {name}
    return graph


def room_of(module: str, depth: int) -> str:
    """The room of a module: `models.fasttext.train` stands in `models`, and at depth 2 in `models.fasttext`."""
    parts = module.split(".")[1:] or ["curate"]
    return ".".join(parts[: depth if parts[0] in HOUSES else 1])


def room_graph(graph: Graph, depth: int) -> dict[str, set[str]]:
    """Each room and the other rooms that it imports."""
    rooms: dict[str, set[str]] = {room_of(module, depth): set() for module in graph}
    for module, wanted in graph.items():
        room = room_of(module, depth)
        rooms[room] |= {room_of(each, depth) for each in wanted} - {room}
    return rooms


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that import each other, directly or through others; each sorted (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each room: 0 where it imports none; rooms that import each other share one."""
    together = {room: tuple(group) for group in circles(graph) for room in group}
    heights: dict[tuple[str, ...], int] = {}

    def height(room: str) -> int:
        group = together.get(room, (room,))
        if group not in heights:
            below = {other for each in group for other in graph[each]} - set(group)
            heights[group] = 1 + max((height(other) for other in below), default=-1)
        return heights[group]

    return {room: height(room) for room in graph}


def main() -> None:
    """Print the table, the highest floor first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", default=Path(__file__).resolve().parents[1], type=Path)
    parser.add_argument("--depth", type=int, default=1)
    args = parser.parse_args()
    graph = module_graph(args.checkout / "curate")
    rooms = room_graph(graph, args.depth)
    at = floors(rooms)
    for room in sorted(rooms, key=lambda room: (-at[room], room)):
        print(f"{at[room]:>3}  {room:<20} {' '.join(sorted(rooms[room])) or '-'}")
    arrows = sum(len(wanted) for wanted in rooms.values())
    print(f"{len(rooms)} rooms on {max(at.values()) + 1} floors, {arrows} arrows")
    for what, each in (("rooms", rooms), ("modules", graph)):
        groups = circles(each)
        print(f"circles of {what}: {'; '.join(' '.join(group) for group in groups) or 'none'}")


if __name__ == "__main__":
    main()
