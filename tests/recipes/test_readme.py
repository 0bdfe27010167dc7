"""The Python example of the README runs as it stands, but for its size; commands are listed."""

import re
import runpy
from pathlib import Path

import pytest

import textmad as tm
from textmad import errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
OVERRIDES = '{"generations": 3, "sample.oversample": 4.0}'
SMALL = """{
    "generations": 3, "sample.oversample": 4.0, "mix.model_tokens": 150, "train.epochs": 1,
    "sample.min_tokens": 150, "sample.max_new_tokens": 24, "sample.slots": 16,
    "corpus.max_documents": 300,
}"""


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert OVERRIDES in code
    assert 'out="runs/' in code
    script = tmp_path / "example.py"
    code = code.replace(OVERRIDES, SMALL).replace('out="runs/', f'out="{tmp_path}/')
    script.write_text(code, encoding="utf-8")
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = runpy.run_path(str(script), run_name="__main__")["run"]
    assert run.generations == [0, 1, 2, 3]
    assert {"upvotes", "__main__:VariedWords", ""} >= set(run.candidates(2)["filter"])
    assert "perplexity" in capsys.readouterr().out


def test_every_exit_code_is_in_the_handbook():
    cells = re.findall(r"^\| ([\d, ]+) \|", COMMANDS, re.MULTILINE)
    table = {int(number) for cell in cells for number in cell.split(",")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, tm.TextmadError)}
    assert table == {0, *codes, 130, 143}


def test_every_command_is_in_the_handbook():
    from textmad.cli import app

    commands = {
        command.name or command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
    }
    assert set(re.findall(r"^\| `textmad ([\w-]+)", COMMANDS, re.MULTILINE)) == commands


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
