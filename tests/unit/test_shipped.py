"""What comes with textmad is found, by name."""

from pathlib import Path

import pytest

from textmad import shipped
from textmad.errors import RecipeError
from textmad.recipe import load_recipe
from textmad.studies import is_study, load_study

RECIPES = Path(__file__).parents[2] / "recipes"


def test_every_recipe_of_the_checkout_is_shipped_under_its_path():
    found = shipped.shipped_recipes()
    files = {path for path in RECIPES.rglob("*.yaml") if path.parent.name != "accelerate"}
    assert set(found.values()) == files
    assert found["quickstart/voted"] == RECIPES / "quickstart" / "voted.yaml"
    assert found["loops/study"] == RECIPES / "loops" / "study.yaml"


@pytest.mark.parametrize("name", sorted(shipped.shipped_recipes()))
def test_what_is_shipped_is_read_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shipped.shipped_recipes()[name]
    assert load_study(path).arms if is_study(path) else load_recipe(path)


def test_the_wheel_s_own_folder_is_read_before_one_that_lies_beside_the_package(
    tmp_path, monkeypatch
):
    places = (tmp_path / "wheel", tmp_path / "beside")
    for place in places:
        (place / "one").mkdir(parents=True)
        (place / "one" / "recipe.yaml").touch()
    monkeypatch.setattr(shipped, "_PLACES", places)
    assert shipped.shipped_recipes() == {"one/recipe": places[0] / "one" / "recipe.yaml"}


def test_missing_recipes_are_an_error_that_says_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_PLACES", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(RecipeError, match=r"a nor .*b; install textmad again"):
        shipped.shipped_recipes()
