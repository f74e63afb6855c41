"""How large the package is and how its rooms hang together.

    python benchmarks/structure.py [--root CHECKOUT]

A room is a module or package directly below `kdnas/`. An arrow leads from one room to another that
it imports; arrows between rooms that import each other, also by way of others, form cycles.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from statistics import median

import networkx as nx
from command_line import in_one_line

from kdnas.errors import KdnasError


def rooms_of(imported: str) -> str | None:
    """The room of a dotted module name."""
    parts = imported.split(".")
    return parts[1] if parts[0] == "kdnas" and len(parts) > 1 else None


def measure(root: Path) -> dict[str, object]:
    """Counts of a checkout."""
    files = sorted((root / "kdnas").rglob("*.py"))
    lengths, functions = [], 0
    modules, rooms = nx.DiGraph(), nx.DiGraph()
    names = {path.stem for path in (root / "kdnas").iterdir()}
    for file in files:
        text = file.read_text(encoding="utf-8")
        lengths.append(len(text.splitlines()))
        name = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        own = rooms_of(name)
        for node in ast.walk(ast.parse(text)):
            functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            targets = []
            if isinstance(node, ast.ImportFrom) and node.module:
                targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            for target in targets:
                other = rooms_of(target)
                if own and other in names and other != own:
                    rooms.add_edge(own, other)
                modules.add_edge(name, target)
    known = {".".join(f.relative_to(root).with_suffix("").parts) for f in files}
    inner = modules.subgraph(known)
    return {
        "files": len(files),
        "lines": sum(lengths),
        "median_file": median(lengths),
        "functions": functions,
        "rooms": rooms.number_of_nodes(),
        "room_arrows": rooms.number_of_edges(),
        "rooms_in_cycles": sum(
            len(c) for c in nx.strongly_connected_components(rooms) if len(c) > 1
        ),
        "room_arrows_in_cycles": sum(
            rooms.subgraph(c).number_of_edges() for c in nx.strongly_connected_components(rooms)
        ),
        "module_arrows": inner.number_of_edges(),
        "modules_in_cycles": sum(
            len(c) for c in nx.strongly_connected_components(inner) if len(c) > 1
        ),
    }


@in_one_line()
def main() -> None:
    """Prints the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().root
    if not (root / "kdnas").is_dir():
        raise KdnasError(f"--root {root} has no folder kdnas; give a checkout")
    print(json.dumps(measure(root), indent=2))


if __name__ == "__main__":
    main()
