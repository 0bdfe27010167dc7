"""The site of the handbook: it builds without a warning and documents every public name."""

import functools
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbclient
import pytest
from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig

import textmad as tm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path):
    """A page outside the navigation, a dead link or a docstring that is no reST is a warning."""
    options = ["-b", "html", "-W", "--keep-going", "-q", "-D", "nb_execution_mode=off"]
    sphinx = [sys.executable, "-m", "sphinx", "-c", str(DOCS), *options]
    answer = subprocess.run(
        [*sphinx, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert 'url=docs/index.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")
    index = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "../recipes/quickstart/README.html" in index
    api = (tmp_path / "docs" / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="textmad.load_recipe"' in api


# --- the API reference ----------------------------------------------------------------------


def public_objects() -> dict[str, object]:
    """What is public by its name after `tm.`: also what a public module calls so or defines."""
    found: dict[str, object] = {}
    for name in tm.__all__:
        value = getattr(tm, name)
        if not isinstance(value, ModuleType):
            found[name] = value
            continue
        defined = [
            each
            for each, member in vars(value).items()
            if not each.startswith("_")
            and getattr(member, "__module__", None) == value.__name__
            and callable(member)
        ]
        names = getattr(value, "__all__", defined)
        found |= {f"{name}.{each}": getattr(value, each) for each in names}
    return found


def documented() -> list[str]:
    """The names after `tm.` of all directives of the API reference."""
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.rst")]
    return re.findall(r"^\.\. (?:auto|py:)\w+:: textmad\.([\w.]+)$", "\n".join(pages), re.MULTILINE)


def test_the_reference_documents_every_public_name_once():
    names = documented()
    assert len(names) == len(set(names))
    objects = [functools.reduce(getattr, name.split("."), tm) for name in names]
    missing = {
        name
        for name, value in public_objects().items()
        if not any(value is each for each in objects)
    }
    assert missing == set()


def test_the_reference_documents_nothing_that_is_not_public():
    public = list(public_objects().values())
    found = {name: functools.reduce(getattr, name.split("."), tm) for name in documented()}
    assert {name for name, each in found.items() if not any(each is p for p in public)} == set()


# --- the notebook ---------------------------------------------------------------------------


@pytest.mark.slow  # a minute
def test_the_notebook_runs_three_generations_draws_them_and_adds_a_filter(tmp_path: Path):
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    notebook = read_myst_markdown_notebook(text, MdParserConfig())
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # an error in a cell is an error here
    figures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(figures) >= 3
    runs = [tm.Run(path) for path in sorted((tmp_path / "runs").iterdir())]
    assert [run.generations for run in runs] == [[0, 1, 2, 3]] * 2
    assert sorted(len(run.recipe.curate) for run in runs) == [0, 1]
