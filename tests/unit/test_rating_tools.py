"""Ballots for Potato, Label Studio and Argilla, and the results that these tools export."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from textmad.errors import RunError
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES
from textmad.rating.tools import read_from_tool, write_for_tool

BALLOTS = [
    Ballot(raters_per_text=2),
    Ballot(design="stars", labels=("bad", "weak", "fair", "good", "great"), raters_per_text=2),
    Ballot(design="pairs", rounds=2, raters_per_text=2),
    Ballot(design="best_of", group=3, rounds=2, raters_per_text=2),
]
HOSTILE = "<b>&amp;</b> \u202e “a”\n<script>1</script>"


def laid_out(folder, settings, num_texts=6):
    ballots = Ballots(Path(folder) / VOTES)
    texts = [HOSTILE, *(f"text {i}" for i in range(1, num_texts))]
    ids = [f"g0-{i}" for i in range(num_texts)]
    ballots.lay_out(settings, 0, ids, texts, np.random.default_rng(0))
    return ballots


def label_of(settings, value):
    if settings.texts_per_item > 1:
        return f"Text {value + 1}"
    return settings.button_labels[settings.values.index(value)]


def answers(items, raters):
    """A value of each rater for each item, by a rule that gives all values."""
    return {
        (f"{item.ballot}-{item.number}", rater): item.settings.values[
            (item.number + row) % len(item.settings.values)
        ]
        for item in items
        for row, rater in enumerate(raters)
    }


def collected_by_potato(folder, settings, chosen, *, state):
    """Annotate what was exported, as Potato stores it: a folder for each annotator."""
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (scheme,) = config["annotation_schemes"]
    known = {row[config["item_properties"]["id_key"]] for row in rows}
    out = folder / config["output_annotation_dir"]
    for rater in sorted({rater for _, rater in chosen}):
        (out / rater).mkdir(parents=True)
        said = {item: value for (item, who), value in chosen.items() if who == rater}
        assert said.keys() == known
        labels = {item: label_of(settings, value) for item, value in said.items()}
        assert set(labels.values()) <= set(scheme["labels"])
        if state:  # Potato 2
            content = {
                "user_id": rater,
                "instance_id_to_label_to_value": {
                    item: [[{"schema": scheme["name"], "name": label}, label]]
                    for item, label in labels.items()
                },
                "instance_id_to_span_to_value": {},
            }
            (out / rater / "user_state.json").write_text(json.dumps(content))
            continue
        lines = [
            {
                "id": item,
                "displayed_text": "...",
                "label_annotations": {scheme["name"]: {label: "true"}, "other": {"x": "1"}},
                "span_annotations": [],
                "behavioral_data": {"time_string": "Time spent: 0d 0h 0m 3s"},
            }
            for item, label in labels.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / rater / "annotated_instances.jsonl").write_text(text)
    return out


def collected_by_label_studio(folder, settings, chosen, *, kind="choices"):
    """Annotate what was exported, as Label Studio's JSON export has it."""
    view = ElementTree.fromstring((folder / "labeling_config.xml").read_text())
    choices = view.find("Choices")
    assert {choice.get("value") for choice in choices} == {
        label_of(settings, value) for value in settings.values
    }
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        shown = {text.get("value").removeprefix("$") for text in view.findall("Text")}
        assert shown <= task["data"].keys()
        mine = {who: v for (item, who), v in chosen.items() if item == task["data"]["item"]}
        task["annotations"] = [
            {
                "id": 1000 + row,
                "completed_by": int(rater) if row else {"id": int(rater), "email": "a@example.org"},
                "result": [
                    {
                        "id": "x1",
                        "from_name": choices.get("name"),
                        "to_name": choices.get("toName"),
                        "type": kind,
                        "value": {
                            "choices": {"choices": [label_of(settings, value)]},
                            "rating": {"rating": value},
                            "pairwise": {"selected": ("left", "right")[value % 2]},
                        }[kind],
                    }
                ],
                "was_cancelled": False,
                "lead_time": 4.5,
                "created_at": "2026-03-09T22:16:08.728353Z",
            }
            for row, (rater, value) in enumerate(mine.items())
        ]
        skipped = {"id": 1, "completed_by": 9, "result": [], "was_cancelled": True}
        task["annotations"].append(skipped)
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def collected_by_argilla(folder, settings, chosen):
    """Annotate what was exported, as `dataset.records.to_json` writes it."""
    question = json.loads((folder / "question.json").read_text())
    records = json.loads((folder / "records.json").read_text())
    for record in records:
        assert list(record["fields"]) == question["fields"]
        mine = {who: v for (item, who), v in chosen.items() if item == record["id"]}
        assert {label_of(settings, value) for value in mine.values()} <= set(question["labels"])
        record["responses"][question["name"]] = [
            {"value": label_of(settings, value), "user_id": rater} for rater, value in mine.items()
        ]
        record["responses"][question["name"]].append(
            {"value": question["labels"][0], "user_id": "draft", "status": "draft"}
        )
    path = folder / "export.json"
    path.write_text(json.dumps(records))
    return path


