"""The plane of quality and diversity: arms beside the untuned model at other temperatures."""

import math
from pathlib import Path

import pytest

import textmad as tm
from textmad.analysis.quality_diversity import interpolated
from textmad.recipe.yaml_text import to_yaml
from textmad.report.comparison.page import write_comparison
from textmad.studies import parse_study

DIVERSITY = ("diversity", "distinct_2", "drawn", "")
LIKED = ("adversary", "beats_human", "drawn", "held_out")
JUDGE = ("adversary", "beats_human", "drawn", "discriminator")  # is no measure of quality
GAP = ("adversary", "over_optimisation_gap", "drawn", "")
HUMAN = ("diversity", "distinct_2", "human", "")

# By temperature: diversity and how well liked, of seed 0; seed 1 is liked by 0.1 more.
SWEEP = {0.5: (0.2, 0.9), 1.0: (0.6, 0.5), 1.5: (0.8, 0.1)}


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory, measured_runs) -> Path:
    folder = tmp_path_factory.mktemp("plane") / "study"
    study = parse_study(
        {
            "recipe": {
                "generations": 2,
                "curate": ["upvotes"],
                "sample": {"oversample": 6.0},
                "evaluate": ["adversary"],
                "train": {"preference": {}},
            },
            "seeds": [0, 1],
            "arms": {"liked": {}},
            "controls": {"human": "none", "temperatures": list(SWEEP)},
        },
        "study.yaml",
        Path(),
    )
    folder.mkdir()
    (folder / "study.yaml").write_text(to_yaml(study.dump()))
    for run in study.runs():
        place, seed = folder / "runs" / run.name, run.recipe.seed
        if run.recipe.generations == 0:
            x, y = SWEEP[run.recipe.sample.temperature]
            values = {DIVERSITY: [x], LIKED: [y + 0.1 * seed], HUMAN: [0.7]}
            values |= {GAP: [0.0], JUDGE: [0.5]}
        else:
            own = run.recipe.train.preference is not None and "labels" not in run.arm
            # Of seed 0 the arm ends between two temperatures, of seed 1 where the sweep is not.
            end = (0.1 if seed else 0.4) if own else 0.6
            values = {
                DIVERSITY: [0.6, 0.5, end],
                LIKED: [0.5, 0.6, 0.95 if own else 0.5],
                GAP: [0.0, 0.1 + 0.01 * seed, 0.3 if own else 0.0],
                HUMAN: [0.7] * 3,
                JUDGE: [0.5] * 3,
            }
        measured_runs.write(place, run.recipe, values)
    return folder


@pytest.fixture(scope="module")
def compared(study_folder: Path):
    return tm.compare([study_folder])


def test_quality_at_a_diversity_is_read_between_two_temperatures_and_never_outside():
    sweep = list(SWEEP.values())
    assert interpolated(sweep, 0.4) == pytest.approx((0.9 + 0.5) / 2)
    assert interpolated(sweep, 0.8) == pytest.approx(0.1)
    assert math.isnan(interpolated(sweep, 0.81))
    assert math.isnan(interpolated(sweep[:1], 0.2))


def test_the_sweep_is_no_arm_of_the_comparison_and_imitation_is_the_control(compared):
    assert list(compared.seeds) == ["liked imitation", "liked", "liked random labels"]
    assert compared.control == "its imitation alone"
    assert compared.controls == dict.fromkeys(["liked", "liked random labels"], "liked imitation")
    assert compared.generation == 2  # not 0, the only one that the sweep has


def test_an_arm_is_as_far_above_the_sweep_as_its_quality_at_its_own_diversity(compared):
    (plane,) = compared.planes
    assert (plane.quality.metric, plane.quality.bin) == ("beats_human", "held_out")
    assert plane.sweep == {t: pytest.approx((x, y + 0.05)) for t, (x, y) in SWEEP.items()}
    assert plane.human == pytest.approx((0.7, 0.5))
    paths = {path.arm: path for path in plane.paths}
    liked = paths["liked"]
    assert liked.points[2] == pytest.approx((0.25, 0.95))
    # At 0.4 of seed 0 the untuned model has 0.7; 0.1 of seed 1 no temperature gives.
    assert liked.above is not None
    assert (liked.above.estimate, liked.above.n) == (pytest.approx(0.95 - 0.7), 1)
    assert liked.not_reached == (1,)
    random = paths["liked random labels"].above
    assert random is not None
    assert random.estimate == pytest.approx(-0.05)  # 0.5 less 0.5, and less 0.6


def test_the_growth_of_the_gap_is_a_signal_of_the_early_warning(compared):
    (warning,) = [each for each in compared.warnings if each.arm == "liked"]
    assert "Over-optimisation, drawn" in warning.keys


def test_the_page_has_the_plane_with_figure_sentence_and_table(compared, tmp_path: Path):
    write_comparison(compared, tmp_path)
    page = (tmp_path / "comparison.html").read_text()
    assert "Quality and diversity" in page
    assert "untuned, by temperature" in page
    markdown = (tmp_path / "comparison.md").read_text()
    assert (
        "supported to be above the untuned model at the temperature of equal diversity "
        "(Distinct-2, drawn), at generation 2: no arm." in markdown
    )
    numbers = (tmp_path / "comparison-plane.csv").read_text().splitlines()
    assert len(numbers) == 1 + 3 + 3 * 3  # head, temperatures, arms by generation


def test_a_study_without_a_sweep_has_no_plane(study_folder: Path, tmp_path: Path):
    loose = sorted((study_folder / "runs").glob("liked*/seed-0"))
    assert len(loose) == 3
    plain = tm.compare(loose, control=str(loose[0]))
    assert plain.planes == ()
    write_comparison(plain, tmp_path)
    assert not (tmp_path / "comparison-plane.csv").exists()
