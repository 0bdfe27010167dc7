"""The recipe: every setting of textmad with its default and bounds. Loads no torch.

A recipe is YAML outside and the frozen `Recipe` inside. `load_recipe` reports *all* faults at
once, each with its path, before anything expensive is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from textmad.errors import RecipeError
from textmad.recipe.components import TWIN, Component, Kind, read_component
from textmad.recipe.fields import (
    AUTO,
    MOST_CATEGORIES,
    MOST_GENERATIONS,
    MOST_TIMES,
    MOST_TOKENS,
    AtLeastOne,
    Count,
    Number,
    Place,
    Positive,
    Settings,
    Share,
    Targets,
    Times,
    Tokens,
    Whole,
)
from textmad.recipe.json_schema import kind_schema
from textmad.recipe.population import MemberSettings, PopulationSettings, member_seed
from textmad.recipe.validation_errors import fault_lines, shown
from textmad.recipe.watermark_schemes import LARGEST_KEY, MOST_LAYERS, SETTINGS
from textmad.recipe.yaml_text import lay_over, read_settings, settings_in, to_yaml

# Filters that rank what they judge, so that pairs can be made of it.
RANKING = frozenset({"upvotes", "people", "discriminator"})
# Bases without a network, and what has an effect on them of the groups that are about networks.
_DRAWN = {"oversample", "min_tokens", "max_new_tokens", "temperature"}
TOYS: dict[str, dict[str, set[str]]] = {
    "categorical": {"model": {"base", "categories", "smoothing"}, "train": set(), "sample": _DRAWN},
    "gaussian": {"model": {"base"}, "train": set(), "sample": _DRAWN},
}


class Columns(Settings):
    """Which columns (JSON keys) of the source hold what; only `text` has to exist."""

    text: str = "text"
    votes: str | None = None
    community: str | None = None
    time: str | None = None
    conversation: str | None = None


class CorpusSettings(Settings):
    """Where the human text comes from, how it is cleaned, and what is held out."""

    source: Place = "chitchat"  # built-in name, file, folder with save_to_disk, or dataset name
    format: Literal["auto", "jsonl", "csv", "parquet", "text", "dataset", "reddit"] = "auto"
    config: str | None = None  # configuration of a Hub dataset that has several
    split: str = "train"  # of a `datasets` source
    columns: Columns = Columns()
    min_words: AtLeastOne = 8
    max_words: AtLeastOne = 120
    max_tokens: AtLeastOne | None = None  # of a document; null: 8 for each of max_words
    max_documents: AtLeastOne | None = None  # the first so many clean ones
    max_bad_lines: Share = 0.01  # a larger share of bad lines is an error
    held_out: Annotated[Number, Field(gt=0, lt=1)] = 0.1  # share of documents
    near_duplicate: Annotated[Number, Field(gt=0, le=1)] = 0.8  # Jaccard; across the split
    parts: AtLeastOne = 1  # disjoint parts of the documents; a run reads the one of its seed
    # Share of the training pool's tokens that state invented facts, for the evaluator `facts`.
    invented_facts: Annotated[Number, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_words < self.min_words:
            raise ValueError(
                f"max_words: {self.max_words}: expected at least min_words, {self.min_words}"
            )
        return self

    @property
    def largest_in_tokens(self) -> int:
        """Most tokens of a document: a word may be ten thousand letters long."""
        return 8 * self.max_words if self.max_tokens is None else self.max_tokens


class LoraSettings(Settings):
    """A low-rank adapter (Hu et al., 2106.09685) on linear modules."""

    rank: AtLeastOne = 16
    alpha: Positive = 32.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    targets: Targets = (AUTO,)

    @property
    def adapts_all(self) -> bool:
        """Whether all linear modules but the output layer are adapted."""
        return self.targets == (AUTO,)


class ModelSettings(Settings):
    """The causal language model and what of it is trained."""

    base: Place = "tiny-gpt2"  # built-in name, folder, Hub id, or module:name of your own model
    revision: str | None = None  # of a Hub id
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    start_from: Literal["base", "previous"] = "base"
    lora: LoraSettings | None = LoraSettings()  # null: full fine-tuning
    # Of base: categorical, whose words are w0 to w999.
    categories: Annotated[AtLeastOne, Field(le=MOST_CATEGORIES)] = 1000
    smoothing: Annotated[Number, Field(ge=0)] = 0.0  # of the same: added to every word's count

    @model_validator(mode="after")
    def _of_categorical(self) -> Self:
        if self.base != "categorical":
            for setting in ("categories", "smoothing"):
                self._check_default(setting, f"while base is {self.base}; set base: categorical")
        return self


class PreferenceSettings(Settings):
    """Preference learning from what the filters accepted and rejected a generation before."""

    loss: Literal["kto", "apo_zero_unpaired", "dpo"] = "kto"
    # `kept`: accepted is what all filters kept. `random`: as many, at random (a control).
    labels: Literal["kept", "discriminator", "random"] = "kept"
    beta: Positive = 0.1  # the larger, the nearer to the reference model
    epochs: Annotated[Positive, Field(le=MOST_TIMES)] = 1.0
    learning_rate: Positive = 1.0e-4
    batch_documents: AtLeastOne = 32  # of an optimizer step; of dpo: pairs
    documents: AtLeastOne | None = None  # of each label at most, at random; null: all
    accepted_weight: Annotated[Number, Field(ge=0)] = 1.0  # not of dpo
    rejected_weight: Annotated[Number, Field(ge=0)] = 1.0  # not of dpo
    instead_of_imitation: bool = False  # from generation 1 on; false: after it

    @model_validator(mode="after")
    def _weights(self) -> Self:
        if self.loss == "dpo":
            for setting in ("accepted_weight", "rejected_weight"):
                self._check_default(setting, "while loss is dpo; choose another loss")
        if self.accepted_weight == self.rejected_weight == 0:
            raise ValueError(
                "accepted_weight and rejected_weight are both 0: nothing is learned; raise one"
            )
        return self


class TrainSettings(Settings):
    """One generation's training: AdamW, linear warm-up, then decay."""

    epochs: Annotated[Positive, Field(le=MOST_TIMES)] = 1.0
    batch_tokens: AtLeastOne = 2048  # target tokens of an optimizer step, all processes together
    micro_batch_tokens: AtLeastOne = 8192  # padded tokens of one forward pass: bounds the memory
    learning_rate: Positive = 1.0e-3
    warmup: Share = 0.1  # share of the steps
    decay: Literal["linear", "cosine", "none"] = "linear"
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    gradient_checkpointing: bool = False  # less memory, a third more work; the same result
    preference: PreferenceSettings | None = None  # null: imitation alone


