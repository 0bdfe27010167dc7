"""How the base model of a recipe is opened."""

from __future__ import annotations

from textmad.models.base_files import check_base, require_positions
from textmad.models.protocol import LanguageModel
from textmad.recipe import ModelSettings, SampleSettings
from textmad.recipe.components import import_name

TOY_MODELS = {
    "categorical": "textmad.models.toy.categorical:Categorical",
    "gaussian": "textmad.models.toy.gaussian:Gaussian",
}
"""Built-in bases without files: short for the same module:name that anyone's has."""


def open_model(settings: ModelSettings, sample: SampleSettings) -> LanguageModel:
    """The base model of a recipe; what can be refused without torch is refused before it.

    Raises:
        ModelError: there is no such model, it is not safe or fit to be used, or it has too few
            positions for the documents that `sample` asks for.
    """
    factory = TOY_MODELS.get(settings.base, settings.base)
    if ":" in factory:
        model: LanguageModel = import_name(factory)(settings)
        require_positions(model.context, sample, settings.base)
        return model
    check_base(settings, sample)
    from textmad.models.causal_lm.model import CausalLM
    from textmad.models.causal_lm.runtime import keep_freed_memory

    keep_freed_memory()
    return CausalLM.open(settings)
