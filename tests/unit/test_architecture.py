"""Which module may import which, what loads torch, and what is public."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import textmad as tm
from textmad.store import provenance

PACKAGE = Path(tm.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

PARTS = {path.parts[0].removesuffix(".py") for path in MODULES}
# Importing any of these imports torch.
LOADS_TORCH = {"torch", "transformers", "peft", "accelerate", "safetensors.torch"}


def part_of(path: Path) -> str:
    """The package or module directly below textmad that a file belongs to."""
    return path.parts[0].removesuffix(".py")


def imports(tree: ast.AST, *, also_in_functions: bool) -> Iterator[str]:
    """Full names of what is imported when the code runs, not under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not also_in_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node, also_in_functions=also_in_functions)


def dotted(path: Path) -> str:
    """The full name of a module, from its path below the package."""
    return ".".join(("textmad", *path.with_suffix("").parts)).removesuffix(".__init__")


def textmad_parts(path: Path) -> set[str]:
    """The parts of textmad that a module imports, at its top or inside a function."""
    names = imports(ast.parse((PACKAGE / path).read_text()), also_in_functions=True)
    below = [name.split(".")[1:2] for name in names if name.split(".")[0] == "textmad"]
    return {part[0] if part and part[0] in PARTS else "__init__" for part in below}


def test_imports_are_seen_in_functions_and_not_under_type_checking():
    tree = ast.parse(
        "from textmad import store\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def later():\n    from textmad.cli import app\n"
    )
    assert list(imports(tree, also_in_functions=True)) == ["textmad.store", "textmad.cli.app"]
    assert list(imports(tree, also_in_functions=False)) == ["textmad.store"]


def module_imports(path: Path) -> set[str]:
    """The modules of textmad that a module imports, by full name, for type checkers too."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    modules = {dotted(each) for each in MODULES} - {"textmad"}
    # `from textmad.store import Run` imports the package; `from textmad import store` does too.
    return (names & modules) - {dotted(path)}


def layers() -> list[list[str]]:
    """The parts from the top down; each stands one line above the highest that it imports.

    Raises:
        graphlib.CycleError: an import points up; it names the circle.
    """
    graph: dict[str, set[str]] = {part: set() for part in PARTS - {"__main__", "__init__"}}
    for path in MODULES:
        if part_of(path) in graph:
            others = {name.split(".")[1] for name in module_imports(path)} - {part_of(path)}
            graph[part_of(path)] |= others
    height: dict[str, int] = {}
    for part in graphlib.TopologicalSorter(graph).static_order():
        height[part] = 1 + max((height[below] for below in graph[part]), default=-1)
    return [
        sorted(part for part in height if height[part] == level)
        for level in range(max(height.values()), -1, -1)
    ]


def test_contributing_shows_the_layers_that_the_imports_make():
    picture = "".join(f"    {'  '.join(layer)}\n" for layer in layers())
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert picture in text, f"the imports have changed; the picture is now:\n\n{picture}"


def test_no_module_imports_itself_through_others():
    graph = {dotted(path): module_imports(path) for path in MODULES if path.stem != "__init__"}
    leaves = set(graph)
    graph = {name: wanted & leaves for name, wanted in graph.items()}
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which names the circle


def test_no_stage_depends_on_what_is_left_out_of_the_code_version():
    left_out = {name.removesuffix(".py") for name in provenance._NOT_IN_RESULTS}
    assert left_out <= PARTS
    needed = [path for path in MODULES if part_of(path) not in left_out]
    wanted = {part for path in needed for part in textmad_parts(path) & left_out}
    # Progress and the version are told to people; neither is part of a result.
    assert wanted <= {"progress", "version"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_models_and_the_loop_load_torch_when_imported(path):
    names = set(imports(ast.parse((PACKAGE / path).read_text()), also_in_functions=False))
    loading = {
        name for name in names for heavy in LOADS_TORCH if f"{name}.".startswith(f"{heavy}.")
    }
    assert not loading or part_of(path) in {"models", "loop", "base_models"}


def test_importing_all_but_the_models_and_the_loop_loads_no_torch():
    heavy = {"models", "loop", "base_models", "__main__"}
    light = {dotted(path) for path in MODULES if part_of(path) not in heavy}
    light = {name for name in light if "metric_scripts" not in name}  # `evaluate` loads torch
    light |= {f"textmad.models.{name}" for name in ("base_files", "opening", "protocol")}
    steps = [  # what is imported, and what has not been loaded then
        (["textmad.curation"], {"torch", "datasets", "pandas", "scipy"}),
        (["textmad.corpus", "textmad.evaluators"], {"torch", "datasets", "evaluate"}),
        (sorted(light), {"torch", "transformers", "peft"}),
    ]
    program = "import sys" + "".join(
        f"\nimport {', '.join(names)}\nprint(sorted({absent} & sys.modules.keys()))"
        for names, absent in steps
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert done.stdout == "[]\n" * len(steps), done.stderr


# --- the public names -----------------------------------------------------------------------


def type_checked_names() -> dict[str, str]:
    """The public names and their homes, as a type checker sees them in `__init__.py`."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_public_name_is_there_and_is_what_a_type_checker_takes_it_for():
    assert sorted(type_checked_names()) == tm.__all__ == sorted(tm.__all__)
    for name, home in type_checked_names().items():
        module, _, attribute = home.rpartition(".")
        try:
            expected = importlib.import_module(home)
        except ModuleNotFoundError:
            expected = getattr(importlib.import_module(module), attribute)
        assert getattr(tm, name) is expected
    assert set(tm.__all__) <= set(dir(tm))


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'textmad' has no attribute 'collapse'"):
        tm.collapse  # noqa: B018


def test_every_error_of_the_tree_is_public():
    errors = importlib.import_module("textmad.errors")
    tree = {name for name in vars(errors) if name.endswith("Error")}
    assert tree <= set(tm.__all__)
    assert {name for name in tm.__all__ if name.endswith("Error")} == tree


def test_every_name_that_the_handbook_uses_is_public():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/**/*.md")]
    texts = [path.read_text() for path in [*pages, *PACKAGE.rglob("*.py")] if path.is_file()]
    used = {name for text in texts for name in re.findall(r"\btm\.(\w+)", text)}
    assert {"run", "load_recipe"} <= used
    assert used <= set(tm.__all__)
