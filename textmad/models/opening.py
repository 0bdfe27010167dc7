"""How the base model of a recipe is opened."""

from __future__ import annotations

from textmad.errors import ModelError, RunError, raised
from textmad.models.base_files import check_base, require_positions
from textmad.models.protocol import LanguageModel
from textmad.recipe import ModelSettings, SampleSettings
from textmad.recipe.components import import_name

TOY_MODELS = {
    "categorical": "textmad.models.toy.categorical:Categorical",
    "gaussian": "textmad.models.toy.gaussian:Gaussian",
}
"""Built-in base models without files: short for the same module:name that anyone's has."""


def open_model(settings: ModelSettings, sample: SampleSettings) -> LanguageModel:
    """Open the base model of a recipe; check first all that needs no torch.

    Raises:
        ModelError: there is no such model, it is not safe or fit to be used, or it has too few
            positions for the documents that `sample` asks for.
    """
    factory = TOY_MODELS.get(settings.base, settings.base)
    if ":" in factory:
        model = _made_by(factory, settings)
        require_positions(model.context, sample, settings.base)
        return model
    check_base(settings, sample)
    from textmad.models.causal_lm.model import CausalLM
    from textmad.models.causal_lm.runtime import keep_freed_memory

    keep_freed_memory()
    return CausalLM.open(settings)


def _made_by(name: str, settings: ModelSettings) -> LanguageModel:
    """Call a factory of somebody's own and return what it made, if that is a language model."""
    factory = import_name(name)
    try:
        model = factory(settings)
    except (ModelError, RunError):
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"model.base: {settings.base}: raised {raised(error)}") from error
    needed = [part for part in dir(LanguageModel) if not part.startswith("_")]
    needed += LanguageModel.__annotations__
    if missing := [part for part in dict.fromkeys(needed) if not hasattr(model, part)]:
        raise ModelError(
            f"model.base: {settings.base}: returned {type(model).__name__}, which is no language "
            f"model: it has no {', '.join(missing)}: expected the methods of "
            "textmad.models.protocol.LanguageModel"
        )
    made: LanguageModel = model
    return made
