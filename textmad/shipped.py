"""The recipes and studies that come with textmad, in a checkout and in an installed wheel."""

from pathlib import Path

from textmad.errors import RecipeError

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (_PACKAGE / "data" / "recipes", _PACKAGE.parent / "recipes")  # wheel, checkout
_LAUNCH_FILES = "accelerate"  # settings of accelerate's launcher, which are no recipes


def shipped_recipes() -> dict[str, Path]:
    """Find the recipes and studies that come with textmad and return their files by name.

    A name is the path below the folder of recipes, without its ending.

    >>> sorted(shipped_recipes())[:2]
    ['accumulate-subsample/recipe', 'accumulate/recipe']

    Raises:
        RecipeError: the folder of recipes is missing.
    """
    folder = _folder()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
        if path.relative_to(folder).parts[0] != _LAUNCH_FILES
    }


def _folder() -> Path:
    for folder in _PLACES:
        if folder.is_dir():
            return folder
    raise RecipeError(
        f"the recipes that come with textmad are in neither {_PLACES[0]} nor {_PLACES[1]}; "
        "install textmad again"
    )


def question(path: Path) -> str:
    """Return the question that a recipe or study asks in its first comment; "" if it has none."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        key = text.partition(" ")[0]
        if not line.startswith("#") or (words and key.endswith(":") and key[0].isupper()):
            break
        if words or key == "Question:":
            words.append(text.removeprefix("Question:").strip())
    return " ".join(words)
