"""Sweeps of faults over a small run: what is left is resumed, and ends with the same bytes.

    python -m tests.faults.sweeps FOLDER KIND=EVERY...

tries every EVERYth case of each kind and prints the counts and what went wrong as JSON. A program
of its own: it forks where everything is imported, so that a case costs no start.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import textmad as tm
from tests.faults.disk import Disk, Tree, plant, shape, stable, tree, without_unfinished
from tests.faults.intercepted import KILL, READING, Operation, run_forked, run_intercepted
from textmad.analysis.compare import compare
from textmad.errors import TextmadError
from textmad.report import write_report
from textmad.report.comparison.page import write_comparison
from textmad.store import provenance

# Records of the sessions, not of the result.
SESSIONS = {".lock", "provenance.json", "log.txt", "report.html"}
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT}
REMEDIES = {
    "EIO": "check the disk",
    "ENOSPC": "free some space",
    "EDQUOT": "free some space",
}


@dataclass
class Outcome:
    """How the cases of a sweep ended."""

    cases: int = 0
    same: int = 0  # ended with the bytes, or the numbers, of the undisturbed run
    rejected: int = 0  # ended with an error that says what to do
    faults: list[str] = field(default_factory=list)


class Answer(NamedTuple):
    """What a child said at its end: exit code, and message or traceback."""

    code: int
    message: str


class State(NamedTuple):
    """What is left of a run that ends before an operation."""

    number: int  # of the operation, among those that write
    where: str
    left: Tree


class Case(NamedTuple):
    """An operation: of its kind on this file, the how-manieth."""

    name: str
    path: str
    number: int


class Sweeps:
    """A folder for the cases, the recipe of the small run, and its undisturbed result."""

    def __init__(self, folder: Path, recipe: tm.Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.whole = folder / "whole" / "run"
        tm.run(recipe, self.whole)
        self.expected = results(self.whole)
        freeze()
        self.random = random.Random(0)
        self.within = ""  # errors come below this path alone, and
        self.before: Tree | None = None  # in a run that has come so far
        self._resumed: set[int] = set()  # shapes of what was resumed, with the right result

    # --- kills and power losses -----------------------------------------------------------------

    def kill(self, every: int) -> Outcome:
        """SIGKILL before each operation that writes; the run goes on with the same bytes.

        A kill leaves what is in the folder at that moment. So each moment's content is kept, and
        resumed; a few kills are carried out, to see that they leave just that.
        """
        states = self._states(lambda disk, out: [tree(out)])
        outcome = self._resume_all(states[::every], may_reject=False)
        for state in states[len(states) // 10 :: len(states) // 4]:
            self._kill_at(state)
        return outcome

    def _kill_at(self, state: State) -> None:
        out, number = self._place(), 0

        def decide(operation: Operation) -> int:
            nonlocal number
            number += not operation.is_reading
            return KILL if number > state.number else 0

        code = run_intercepted(lambda: said(lambda: tm.run(self.recipe, out)), out, decide)
        assert code == -signal.SIGKILL
        assert shape(tree(out), SESSIONS) == shape(state.left, SESSIONS), state.where
        shutil.rmtree(out.parent)

    def power(self, every: int) -> Outcome:
        """Power loss before each operation that writes: what was not synced is not there."""
        states = self._states(
            lambda disk, out: [disk.after_power_loss(), disk.after_power_loss_of_contents()]
        )
        return self._resume_all(states[::every], may_reject=True)

    def _states(self, left: Callable[[Disk, Path], list[Tree]]) -> list[State]:
        """Every different state that a run is in before an operation that writes."""
        out = self._place()
        disk, number = Disk(out), 0
        states: dict[int, State] = {}

        def decide(operation: Operation) -> int:
            nonlocal number
            if not operation.is_reading:
                where = f"before operation {number}, {operation.name} {_short(operation, out)}"
                for found in left(disk, out) if out.exists() else []:
                    states.setdefault(shape(found), State(number, where, found))
                number += 1
                disk.note(operation)
            return 0

        code = run_intercepted(lambda: said(lambda: tm.run(self.recipe, out)), out, decide)
        assert code == 0, f"the undisturbed run ended with {code}"
        assert results(out) == self.expected
        disk.close()
        shutil.rmtree(out.parent)
        return list(states.values())

    def _resume_all(self, states: Sequence[State], *, may_reject: bool) -> Outcome:
        outcome = Outcome()
        for state in states:
            out = self._place()
            plant(state.left, out)
            self._resume(out, state.where, outcome, may_reject=may_reject)
        return outcome

    def _resume(self, out: Path, where: str, outcome: Outcome, *, may_reject: bool) -> None:
        """Count how a run that was left unfinished ends; the same files are resumed once."""
        outcome.cases += 1
        left = shape(without_unfinished(tree(out)), SESSIONS)
        if left in self._resumed:
            outcome.same += 1
            shutil.rmtree(out.parent)
            return
        answer = self._in_child(lambda: tm.run(self.recipe, out))
        if answer.code == 0:
            if self._count_results(out, where, outcome):
                self._resumed.add(left)
        elif may_reject and answer.code == 73 and "delete" in answer.message:
            outcome.rejected += 1
        else:
            outcome.faults.append(f"{where}: resumed: {answer.code}: {answer.message}")
        shutil.rmtree(out.parent)

    def _count_results(self, out: Path, where: str, outcome: Outcome) -> bool:
        """Count whether the results are those of the undisturbed run; return it."""
        differing = different(results(out), self.expected)
        if differing:
            outcome.faults.append(f"{where}: other bytes: {', '.join(differing)}")
        else:
            outcome.same += 1
        return not differing

    # --- errors of the disk -----------------------------------------------------------------

    def error(self, every: int, name: str) -> Outcome:
        """An error at each operation of a run, then, with the disk mended, the same command.

        EIO comes once, at operations that read too; a full disk stays full, and a quota says so
        also when a file is synced or closed.
        """
        out, outcome = self._begun(), Outcome()
        cases: list[Case] = []
        counted: Counter[Case] = Counter()

        def note(operation: Operation) -> int:
            if _can_fail(name, operation) and _short(operation, out).startswith(self.within):
                cases.append(_case(operation, out, counted))
            return 0

        assert run_intercepted(lambda: said(lambda: tm.run(self.recipe, out)), out, note) == 0
        shutil.rmtree(out.parent)
        for case in _without_repetition(cases)[::every]:
            self._one_error(name, case, outcome)
        return outcome

    def _one_error(self, name: str, case: Case, outcome: Outcome) -> None:
        out, has_failed = self._begun(), False
        counted: Counter[Case] = Counter()

        def decide(operation: Operation) -> int:
            nonlocal has_failed
            if not (_can_fail(name, operation) and _short(operation, out).startswith(self.within)):
                return 0
            is_it = _case(operation, out, counted) == case
            if is_it or (has_failed and name == "ENOSPC"):
                has_failed = True
                return ERRORS[name]
            return 0

        answer = self._in_child(lambda: tm.run(self.recipe, out), out, decide)
        where = f"{name} at {case.name} {case.path} ({case.number})"
        if answer.code not in (0, 73) or (answer.code and REMEDIES[name] not in answer.message):
            outcome.cases += 1
            outcome.faults.append(f"{where}: {answer.code}: {answer.message}")
        elif not has_failed:
            outcome.faults.append(f"{where}: the operation did not come")
        else:
            self._resume(out, where, outcome, may_reject=False)
        shutil.rmtree(out.parent, ignore_errors=True)

    # --- damaged files ----------------------------------------------------------------------

    def damage(self, every: int) -> Outcome:
        """Damage each file of a finished run; resume, report and compare it."""
        control = self._place()
        tm.run(self.recipe.replace(curate=[]), control)
        out, outcome = self._place(), Outcome()
        shutil.copytree(self.whole, out)

        def report(run: Path) -> bytes:
            return write_report([tm.Run(run)], self.folder / "page.html").read_bytes()

        def compared(run: Path) -> bytes:
            comparison = compare([run, control], control=str(control))
            files = write_comparison(comparison, self.folder / "comparison")
            return b"".join(path.read_bytes() for path in sorted(files))

        readers = {"report": report, "compare": compared}
        # Here and not in a child, so that what pages are drawn with is imported once.
        expected = {name: read(out) for name, read in readers.items()}
        assert all(expected.values())
        freeze()
        cases = [(path, kind) for path in sorted(tree(out)) for kind in DAMAGES]
        for name, kind in cases[::every]:
            path = out / name
            if path.is_dir():
                continue
            whole = path.read_bytes()
            harmed = DAMAGES[kind](whole, self.random)
            if harmed == whole:
                continue
            path.write_bytes(harmed) if harmed is not None else path.unlink()
            for reader, read in readers.items():
                outcome.cases += 1
                where = f"{kind} of {name}: {reader}"
                answer = self._in_child(lambda read=read: self._keep(read(out)))
                if answer.code == 0 and self._kept() == expected[reader]:
                    outcome.same += 1
                elif _is_rejected(answer, name):
                    outcome.rejected += 1
                elif answer.code == 0:
                    outcome.faults.append(f"{where}: other numbers")
                else:
                    outcome.faults.append(f"{where}: {answer.code}: {answer.message}")
            resumed = self._place()
            shutil.copytree(out, resumed)
            self._resume_damaged(resumed, name, f"{kind} of {name}", outcome)
            path.write_bytes(whole)
        return outcome

    def _resume_damaged(self, out: Path, name: str, where: str, outcome: Outcome) -> None:
        outcome.cases += 1
        answer = self._in_child(lambda: tm.run(self.recipe, out))
        if answer.code == 0:
            self._count_results(out, where, outcome)
        elif _is_rejected(answer, name):
            outcome.rejected += 1
        else:
            outcome.faults.append(f"{where}: resume: {answer.code}: {answer.message}")
        shutil.rmtree(out.parent)

    def _keep(self, data: bytes) -> None:
        (self.folder / "read").write_bytes(data)

    def _kept(self) -> bytes:
        return (self.folder / "read").read_bytes()

    # --- children ---------------------------------------------------------------------------

    def _place(self) -> Path:
        """A new folder's path; its name is always the same, as pages hold it."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "run"

    def _begun(self) -> Path:
        """A new folder's path, where errors are to come late with what was done before."""
        out = self._place()
        if self.before is not None:
            plant(self.before, out)
        return out

    def _in_child(
        self,
        body: Callable[[], Any],
        out: Path | None = None,
        decide: Callable[[Operation], int] = lambda operation: 0,
    ) -> Answer:
        """Run `body` in a forked child; with `out` its operations there are decided about."""
        saying = self.folder / "said"
        saying.write_text("")
        if out is None:
            code = run_forked(lambda: said(body, saying))
        else:
            code = run_intercepted(lambda: said(body, saying), out, decide)
        return Answer(code, saying.read_text())


