"""No import runs upward: each part of the library uses those below it, and none beside it."""

import ast

from tests.conftest import ROOT

# From the bottom: a part may import itself and what stands in the lines above it.
LAYERS = [
    [
        "errors",
        "program",
        "files",
        "allocator",
        "threads",
        "machine_code",
        "provenance",
        "metrics",
        "networks",
        "packed_rules",
        "runs",
        "records",
        "reading",
        "labels",
        "tables",
    ],
    ["data"],
    ["params", "profiles", "packed", "upscaling", "inference"],
    ["models"],
    ["packing", "importing"],
    ["engine"],
    ["default_mode"],
    ["exporting"],
    ["training", "evaluation", "benchmark"],
    ["zoo"],
    ["reporting", "cluster"],
    ["cli", "commands"],
]
TOGETHER = ({"params", "profiles"}, {"upscaling", "inference"}, {"packing", "importing"})
OTHER_NAMES_OF_COMMANDS = {"engine/bench.py", "engine/tune.py", "training_speed.py", "__main__.py"}


def part_of(path):
    return path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]


def imports(path):
    """The parts of the library that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pipeline":
            names = [node.module] if node.module != "pipeline" else [f"pipeline.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("pipeline.")]
        else:
            continue
        yield from (name.split(".")[1] for name in names)


def test_no_import_runs_upward():
    height = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong, seen = [], set()
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        name = str(path.relative_to(ROOT / "pipeline"))
        if name in OTHER_NAMES_OF_COMMANDS or name == "__init__.py":
            continue
        part = part_of(path)
        seen.add(part)
        for other in imports(path):
            alike = height[other] == height[part] and (height[part] == 0 or {part, other} in TOGETHER)
            if other != part and height[other] >= height[part] and not alike:
                wrong.append(f"{name} imports {other}")
    assert wrong == []
    assert seen == set(height)
