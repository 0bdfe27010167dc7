"""What a study file may hold, and the patches that make its arms of the base recipe. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from textmad.errors import RecipeError
from textmad.evaluators.metrics import noticeable
from textmad.recipe import AtLeastOne, Count, Number, Positive, Recipe, Settings, Whole
from textmad.recipe.validation_errors import fault_lines, printable, shown
from textmad.recipe.yaml_text import lay_over, read_settings

Part = Annotated[Number, Field(gt=0, le=1)]


_TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4)


class ControlSettings(Settings):
    """The arms that come with a study by themselves."""

    human: Literal["recipe", "fixed", "fresh", "none"] = "recipe"  # human text only; none: no arm
    tokens: Literal["all", "human"] = "all"  # as many as the arm's text has
    twins: bool = True  # of each filter
    # Of each arm that learns by preference: imitation alone, and random labels.
    preference: bool = True
    # The model before it learned by preference, at other temperatures; empty: none.
    temperatures: Annotated[tuple[Positive, ...], Field(strict=False)] = _TEMPERATURES

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.human == "none" and self.tokens == "human":
            raise ValueError("tokens: human: is of the human-only arm, and human is none; drop one")
        if repeated := [t for i, t in enumerate(self.temperatures) if t in self.temperatures[:i]]:
            raise ValueError(f"temperatures: {repeated[0]:g}: is given twice; delete one")
        return self


class ThresholdSettings(Settings):
    """How the critical share of model text is sought, instead of run on an even grid."""

    share: Literal["replaced", "added"]  # of human text by model text; or to the human text
    metric: str = "perplexity/held_out"  # METRIC/SPLIT or METRIC/SPLIT/BIN
    tolerance: Positive | None = None  # share of the control's value; null: as `compare` has it
    between: Annotated[tuple[Part, Part], Field(strict=False)] = (0.1, 0.9)  # where it begins
    arms: Annotated[Whole, Field(ge=3)] = 6  # at most, the two it begins with among them

    @model_validator(mode="after")
    def _sound(self) -> Self:
        low, high = self.between
        if low >= high:
            raise ValueError(f"between: {list(self.between)}: expected the smaller share first")
        if self.share == "added" and high == 1:
            raise ValueError(
                "between: 1.0: expected less than 1 where share is added: human text remains"
            )
        for share in self.between:
            if float(f"{share:g}") != share:
                raise ValueError(
                    f"between: {share}: expected at most 6 digits, as arms are named by it: "
                    f"{share:g}"
                )
        if len(self.metric.split("/")) not in (2, 3):
            raise ValueError(
                f"metric: {self.metric}: expected METRIC/SPLIT or METRIC/SPLIT/BIN, such as "
                "perplexity/held_out"
            )
        return self

    @property
    def allowed(self) -> float:
        """The tolerance as a share of the control's value."""
        given = self.tolerance
        return noticeable(self.metric.split("/")[0]) if given is None else given


def _controls(value: Any) -> Any:
    if value is False:
        return ControlSettings(human="none", twins=False, preference=False, temperatures=())
    return ControlSettings() if value is True else value


def _recipe(value: Any) -> Any:
    if isinstance(value, Recipe):
        return value.dump(explicit_only=True)
    if isinstance(value, str | Path):
        return str(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"{shown(value)}: expected the path of a recipe, or its settings")
    return dict(value)


def _arms(value: Any) -> Any:
    """`unselected:` with nothing behind it is the base recipe."""
    if not isinstance(value, Mapping):
        return value
    return {name: {} if patch is None else patch for name, patch in value.items()}