def freeze() -> None:
    """Keep what is in memory from being counted, which would copy it in every child."""
    gc.collect()
    gc.freeze()


def said(body: Callable[[], Any], saying: Path | None = None) -> None:
    """Call `body`; leave as the command line does, with the exit code of the error."""
    try:
        body()
    except TextmadError as error:
        code, message = error.exit_code, str(error)
    except BaseException:
        code, message = 1, traceback.format_exc()
    else:
        return
    if saying is None:
        print(message, file=sys.stderr)
    else:
        saying.write_text(message)
    raise SystemExit(code)


def results(folder: Path) -> Tree:
    """Every file of a run that results are read from."""
    return {name: c for name, c in tree(folder).items() if c is not None and name not in SESSIONS}


def different(now: Tree, expected: Tree) -> list[str]:
    """The files that are in one of two results alone, or differ."""
    return sorted(name for name in now.keys() | expected if now.get(name) != expected.get(name))


def _is_rejected(answer: Answer, name: str) -> bool:
    """Whether an error names the damaged file, or its stage, which is what has to be deleted.

    A manifest in which a name or a digest is damaged tells of a file beside it.
    """
    return answer.code in (2, 73) and (name.rpartition("/")[0] or name) in answer.message


# What is done to a file's bytes; None: it is deleted.
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "a bit": lambda data, rng: _flipped(data, rng),
    "half": lambda data, rng: data[: len(data) // 2],
    "all": lambda data, rng: rng.randbytes(len(data)),
    "the file": lambda data, rng: None,
}


