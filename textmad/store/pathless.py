"""A copy of a run folder to give to others: the same numbers and texts, but no path of a machine.

Absolute paths stand in the recipe, in the inputs of every stage, in provenance.json and in what
models write about their base. Of each only the last name remains.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from textmad.recipe import parse_recipe
from textmad.store.commit import describe
from textmad.store.files import check_unused, create, make_folder, new_name, sync, writing
from textmad.store.folder import METRICS, PROVENANCE, RECIPE, RECORDS, RunFolder
from textmad.store.manifest import MANIFEST, Manifest
from textmad.store.records import read_recipe, read_sealed_json, recipe_bytes, sealed_json

# The files of a stage in which a path may stand: of the corpus, of filters, of models.
_WITH_PATHS = {"corpus.json", RECORDS, "adapter_config.json", "config.json"}

# A path from the root, from somebody's home, or from a drive, anywhere in a text.
_PATH = re.compile(r"(?<![\w.:/~\\-])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s\"':,;]+)+[/\\]?")


def without_paths(value: Any) -> Any:
    """Return JSON values in which absolute paths are cut to their last name.

    >>> without_paths({"source": "/home/jane/posts.jsonl", "argv": ["--out=/tmp/run", "a/b"]})
    {'source': 'posts.jsonl', 'argv': ['--out=run', 'a/b']}
    """
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    if re.match(r"[/\\]|~[/\\]|[A-Za-z]:[/\\]", value):  # all of it, with the spaces in it
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return _PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], value)


def share(run: Path, out: Path) -> None:
    """Copy a run folder without paths, log and report into the new folder `out`.

    The copy is read as the run is. It does not resume: its inputs are other ones.

    Raises:
        RunError: `out` holds something, a stage is damaged, or the place cannot be written.
        RecipeError: the recipe cannot be read.
    """
    folder = RunFolder(run)
    recipe, manifests = read_recipe(run / RECIPE), folder.manifests(verify=True)
    provenance = read_sealed_json(run / PROVENANCE)
    cut = parse_recipe(without_paths(recipe.dump()), where=str(run / RECIPE), stored=True)
    with writing(out):
        check_unused(out)
        temporary = new_name(out.absolute())
        try:
            make_folder(temporary)
            create(temporary / RECIPE, recipe_bytes(cut))
            create(temporary / PROVENANCE, sealed_json(without_paths(provenance)))
            if (run / METRICS).is_file():
                shutil.copyfile(run / METRICS, temporary / METRICS)
            for manifest in manifests:
                _copy_stage(run / manifest.stage, temporary / manifest.stage, manifest)
            if out.exists():
                out.rmdir()
            temporary.rename(out)
            sync(out.absolute().parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _copy_stage(stage: Path, copy: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stage / name, copy / name)
        if name in _WITH_PATHS:
            value = json.loads((stage / name).read_bytes())
            if (cut := without_paths(value)) != value:
                (copy / name).write_text(json.dumps(cut, indent=1) + "\n", encoding="utf-8")
    inputs = without_paths(manifest.inputs)
    (copy / MANIFEST).write_bytes(describe(copy, manifest.stage, inputs).to_bytes())