class HypothesisSettings(Settings):
    """A claim about an arm that is fixed before the first run."""

    metric: str  # METRIC/SPLIT or METRIC/SPLIT/BIN
    arm: str
    against: str  # an arm, a kind of control (`human`, `twin`, ...), `human text` or `base text`
    direction: Literal["higher", "lower", "equivalent"]
    tolerance: Annotated[Number, Field(ge=0)] | None = None  # share of the other's value
    level: Annotated[Number, Field(gt=0, lt=0.5)] = 0.05
    generation: AtLeastOne | None = None  # null: the last

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.metric.split("/")) not in (2, 3):
            raise ValueError(
                f"metric: {shown(self.metric)}: expected METRIC/SPLIT or METRIC/SPLIT/BIN, such as "
                "perplexity/held_out"
            )
        if self.direction == "equivalent" and self.tolerance == 0:
            raise ValueError(
                "tolerance: 0.0: no number of seeds can support equality: expected more than 0"
            )
        return self

    @property
    def allowed(self) -> float:
        """The tolerance as a share: as `compare` has it for equivalence, 0 for a direction."""
        if self.tolerance is not None:
            return self.tolerance
        return noticeable(self.metric.split("/")[0]) if self.direction == "equivalent" else 0.0


class StudySettings(Settings):
    """A study as it stands in YAML."""

    recipe: Annotated[Any, BeforeValidator(_recipe)]  # the base: a path, or the settings
    seeds: Annotated[tuple[Count, ...], Field(strict=False)]
    arms: Annotated[
        dict[str, dict[str, Any]],
        BeforeValidator(_arms, json_schema_input_type=dict[str, dict[str, Any] | None]),
    ] = Field({})
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field({})
    controls: Annotated[
        ControlSettings,
        BeforeValidator(_controls, json_schema_input_type=ControlSettings | bool),
    ] = ControlSettings()
    threshold: ThresholdSettings | None = None
    hypotheses: dict[str, HypothesisSettings] = Field({})

    @model_validator(mode="after")
    def _sound(self) -> Self:
        faults = [
            *_seed_list_faults(self.seeds),
            *_axis_faults(self.axes),
            *_patched_seeds(self),
            *_patched_in_vain(self),
            *_threshold_faults(self),
            *_hypothesis_faults(self),
        ]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def base(self, folder: Path) -> dict[str, Any]:
        """The base recipe's settings; its path is relative to `folder`.

        Raises:
            RecipeError: it cannot be read.
        """
        if isinstance(self.recipe, str):
            return read_settings(folder / self.recipe)
        return dict(self.recipe)


def read_study(data: Mapping[str, Any]) -> tuple[StudySettings | None, list[str]]:
    """The settings, as far as they are sound, and their faults.

    Without what is at fault the rest is checked too, so that all faults can be told at once.
    None stands for a study whose recipe is not given.
    """
    try:
        return StudySettings.model_validate(dict(data)), []
    except ValidationError as error:
        faults = fault_lines(error, StudySettings)
    sound = _sound(data, faults)
    if _at_fault("recipe", faults) or sound == data:
        return None, faults
    rest, more = read_study({"seeds": [0, 1], **sound})
    return rest, faults + more


