"""The recipe: the frozen, complete description of a run."""

from textmad.recipe.fields import AtLeastOne, Count, Number, Positive, Settings, Whole
from textmad.recipe.population import PopulationSettings, SelectionSettings, WeightSettings
from textmad.recipe.settings import (
    Columns,
    CorpusSettings,
    CrawlSettings,
    LoraSettings,
    MixSettings,
    ModelSettings,
    PreferenceSettings,
    Recipe,
    SampleSettings,
    TrainSettings,
    WatermarkSettings,
    load_recipe,
    parse_recipe,
    stored_recipe,
)

__all__ = [
    "AtLeastOne",
    "Columns",
    "CorpusSettings",
    "Count",
    "CrawlSettings",
    "LoraSettings",
    "MixSettings",
    "ModelSettings",
    "Number",
    "PopulationSettings",
    "Positive",
    "PreferenceSettings",
    "Recipe",
    "SampleSettings",
    "SelectionSettings",
    "Settings",
    "TrainSettings",
    "WatermarkSettings",
    "WeightSettings",
    "Whole",
    "load_recipe",
    "parse_recipe",
    "stored_recipe",
]