def _flipped(data: bytes, rng: random.Random) -> bytes:
    array = bytearray(data)
    if array:
        array[rng.randrange(len(array))] ^= 1 << rng.randrange(8)
    return bytes(array)


def _can_fail(name: str, operation: Operation) -> bool:
    if name == "EIO":
        return True
    # A full disk is known when room is taken; a quota of another machine perhaps only afterwards.
    late = operation.name in ("close", "fsync", "fdatasync")
    return operation.is_filling and not (name == "ENOSPC" and late)


def _case(operation: Operation, out: Path, counted: Counter[Case]) -> Case:
    """The operation as it is known in another run: how many of its kind on its file came before."""
    key = Case(operation.name, _short(operation, out), 0)
    counted[key] += 1
    return key._replace(number=counted[key])


def _without_repetition(cases: Sequence[Case]) -> list[Case]:
    """Without operations that a run repeats on one file.

    Of those of a kind on a file the first two remain and, where they write, the last. How often a
    digest is read depends on the time, and Arrow writes a column in many pieces.
    """
    of_file: dict[Case, list[Case]] = {}
    for case in cases:
        of_file.setdefault(case._replace(number=0), []).append(case)
    chosen: set[Case] = set()
    for same in of_file.values():
        if same[0].name in READING:
            chosen |= set(same[:2])
        else:
            chosen |= {*same[:2], same[-1]}
    return [case for case in cases if case in chosen]