class MixSettings(Settings):
    """How human and kept model documents become a generation's training set, in tokens."""

    human_tokens: Tokens = 0
    model_tokens: Tokens = 25_000
    human: Literal["fixed", "fresh"] = "fixed"
    model: Literal["latest", "pool", "all"] = "latest"
    # A random sample of this size is learned of all that accumulates; null: all of it.
    subsample_tokens: Annotated[AtLeastOne, Field(le=MOST_TOKENS)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        total = self.human_tokens + self.model_tokens
        if total == 0:
            raise ValueError("human_tokens and model_tokens are both 0: nothing to train on")
        for side in ("human", "model"):
            if getattr(self, f"{side}_tokens") == 0:
                self._check_default(side, f"while {side}_tokens is 0; raise {side}_tokens")
        if self.model != "all":
            self._check_default("subsample_tokens", f"while model is {self.model}; set model: all")
        elif self.subsample_tokens is not None and self.subsample_tokens > total:
            raise ValueError(
                f"subsample_tokens: {self.subsample_tokens}: generation 1 has only human_tokens + "
                f"model_tokens, {total}, to sample from: lower it, or raise either"
            )
        return self

    @property
    def model_share(self) -> float:
        """The share of a generation's training tokens that a model wrote."""
        return self.model_tokens / (self.human_tokens + self.model_tokens)


class WatermarkSettings(Settings):
    """A watermark in sampled text that its key detects, as in transformers."""

    kind: Literal["green_list", "synthid"] = "green_list"
    key: Annotated[Whole, Field(ge=1, le=LARGEST_KEY)] = 15_485_863  # transformers' own
    bias: Positive = 2.5  # of a green token's logit
    green_share: Annotated[Number, Field(gt=0, lt=1)] = 0.25  # of the vocabulary
    depth: Annotated[Whole, Field(ge=1, le=MOST_LAYERS)] = 30  # layers of SynthID's tournament
    context: AtLeastOne = 4  # tokens that SynthID's g-values depend on
    share: Share = 1.0  # of the documents that carry it

    @model_validator(mode="after")
    def _kind(self) -> Self:
        for setting, kind in SETTINGS.items():
            if kind != self.kind:
                self._check_default(setting, f"while kind is {self.kind}; set kind: {kind}")
        return self


class SampleSettings(Settings):
    """How candidates are sampled. No setting is left to a library's default."""

    oversample: Times = 1.0  # tokens sampled for each model token needed
    min_tokens: Annotated[AtLeastOne, Field(le=MOST_TOKENS)] = (
        20_000  # sampled at least; the evaluators compare as many
    )
    max_new_tokens: AtLeastOne = 128
    temperature: Positive = 1.0
    top_k: Count = 0  # 0: off
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0  # 1: off
    min_p: Annotated[Number, Field(ge=0, lt=1)] = 0.0  # 0: off
    repetition_penalty: Positive = 1.0  # 1: off
    prompt: Literal["none", "human"] = "none"
    prompt_tokens: AtLeastOne = 8  # of a human document's beginning
    slots: AtLeastOne = 256  # documents sampled at a time: changes speed and memory, not the text
    watermark: WatermarkSettings | None = None  # null: none

    @model_validator(mode="after")
    def _prompt(self) -> Self:
        if self.prompt == "none":
            self._check_default("prompt_tokens", "while prompt is none; set prompt: human")
        return self


def _resolved(kind: Kind) -> AfterValidator:
    def resolve(component: Component, info: ValidationInfo) -> Component:
        if info.context is not None and info.context.stored:
            return component
        try:
            return component.resolved(kind)
        except RecipeError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(resolve)


def _read(value: Any) -> Any:
    try:
        return read_component(value)
    except RecipeError as error:
        raise ValueError(str(error)) from None


class _Origin(NamedTuple):
    """Validation context: where a recipe comes from."""

    where: str  # opens the error message
    stored: bool  # textmad wrote it itself


Filter = Annotated[
    Component,
    BeforeValidator(_read),
    _resolved("filter"),
    WithJsonSchema(kind_schema("filter")),
]
Evaluator = Annotated[
    Component,
    BeforeValidator(_read),
    _resolved("evaluator"),
    WithJsonSchema(kind_schema("evaluator")),
]


class CrawlSettings(Settings):
    """A crawl: the human text of later generations holds model text without a label."""

    contamination: Annotated[Number, Field(ge=0, lt=1)] = 0.0  # model text, share of the tokens
    oversample: Times = 1.0  # tokens crawled for each one that is needed
    guard: Annotated[tuple[Filter, ...], Field(strict=False)] = ()  # what they keep is learned

    @model_validator(mode="after")
    def _effect(self) -> Self:
        if self.contamination == 0 and not self.guard:
            raise ValueError(
                "contamination: 0: has no effect without a crawl filter; raise it, set guard, or "
                "delete crawl"
            )
        return self


class Recipe(Settings):
    """The frozen, complete description of a run; a bad setting is a `RecipeError`.

    >>> Recipe().replace(generations=2, sample={"temperature": 0.9}).generations
    2
    """

    seed: Count = 0
    generations: Annotated[Count, Field(le=MOST_GENERATIONS)] = 5
    corpus: CorpusSettings = CorpusSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    mix: MixSettings = MixSettings()
    crawl: CrawlSettings | None = None  # null: human text comes from the corpus as it is
    sample: SampleSettings = SampleSettings()
    curate: Annotated[tuple[Filter, ...], Field(strict=False)] = ()
    evaluate: Annotated[tuple[Evaluator, ...], Field(strict=False)] = Field(
        default=("perplexity", "diversity", "rare_tokens"), validate_default=True
    )
    population: PopulationSettings | None = None  # null: one model
    checkpoint_minutes: Positive = 10.0  # between checkpoints of an unfinished stage
    track: Literal["tensorboard", "wandb", "trackio"] | None = None  # null: nowhere

    @model_validator(mode="after")
    def _across_groups(self) -> Self:
        if self.crawl is not None and self.mix.human_tokens == 0:
            raise ValueError(
                "crawl: has no effect while mix.human_tokens is 0; raise mix.human_tokens, or "
                "delete it"
            )
        if self.train.preference is not None:
            self._check_preference(self.train.preference)
        fed_back = self.mix.model_tokens or (self.crawl is not None and self.crawl.contamination)
        if not fed_back and self.sample.oversample != 1:
            raise ValueError(
                f"sample.oversample: {self.sample.oversample:g}: has no effect while "
                "mix.model_tokens is 0; raise mix.model_tokens, or delete it"
            )
        if self.model.base in TOYS:
            self._check_settings_of_networks()
        if self.population is not None:
            self._check_population(self.population)
        names = [component.name for component in self.evaluate]
        for index, name in enumerate(names):
            if name in names[:index]:  # its metrics could not be told apart
                raise ValueError(f"evaluate.{index}: {name}: is given twice; delete one")
        return self

    def _check_population(self, population: PopulationSettings) -> None:
        """Check what a population needs of the rest of the recipe, and the settings of members."""
        faults = []
        if self.crawl is not None:
            faults.append("crawl: is not possible in a population; delete crawl or population")
        faults += [
            f"curate.{place}: {component.name}: people vote on the text of one model: is not "
            "possible in a population; use upvotes with simulated voters, or delete population"
            for place, component in enumerate(self.curate)
            if component.name == "people" or component.options.get("voters") == "people"
        ]
        crosses_text = population.text != "own" or population.migration
        if crosses_text and not self.mix.model_tokens:
            faults.append(
                "population: no text passes between members while mix.model_tokens is 0; raise it, "
                "or delete text and migration"
            )
        if population.weights is not None and self.model.start_from == "previous":
            faults.append(
                "model.start_from: previous: has no effect while population.weights says where a "
                "model starts; delete one of them"
            )
        if population.select is not None and self.mix.model != "latest":
            faults.append(
                f"mix.model: {self.mix.model}: is not possible while population.select replaces "
                "members; set mix.model: latest, or delete select"
            )
        preference = self.train.preference
        if preference is not None and preference.instead_of_imitation:
            faults.append(
                "train.preference.instead_of_imitation: true: is not possible in a population, "
                "whose members learn from each other's text; delete either"
            )
        if population.select is not None and preference is not None:
            faults.append(
                "train.preference: is not possible while population.select replaces members, whose "
                "judged text is not their successor's; delete either"
            )
        if population.select is not None and population.select.by == "votes":
            crowds = [c for c in self.curate if c.name.removeprefix(TWIN) == "upvotes"]
            if not crowds:
                faults.append(
                    "population.select.by: votes: no crowd votes on the text: add upvotes to "
                    "curate, or set by: loss"
                )
            elif dict(crowds[0].options.get("crowd") or {}).get("drift"):
                faults.append(
                    "population.select.by: votes: the crowd that compares members is a new one in "
                    "each generation, and the taste of upvotes drifts: set by: loss, or delete "
                    "crowd.drift"
                )
        for place, changes in enumerate(population.each):
            for group, values in changes.groups():
                try:
                    self._changed(group, values)
                except ValidationError as error:
                    lines = fault_lines(error, type(getattr(self, group)))
                    faults += [f"population.each.{place}.{group}.{line}" for line in lines]
        if faults:
            raise ValueError("\n".join(faults))

    def _changed(self, group: str, values: Mapping[str, Any]) -> Settings:
        """One group of settings with the changes of a member."""
        settings: Settings = getattr(self, group)
        merged = _merged(settings.model_dump(mode="json"), values)
        return type(settings).model_validate(merged)

    def of_member(self, member: int) -> Recipe:
        """The recipe of one member of the population, as if it were a run of its own.

        Raises:
            RecipeError: there is no such member.
        """
        population = self.population
        num_members = 0 if population is None else population.members
        if population is None or not 0 <= member < num_members:
            there = f"0 to {num_members - 1}" if num_members else "none, there is no population"
            raise RecipeError(f"member {member}: the members of this run are {there}")
        changes = population.each[member] if population.each else MemberSettings()
        return self.model_copy(
            update={
                "seed": member_seed(self.seed, member),
                "population": None,
                **{group: self._changed(group, values) for group, values in changes.groups()},
            }
        )

    def has_own_base_text(self, member: int) -> bool:
        """Whether the base model samples text for a member of the population alone."""
        assert self.population is not None, "a run of one model"
        has_prompts = self.of_member(member).sample.prompt != "none"
        return self.population.changes_base_text(member, has_prompts)

    def _check_preference(self, preference: PreferenceSettings) -> None:
        """Check that the filters judge what is learned, and that pairs can be made."""
        names = {component.name.removeprefix(TWIN) for component in self.curate}
        if not names:
            raise ValueError(
                "train.preference: nothing is rejected while curate is empty; add a filter, or "
                "delete it"
            )
        if preference.labels == "discriminator" and "discriminator" not in names:
            raise ValueError(
                "train.preference.labels: discriminator: expected a filter discriminator in "
                "curate; add one, or set labels: kept"
            )
        if preference.loss != "dpo":
            return
        if self.sample.prompt != "none":
            raise ValueError(
                "train.preference.loss: dpo: a pair is two texts of one prompt, and with "
                f"sample.prompt: {self.sample.prompt} each text has its own; choose kto or "
                "apo_zero_unpaired, or set sample.prompt: none"
            )
        own = any(":" in name for name in names)
        if preference.labels != "random" and not own and not names & RANKING:
            raise ValueError(
                "train.preference.loss: dpo: pairs are made from ranks, which none of "
                f"{', '.join(sorted(names))} gives; add one of {', '.join(sorted(RANKING))} to "
                "curate, or choose kto or apo_zero_unpaired"
            )

    def _check_settings_of_networks(self) -> None:
        """Check that settings without effect on a toy are left at (or set to) their defaults."""
        faults = []
        for group, settings in TOYS[self.model.base].items():
            given = getattr(self, group)
            for name, field in type(given).model_fields.items():
                value = getattr(given, name)
                if name in settings or value == field.default:
                    continue
                if (group, name, value) != ("model", "lora", None):
                    plain = value.model_dump(mode="json") if isinstance(value, Settings) else value
                    faults.append(
                        f"{group}.{name}: {shown(plain)}: has no effect while model.base is "
                        f"{self.model.base}; choose another base model, or delete it"
                    )
        if faults:
            raise ValueError("\n".join(faults))

    @model_validator(mode="wrap")  # the last: it hears all the others
    @classmethod
    def _with_all_faults(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            faults = fault_lines(error, cls)
        where = "Recipe()" if info.context is None else info.context.where
        count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
        raise RecipeError("\n  ".join([f"{where}: {count}", *faults]))

    @property
    def is_human_only(self) -> bool:
        """Whether it learns from human text alone, as the corpus has it."""
        return self.mix.model_tokens == 0 and self.crawl is None and self.train.preference is None

    @property
    def corpus_part(self) -> int:
        """Which of `corpus.parts` parts of the corpus it reads, from 0."""
        return self.seed % self.corpus.parts

    def crawls(self, generation: int) -> bool:
        """Whether this generation's human text is crawled."""
        return self.crawl is not None and generation > 0

    def replace(self, **changes: Any) -> Recipe:
        """A copy with `changes` (groups may be partial mappings), validated again.

        Raises:
            RecipeError: any setting is invalid; the message names every fault with its path.
        """
        return parse_recipe(_merged(self.dump(explicit_only=True), changes), where="replace()")

    def dump(self, explicit_only: bool = False) -> dict[str, Any]:
        """Plain data as it stands in YAML; `explicit_only` leaves out untouched defaults."""
        return self.model_dump(mode="json", exclude_unset=explicit_only)

    def to_yaml(self) -> str:
        """The resolved recipe, every default written out; `load_recipe` gives it back."""
        return to_yaml(self.dump())

    def filters(self) -> list[Any]:
        """The filters, in order, ready to be called."""
        return [component.build("filter") for component in self.curate]

    def crawl_filters(self) -> list[Any]:
        """The filters over crawled human text, in order, ready to be called."""
        return [component.build("filter") for component in self.crawl.guard] if self.crawl else []

    def evaluators(self) -> list[Any]:
        """The evaluators, ready to be called."""
        return [component.build("evaluator") for component in self.evaluate]


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe, with `overrides` by dotted path laid over it.

    >>> load_recipe("recipes/quickstart/recipe.yaml", {"sample.oversample": 4})  # doctest: +SKIP

    Raises:
        RecipeError: not readable, not YAML, duplicate keys, or any setting is rejected; the
            message names every fault with its path.
    """
    data = read_settings(Path(path))
    if "recipe" in data:
        raise RecipeError(f"{path}: is a study, and no recipe: `textmad study` runs it")
    for dotted, value in (overrides or {}).items():
        lay_over(data, dotted, value)
    return parse_recipe(data, where=str(path))


def stored_recipe(content: bytes, where: str) -> Recipe:
    """Return the resolved recipe in a file that textmad wrote, as it is.

    Filters and evaluators of the user's own may be missing: a report does not need them.

    Raises:
        RecipeError: as `load_recipe`, except for filters and evaluators that cannot be imported.
    """
    return parse_recipe(settings_in(content, where), where=where, stored=True)


def parse_recipe(data: Mapping[str, Any], where: str, *, stored: bool = False) -> Recipe:
    """Validate plain data; `where` opens the error message.

    Raises:
        RecipeError: any setting is invalid; the message names every fault with its path.
    """
    return Recipe.model_validate(data, context=_Origin(where, stored))


def _merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with `changes`; a mapping changes a group in part, anything else replaces."""
    merged = dict(data)
    for key, value in changes.items():
        if isinstance(value, Settings):
            merged[key] = value.model_dump(exclude_unset=True)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