@pytest.mark.parametrize("settings", BALLOTS, ids=lambda settings: settings.design)
@pytest.mark.parametrize("tool", ["potato", "potato 2", "label-studio", "argilla"])
def test_votes_collected_by_another_tool_come_back_as_they_were_cast(tmp_path, tool, settings):
    ballots = laid_out(tmp_path, settings)
    items, folder = ballots.items(), tmp_path / "for the tool"
    name, raters = tool.split()[0], ("10", "11")
    write_for_tool(name, folder, items)
    chosen = answers(items, raters)
    if name == "potato":
        path = collected_by_potato(folder, settings, chosen, state="2" in tool)
    else:
        collect = {"label-studio": collected_by_label_studio, "argilla": collected_by_argilla}
        path = collect[name](folder, settings, chosen)
    votes = read_from_tool(name, path, items)
    prefix = "" if name == "potato" else f"{name}-"
    assert {
        (f"{v.ballot}-{v.item}", v.rater.removeprefix(prefix)): v.value for v in votes
    } == chosen
    # They are votes like any other: added once, counted, and the ballot has enough.
    assert ballots.add_votes(votes) == len(items) * 2
    assert ballots.add_votes(read_from_tool(name, path, items)) == 0
    (state,) = ballots.states()
    assert state.is_enough
    if name == "label-studio":
        assert {vote.seconds for vote in votes} == {4.5}
        assert not any("@" in vote.rater for vote in votes)


@pytest.mark.parametrize(
    ("kind", "settings"), [("rating", Ballot(design="stars")), ("pairwise", BALLOTS[2])]
)
def test_label_studios_own_controls_for_stars_and_pairs_are_read_too(tmp_path, kind, settings):
    items = laid_out(tmp_path, settings).items()
    write_for_tool("label-studio", tmp_path / "tool", items)
    chosen = answers(items, ("10",))
    path = collected_by_label_studio(tmp_path / "tool", settings, chosen, kind=kind)
    votes = read_from_tool("label-studio", path, items)
    assert {(f"{vote.ballot}-{vote.item}", "10"): vote.value for vote in votes} == chosen


@pytest.mark.parametrize("tool", ["potato", "label-studio", "argilla"])
def test_a_tool_is_told_nothing_of_a_documents_id_and_gets_the_whole_text(tmp_path, tool):
    write_for_tool(tool, tmp_path / "tool", laid_out(tmp_path, Ballot()).items())
    files = {path.name: path.read_text() for path in (tmp_path / "tool").iterdir()}
    assert not any("g0-" in text for text in files.values())
    if tool == "potato":  # which shows HTML
        assert "<script>" not in files["items.jsonl"]
        rows = [json.loads(line)["text"] for line in files["items.jsonl"].splitlines()]
        assert any("&lt;script&gt;" in row for row in rows)
    elif tool == "label-studio":
        assert HOSTILE in [task["data"]["text"] for task in json.loads(files["tasks.json"])]
    else:
        assert HOSTILE in [row["fields"]["text"] for row in json.loads(files["records.json"])]


def test_what_cannot_be_exported_is_an_error(tmp_path):
    items = laid_out(tmp_path, Ballot()).items()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(RunError, match="expected an empty folder"):
        write_for_tool("argilla", tmp_path / "full", items)
    with pytest.raises(RunError, match="no ballot is open"):
        write_for_tool("argilla", tmp_path / "new", [])
    other = [items[0]._replace(settings=Ballot(question="Another?")), *items]
    with pytest.raises(RunError, match="ask different questions"):
        write_for_tool("argilla", tmp_path / "new", other)
    same = [item._replace(settings=Ballot(labels=("Yes", "Yes"))) for item in items]
    with pytest.raises(RunError, match="labels: Yes, Yes: expected different ones"):
        write_for_tool("argilla", tmp_path / "new", same)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "cannot be read as votes of argilla"),
        ("[1]", "cannot be read as votes of argilla"),
        ("[]", "holds no votes of argilla"),
        ([{"id": "ITEM", "responses": {}}], "holds no votes of argilla"),
        ([{"id": "x-1", "responses": {"vote": [{"value": "Yes", "user_id": "a"}]}}], "'x-1': no"),
        (
            [{"id": "ITEM", "responses": {"vote": [{"value": "Maybe", "user_id": "a"}]}}],
            "'Maybe': expected one of No, Yes",
        ),
        (
            [{"id": "ITEM", "responses": {"vote": [{"value": "Yes", "user_id": "a" * 100}]}}],
            "rater: expected 1 to 100",
        ),
    ],
)
def test_a_file_that_is_no_result_of_the_tool_is_an_error(tmp_path, content, message):
    items = laid_out(tmp_path, Ballot()).items()
    text = content if isinstance(content, str) else json.dumps(content)
    path = tmp_path / "export.json"
    path.write_text(text.replace("ITEM", f"{items[0].ballot}-{items[0].number}"))
    with pytest.raises(RunError, match=message):
        read_from_tool("argilla", path, items)
