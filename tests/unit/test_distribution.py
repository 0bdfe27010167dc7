"""What is released: the sdist, the wheel that pip makes of it, and what an index shows of it."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import textmad as tm

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
# Settings under which a run takes seconds.
TINY = """
generations: 1
corpus: {source: chitchat, max_documents: 300}
mix:    {model_tokens: 150}
sample: {min_tokens: 150, max_new_tokens: 24, slots: 16}
evaluate: [perplexity]
"""


def run(*command: object, folder: Path) -> str:
    """What a command prints when it runs in a folder, without this checkout on Python's path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_every_pinned_package_runs_on_the_least_python_that_the_project_names():
    least = PROJECT["requires-python"].removeprefix(">=") + ".0"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("==")[0] for line in lines if "==" in line]
    wanted = {}
    for name in pinned:
        try:
            wanted[name] = metadata(name)["Requires-Python"]
        except PackageNotFoundError:  # of an extra that is not installed for the tests
            continue
    assert len(wanted) > 100
    too_new = {n: r for n, r in wanted.items() if r and not SpecifierSet(r).contains(least)}
    assert too_new == {}


class Built(NamedTuple):
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of this checkout, and the wheel that pip builds from the sdist alone."""
    from hatchling.builders.sdist import SdistBuilder

    folder = tmp_path_factory.mktemp("built")
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(folder))
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, sdist, folder=folder)
    (wheel,) = folder.glob("*.whl")
    return Built(Path(sdist), wheel)


def test_the_citation_names_this_version_and_this_licence():
    assert CITATION["version"] == PROJECT["version"] == tm.__version__
    assert CITATION["license"] == PROJECT["license"]


def test_only_a_python_that_the_tests_run_on_is_declared_as_tested():
    declared = {
        version
        for name in PROJECT["classifiers"]
        for version in re.findall(r"Python :: (3\.\d+)$", name)
    }
    assert declared == {"3.11"}
    assert sys.version_info[:2] == (3, 11)


def test_the_page_on_an_index_links_to_nothing_that_is_missing_there(built: Built):
    with ZipFile(built.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        page = Parser().parsestr(archive.read(name).decode()).get_payload()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = r"\]\((?!https?://)[^)]*\)"
    assert re.findall(relative, readme)
    assert not re.findall(relative, page)
    assert re.findall(r"^#+ .*", page, re.MULTILINE) == re.findall(r"^#+ .*", readme, re.MULTILINE)


def test_the_wheel_holds_every_file_of_the_package_and_of_the_recipes(built: Built):
    with ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    tracked = run("git", "ls-files", "textmad", "recipes", "data", folder=ROOT).splitlines()
    places = {"textmad": "textmad", "recipes": "textmad/data/recipes", "data": "textmad/data"}
    expected = {
        re.sub("^[a-z]+", lambda folder: places[folder[0]], name)
        for name in tracked
        if (ROOT / name).is_file()
    }
    assert "textmad/py.typed" in expected
    assert expected <= names


@pytest.mark.slow
def test_an_installed_wheel_plans_runs_and_reports_from_an_empty_folder(
    built: Built, tmp_path: Path
):
    environment, folder = tmp_path / "environment", tmp_path / "empty"
    folder.mkdir()
    run(sys.executable, "-m", "venv", environment, folder=tmp_path)
    python = environment / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--quiet")
    run(python, "-m", "pip", "install", *offline, built.wheel, folder=folder)
    # textmad's dependencies are those of the tests; a path in a .pth file is searched last, and the
    # editable textmad there is found by a .pth file of its own, which is not read.
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = run(python, "-c", "import textmad; print(textmad.__file__)", folder=folder)
    assert Path(where.strip()).is_relative_to(environment)
    listed = run(
        python,
        "-c",
        "from textmad.shipped import shipped_recipes as s; print(s()['quickstart/recipe'])",
        folder=folder,
    )
    shipped = Path(listed.strip())
    assert shipped.is_relative_to(environment)

    textmad = environment / "bin" / "textmad"
    assert "plan" in run(textmad, "--help", folder=folder)
    assert "generations" in run(textmad, "plan", shipped, folder=folder)
    (folder / "recipe.yaml").write_text(TINY, encoding="utf-8")
    run(textmad, "run", "recipe.yaml", "--out", "runs/tiny", folder=folder)
    page = folder / "report.html"
    run(textmad, "report", "runs/tiny", "--out", page, folder=folder)
    assert "Perplexity" in page.read_text(encoding="utf-8")
