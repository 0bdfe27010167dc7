"""The code blocks of the handbook work: Python runs, commands are parsed, recipes are validated.

A comment before a block, `<!-- not run: WHY -->`, leaves it out and says why.
"""

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

import textmad as tm
from textmad.cli import app
from textmad.recipe import Recipe, load_recipe
from textmad.recipe.yaml_text import parse_override
from textmad.studies import load_study
from textmad.studies.settings import StudySettings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "recipes/**/*.md") for path in ROOT.glob(pattern)
)
COMMANDS = typer.main.get_command(app)
# The modules that recipes of the handbook name, and what docs/write-a-filter.md defines in them.
USER_MODULES = {"my_filters": "class VariedWords", "my_scorers": "def short_is_sweet"}
ENDS_COMMAND = {">", ">>", "|", "&&", ";"}


class Block(NamedTuple):
    page: Path
    line: int
    language: str  # of a fence; "" for an indented block
    text: str
    why_not: str  # "" for a block that is run

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    before = None
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            comment = before.content if before is not None and before.type == "html_block" else ""
            why_not = re.match(r"<!-- not run: (.+) -->", comment)
            line = token.map[0] + 1
            yield Block(page, line, token.info, token.content, why_not[1] if why_not else "")
        before = token


BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in BLOCKS if not block.why_not]


def fenced(language: str) -> list[Block]:
    return [block for block in RUN if block.language == language]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block: without variables, pipes and comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:
            continue  # a quote that goes on in the next line: a program in a here-document
        while words and re.fullmatch(r"\w+=\S*", words[0]):
            words = words[1:]
        end = next((i for i, word in enumerate(words) if word in ENDS_COMMAND), len(words))
        if words:
            yield words[:end]


# A block in sh is one of commands; so is an indented one, line by line, as far as it has any.
SHELL = [
    (block, words)
    for block in RUN
    if block.language in ("", "sh", "bash", "console", "shell")
    for words in commands(block)
]


def calls_of(program: str) -> list[tuple[Block, list[str]]]:
    """The arguments of every call of a program."""
    return [
        (block, words[words.index(program) + 1 :])
        for block, words in SHELL
        if words[0] == program
        or (program == "textmad" and words[0] == "accelerate" and program in words)
    ]


def number(case: tuple[Block, list[str]] | Block) -> str:
    return str(case if isinstance(case, Block) else f"{case[0]} {' '.join(case[1][:2])}")


@pytest.fixture(autouse=True)
def user_modules() -> Iterator[None]:
    """Import the modules of `folder`, and not those of the same name that another test left."""
    for name in USER_MODULES:
        sys.modules.pop(name, None)
    yield
    for name in USER_MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_gpt2_folder: Path, human_corpus: Path
) -> Path:
    """Where blocks run: it holds what they read, runs/mine and the files of a user."""
    folder = tmp_path_factory.mktemp("user")
    recipe = tm.Recipe(
        generations=1,
        corpus={
            "source": str(human_corpus),
            "columns": {"votes": "votes", "conversation": "conversation"},
        },
        model={"base": str(tiny_gpt2_folder), "lora": {"rank": 2}},
        mix={"model_tokens": 200},
        sample={"min_tokens": 200, "max_new_tokens": 30},
        evaluate=["perplexity"],
    )
    run = tm.run(recipe, folder / "runs" / "mine")
    tm.learned_votes.save(tm.learned_votes.fit(run.human), folder / "models" / "votes")
    (folder / "recipe.yaml").write_text((ROOT / "recipes/quickstart/recipe.yaml").read_text())
    page = list(blocks(ROOT / "docs" / "write-a-filter.md"))
    for module, definition in USER_MODULES.items():
        (text,) = [block.text for block in page if definition in block.text]
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    return folder


def test_every_block_in_a_language_is_checked_here_or_elsewhere():
    # Text is a listing; a code cell is one of the notebook, which has its own test.
    known = {"python", "yaml", "sh", "bash", "console", "shell", "", "text", "{code-cell} ipython3"}
    assert {block.language for block in RUN} - known - {"{toctree}"} == set()


# The README's example is run with small settings by test_readme.py.
PYTHON = [block for block in fenced("python") if block.page != ROOT / "README.md"]


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}), ids=lambda p: p.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    names: dict[str, object] = {}
    for block in [block for block in PYTHON if block.page == page]:
        script = folder / f"{page.stem}_{block.line}.py"  # a filter's source has to be in a file
        script.write_text(block.text, encoding="utf-8")
        own = runpy.run_path(str(script), names, run_name="__main__")
        names |= {name: value for name, value in own.items() if not name.startswith("__")}


@pytest.mark.parametrize("block", fenced("yaml"), ids=number)
def test_yaml_is_a_recipe_or_a_study_that_is_accepted(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    path = folder / "block.yaml"
    path.write_text(block.text, encoding="utf-8")
    keys = yaml.safe_load(block.text).keys()
    if keys & (StudySettings.model_fields.keys() - Recipe.model_fields.keys()):
        assert load_study(path).arms
    else:
        assert load_recipe(path).dump()


@pytest.mark.parametrize("case", calls_of("textmad"), ids=number)
def test_a_call_of_textmad_is_one_that_the_command_line_takes(case: tuple[Block, list[str]]):
    _, (name, *arguments) = case
    if name == "--help":
        return
    command = COMMANDS.commands[name]
    with command.make_context(name, list(arguments)) as context:
        parsed = context.params
    paths = [word for word in arguments if word.startswith("recipes/")]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for path in [ROOT / path for path in paths]:
        if parsed.get("set_"):
            load = load_study if path.name == "study.yaml" else load_recipe
            load(path, dict(map(parse_override, parsed["set_"])))


@pytest.mark.parametrize("case", calls_of("make"), ids=number)
def test_a_target_of_make_is_in_the_makefile(case: tuple[Block, list[str]]):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(case[1]) <= set(targets)


@pytest.mark.parametrize("case", calls_of("python"), ids=number)
def test_a_script_of_a_command_is_there(case: tuple[Block, list[str]]):
    scripts = [word for word in case[1][:1] if word.startswith("scripts/")]
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_pages_hold_blocks_of_every_kind():
    """Else one of the tests above would check nothing."""
    assert len(PYTHON) > 5
    assert len(fenced("yaml")) > 10
    assert len(calls_of("textmad")) > 30
    assert {case[1][0] for case in calls_of("textmad")} >= {"plan", "run", "study", "compare"}
    assert calls_of("make")
    assert calls_of("python")