def _short(operation: Operation, out: Path) -> str:
    paths = (path.removeprefix(str(out)).lstrip("/") or "." for path in operation.paths)
    return stable(" to ".join(paths))


# --- the small runs -------------------------------------------------------------------------


def _recipe(folder: Path, generations: int, **groups: Any) -> tm.Recipe:
    """Generations of 300 words, drawn from 50."""
    rng = random.Random(0)
    texts = [
        " ".join(f"w{min(49, int(rng.expovariate(0.1)))}" for _ in range(8)) for _ in range(150)
    ]
    source = folder / "words.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return tm.Recipe(
        generations=generations,
        corpus={"source": str(source), "min_words": 1},
        mix={"model_tokens": 300},
        curate=[{"random": {"keep": 0.8}}],
        evaluate=[{"perplexity": {"held_out_tokens": 200}}],
        **groups,
    )


def categorical(folder: Path) -> Sweeps:
    """Sweeps of two generations of a model that counts words."""
    model = {"base": "categorical", "categories": 50, "smoothing": 0.5}
    sample = {"min_tokens": 300, "oversample": 2}
    return Sweeps(folder, _recipe(folder, 1, model=model, sample=sample))


def population(folder: Path) -> Sweeps:
    """Sweeps of two members who learn from each other, of whom one has children."""
    model = {"base": "categorical", "categories": 50, "smoothing": 0.5}
    sample = {"min_tokens": 300, "oversample": 2}
    of_both = {"members": 2, "text": "pool", "select": {"keep": 1, "tokens": 100, "undo": True}}
    return Sweeps(folder, _recipe(folder, 1, model=model, sample=sample, population=of_both))


def tiny_gpt2(folder: Path) -> Sweeps:
    """Sweeps of the one model that a run of the shipped base learns and writes."""
    model = {"base": "tiny-gpt2", "lora": {"rank": 2}}
    sample = {"min_tokens": 300, "oversample": 2, "max_new_tokens": 20}
    recipe = _recipe(folder, 0, model=model, sample=sample, train={"epochs": 1})
    sweeps = Sweeps(folder, recipe)
    sweeps.within, out = "gen-00/.tmp-model", folder / "before" / "run"

    def decide(operation: Operation) -> int:
        return KILL if _short(operation, out).startswith(sweeps.within) else 0

    code = run_intercepted(lambda: said(lambda: tm.run(recipe, out)), out, decide)
    assert code == -signal.SIGKILL
    sweeps.before = tree(out)
    return sweeps


def main(folder: Path, wanted: list[str]) -> None:
    """Sweep, and print the outcome of each kind as JSON."""
    provenance._git = lambda *_: None  # which would be asked anew by every child
    found = {}
    bases = {"categorical": categorical, "population": population, "tiny-gpt2": tiny_gpt2}
    opened: dict[str, Sweeps] = {}
    for kind_and_every in wanted:
        kind, _, every = kind_and_every.partition("=")
        method, *names = kind.split(":")
        base = names.pop() if names and names[-1] in bases else "categorical"
        if base not in opened:
            (folder / base).mkdir()
            opened[base] = bases[base](folder / base)
        begun = time.perf_counter(), sum(os.times()[:4])
        outcome = getattr(opened[base], method)(int(every), *names)
        seconds, processor = time.perf_counter() - begun[0], sum(os.times()[:4]) - begun[1]
        found[kind] = asdict(outcome) | {"seconds": seconds, "processor_seconds": processor}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
