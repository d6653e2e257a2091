"""Print how the packages are structured: ``python bench/structure.py [REVISION]`` (default: the working tree).

======== ==============================================================================================
modules  Python modules without migrations
root     modules in the package's root beyond the standard ones (apps, conf, models, …)
short    modules under 50 lines, without ``__init__``
lines    lines of source, including blank lines
Any      share of parameters that are annotated with bare ``Any``, without ``*args`` and ``**kwargs``
circles  groups of modules that import each other, including imports inside functions but not for types only
======== ==============================================================================================

Below the table: the number of pairs of modules that share six or more equal lines, within and between packages.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import PurePosixPath

STANDARD = {
    *("__init__", "admin", "apps", "base", "checks", "conf", "events", "exceptions", "managers", "middleware"),
    *("models", "permissions", "services", "testing", "urls"),
}
RUN = 6
"""How many equal lines in a row make a duplicate."""
COMMON = 8
"""A run that stands in more modules than this is an idiom."""


class Module:
    def __init__(self, path: PurePosixPath, text: str) -> None:
        inside = path.parts[path.parts.index("src") + 1 :]
        self.package, self.in_root = inside[0], len(inside) == 2
        self.stem, self.text, self.tree = path.stem, text, ast.parse(text)
        self.name = ".".join(inside).removesuffix(".py").removesuffix(".__init__")

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def imports(self) -> Iterator[str]:
        """Yield every imported name that could be a module, without imports for types only."""
        skipped: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
        for node in ast.walk(self.tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def parameters(self) -> Iterator[ast.arg]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                    if argument.arg not in {"self", "cls"}:
                        yield argument

    def runs(self) -> Iterator[tuple[str, ...]]:
        lines = [line.strip() for line in self.text.splitlines()]
        lines = [line for line in lines if line and not line.startswith(("import ", "from ", "#"))]
        for start in range(len(lines) - RUN + 1):
            yield tuple(lines[start : start + RUN])


def modules(revision: str | None) -> list[Module]:
    """Return the modules of a revision, or the tracked modules of the working tree."""
    name = revision or subprocess.run(["git", "stash", "create"], check=True, capture_output=True, text=True).stdout
    command = ["git", "archive", name.strip() or "HEAD", "packages"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    found = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            path = PurePosixPath(member.name)
            if path.suffix == ".py" and "src" in path.parts and "migrations" not in path.parts:
                content = files.extractfile(member)
                assert content
                found.append(Module(path, content.read().decode()))
    return found


def circles(own: list[Module]) -> list[list[str]]:
    """Return the strongly connected groups of more than one module (Tarjan)."""
    names = {module.name for module in own}
    graph = {
        # A package's __init__ runs before its submodules in any case.
        module.name: {
            name for name in module.imports() if name in names and not f"{module.name}.".startswith(f"{name}.")
        }
        for module in own
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in graph[name]:
            if target not in order:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(group)

    for name in graph:
        if name not in order:
            visit(name)
    return groups


def duplicates(everything: list[Module]) -> tuple[int, int]:
    """Return the number of pairs of modules that share a run of lines, within packages and between them."""
    places: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, module in enumerate(everything):
        for run in module.runs():
            places[run].add(number)
    pairs = {pair for held in places.values() if len(held) <= COMMON for pair in combinations(sorted(held), 2)}
    between = sum(everything[a].package != everything[b].package for a, b in pairs)
    return len(pairs) - between, between


def main(revision: str | None) -> None:
    everything = modules(revision)
    print(f"{'':20}{'modules':>8}{'root':>6}{'short':>6}{'lines':>7}{'Any':>6}{'circles':>8}")
    for package in sorted({module.package for module in everything}):
        own = [module for module in everything if module.package == package]
        root = sum(module.in_root and module.stem not in STANDARD for module in own)
        short = sum(module.lines < 50 and module.stem != "__init__" for module in own)
        parameters = [argument for module in own for argument in module.parameters()]
        bare = sum(isinstance(a.annotation, ast.Name) and a.annotation.id == "Any" for a in parameters)
        print(
            f"{package:20}{len(own):8}{root:6}{short:6}{sum(module.lines for module in own):7}"
            f"{bare / max(len(parameters), 1):6.0%}{len(circles(own)):8}"
        )
    print(f"{'':20}{len(everything):8}{'':12}{sum(module.lines for module in everything):7}")
    print("Pairs of modules that share lines: {} within packages, {} between".format(*duplicates(everything)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