def _sound(data: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """What is not at fault; of arms, axes and hypotheses each by itself."""
    sound = {}
    for key, value in data.items():
        is_several = key in ("arms", "axes", "hypotheses") and isinstance(value, Mapping)
        if is_several and not any(line.startswith(f"{key}:") for line in faults):
            sound[key] = {
                name: part
                for name, part in value.items()
                if not _at_fault(f"{key}.{printable(name)}", faults)
            }
        elif not _at_fault(printable(key), faults):
            sound[key] = value
    return sound


def _at_fault(path: str, faults: list[str]) -> bool:
    """Also of a fault across settings the message begins with the setting."""
    return any(line.startswith((f"{path}:", f"{path}.")) for line in faults)


def points(axes: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The grid over the axes, each point as values by dotted path; the last axis runs fastest.

    >>> points({"mix.human_tokens": [0, 5], "a, b": [[1, 2], [3, 4]]})[1]
    {'mix.human_tokens': 0, 'a': 3, 'b': 4}
    """
    grid: list[dict[str, Any]] = [{}]
    for key, rows in axes.items():
        paths = axis_paths(key)
        steps = [dict(zip(paths, row if len(paths) > 1 else [row], strict=True)) for row in rows]
        grid = [{**point, **step} for point in grid for step in steps]
    return grid


def axis_paths(key: str) -> list[str]:
    """The settings that an axis moves together.

    >>> axis_paths("mix.human_tokens, mix.model_tokens")
    ['mix.human_tokens', 'mix.model_tokens']
    """
    return [path.strip() for path in key.split(",")]


def patch(data: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Lay `changes` over `data`, in place: a mapping changes a group in part, all else replaces.

    >>> settings = {"mix": {"human_tokens": 5}, "seed": 0}
    >>> patch(settings, {"mix": {"model_tokens": 7}, "sample.top_k": 3})
    >>> settings
    {'mix': {'human_tokens': 5, 'model_tokens': 7}, 'seed': 0, 'sample': {'top_k': 3}}

    Raises:
        RecipeError: a path leads to a place that a list does not have.
    """
    for dotted, value in _laid(changes):
        lay_over(data, dotted, value)


def _laid(changes: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What a patch lays over a recipe, by dotted path."""
    for key, value in changes.items():
        dotted = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _laid(value, dotted)
        else:
            yield dotted, value


def invalid(where: str, faults: list[str]) -> RecipeError:
    """All faults of a study as one error."""
    count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
    return RecipeError("\n  ".join([f"{where}: {count}", *faults]))


def _seed_list_faults(seeds: tuple[int, ...]) -> list[str]:
    if not seeds:
        return ["seeds: []: expected at least 1 entry"]
    return _repeated("seeds", seeds)


def _repeated(where: str, values: Sequence[Any]) -> list[str]:
    """A fault for each value that is given more than once."""
    again = [value for place, value in enumerate(values) if value in values[:place]]
    return [
        f"{where}: {shown(value)}: is given {values.count(value)} times; give it once"
        for place, value in enumerate(again)
        if value not in again[:place]
    ]


def _axis_faults(axes: Mapping[str, list[Any]]) -> list[str]:
    faults = []
    moved: list[str] = []
    for key, rows in axes.items():
        paths = axis_paths(key)
        for path in paths:
            if not path:
                faults.append(f"axes.{key}: expected the path of a setting, or several with commas")
            elif path in moved:
                faults.append(f"axes.{key}: {path}: is on two axes; delete one")
            moved.append(path)
        faults += _repeated(f"axes.{key}", rows)
        for row in rows if len(paths) > 1 else []:
            if not isinstance(row, list) or len(row) != len(paths):
                faults.append(
                    f"axes.{key}: {shown(row)}: expected a list of {len(paths)} values, one a path"
                )
    return faults


def _patched_seeds(settings: StudySettings) -> list[str]:
    places = [f"arms.{name}" for name, changes in settings.arms.items() if "seed" in changes]
    places += [f"axes.{key}" for key in settings.axes if "seed" in axis_paths(key)]
    return [f"{place}: seed: is the business of seeds; delete it here" for place in places]


def _patched_in_vain(settings: StudySettings) -> list[str]:
    moved = [path for key in settings.axes for path in axis_paths(key)]
    return [
        f"arms.{name}.{dotted}: an axis moves {path} in every arm; delete one of them"
        for name, changes in settings.arms.items()
        for dotted, _ in _laid(changes)
        for path in moved
        if f"{dotted}.".startswith(f"{path}.")
    ]


def _threshold_faults(settings: StudySettings) -> list[str]:
    """What a search for a threshold needs of the rest."""
    if settings.threshold is None:
        return []
    faults = []
    if len(settings.seeds) == 1:
        faults.append("threshold: one seed gives no interval; give at least 2 in seeds")
    if settings.controls.human == "none":
        faults.append("threshold: is set against human text alone; do not leave out that control")
    faults += [
        f"axes.{key}: {path}: is the business of threshold; delete it here"
        for key in settings.axes
        for path in axis_paths(key)
        if path in ("mix.human_tokens", "mix.model_tokens")
    ]
    return faults


def _hypothesis_faults(settings: StudySettings) -> list[str]:
    """What is wrong with the names of hypotheses."""
    return [
        f"hypotheses: {shown(name)}: expected a name of 1 to 100 printable characters"
        for name in settings.hypotheses
        if not 1 <= len(name) <= 100 or not name.isprintable()
    ]
