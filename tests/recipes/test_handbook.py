"""The handbook names what there is: no more, no less, with the defaults of the code."""

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from textmad.evaluators import METRICS
from textmad.rating.ballot import Ballot
from textmad.recipe import Recipe
from textmad.recipe.components import BUILT_IN, import_name
from textmad.report.tables import ARROWS
from textmad.studies.settings import HypothesisSettings, ThresholdSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "recipes/**/*.md") for path in ROOT.glob(pattern)
)


def settings_of(group: BaseModel, path: str = "") -> dict[str, Any]:
    """Every setting by its dotted path with its default; a group has none of its own."""
    found: dict[str, Any] = {}
    for name, field in type(group).model_fields.items():
        if field.is_required():  # the page says so
            continue
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            found |= settings_of(value, f"{path}{name}.")
            continue
        found[f"{path}{name}"] = value
        for option in typing.get_args(field.annotation):  # of a group that is not there by itself
            if value is None and isinstance(option, type) and issubclass(option, BaseModel):
                found |= settings_of(option.model_construct(), f"{path}{name}.")
    return found


def rows(page: str) -> dict[str, str]:
    """The first two cells of every table row that begins with one name in code type."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \| \S", text, re.MULTILINE)
    assert len(dict(found)) == len(found), "a setting stands twice"
    return dict(found)


COMPONENTS = {
    import_name(target): name for kind in BUILT_IN.values() for name, target in kind.items()
}


def as_yaml(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_the_pages_of_the_recipe_name_every_setting_with_its_default():
    defaults = settings_of(Recipe())
    components = {key: [c.name for c in defaults.pop(key)] for key in ("curate", "evaluate")}
    pages = [row for page in ("recipe.md", "preference.md") for row in rows(page).items()]
    assert len(dict(pages)) == len(pages), "a setting stands on two pages"
    documented = {path: yaml.safe_load(value) for path, value in pages}
    assert documented == {path: as_yaml(v) for path, v in defaults.items()} | components


def test_the_page_of_studies_names_every_setting_of_a_threshold_and_a_hypothesis_with_its_default():
    defaults = settings_of(ThresholdSettings(share="added"), "threshold.")
    fields = HypothesisSettings.model_fields.items()
    defaults |= {f"hypotheses.NAME.{k}": f.default for k, f in fields if not f.is_required()}
    documented = {path: yaml.safe_load(value) for path, value in rows("study.md").items()}
    assert documented == {path: as_yaml(value) for path, value in defaults.items()}


# Groups of settings that several filters have: they stand on a page once.
SHARED = {Ballot: "ballot"}


def fields_of(maker: type, path: str) -> dict[str, Any]:
    """Every setting of a component by its dotted path; a group has none of its own.

    A group that is a component itself is named, since its settings stand on the page already.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(maker):
        if field.default_factory in COMPONENTS | SHARED:
            found[f"{path}.{field.name}"] = (COMPONENTS | SHARED)[field.default_factory]
        elif isinstance(field.default_factory, type):
            found |= fields_of(field.default_factory, f"{path}.{field.name}")
        elif field.default is not dataclasses.MISSING:  # else the page says that it is required
            found[f"{path}.{field.name}"] = as_yaml(field.default)
    return found


@pytest.mark.parametrize(
    ("kind", "pages"),
    [("filter", ["filters.md", "crowd.md", "people-vote.md"]), ("evaluator", ["metrics.md"])],
)
def test_every_setting_of_a_built_in_component_stands_on_its_page(kind: str, pages: list[str]):
    defaults: dict[str, Any] = {}
    for name, target in BUILT_IN[kind].items():
        defaults |= fields_of(import_name(target), name)
    if kind == "filter":
        for group, name in SHARED.items():
            defaults |= fields_of(group, name)
    found = [row for page in pages for row in rows(page).items()]
    assert len(dict(found)) == len(found), "a setting stands on two pages"
    assert {path: yaml.safe_load(value) for path, value in found} == defaults


def test_the_page_of_metrics_gives_every_metric_its_direction():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    found = {}
    for names, arrow in re.findall(r"^\| ((?:`\w+` ?)+)(?: by bin)?\|.*? ([↓↑≈·]) \|", text, re.M):
        found |= dict.fromkeys(re.findall(r"\w+", names), arrow)
    assert found == {name: ARROWS[metric.direction] for name, metric in METRICS.items()}


@pytest.mark.parametrize(
    ("page", "calls"),
    [
        ("write-a-filter.md", "tm.testing.check_"),
        ("metrics.md", "tm.testing.check_"),
        ("compare.md", "tm.stats."),
        ("critical-share.md", "tm.critical_shares."),
        ("early-warning.md", "tm.early_warning("),
    ],
)
def test_a_page_has_an_example_of_what_it_explains(page: str, calls: str):
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.DOTALL)
    assert any(calls in block for block in blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.DOTALL)
    titles = (title.strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_a_heading_lead_to_one(page: Path):
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / target if target else page, anchor) for target, anchor in links]
    assert [anchor for target, anchor in targets if anchor not in headings(target)] == []
