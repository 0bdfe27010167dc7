"""Ballots for other annotation tools, and the votes that these tools collected.

Potato, Label Studio and Argilla each get a folder with the items of a ballot and the question. What
they export afterwards is read as votes. An item is known by its ballot and number; a tool is told
nothing of a text's origin, generation, arm or score.

Formats: Potato's `annotated_instances.jsonl` and `user_state.json`; Label Studio's JSON export;
Argilla's `dataset.records.to_json`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import yaml

from textmad.errors import RunError, unreadable
from textmad.rating.ballot import Ballot
from textmad.rating.records import Item, Vote

Tool = Literal["potato", "label-studio", "argilla"]

_QUESTION = "vote"  # name of the question in every tool


class _Answer(NamedTuple):
    """What one person said about one item, as a tool has it."""

    item: str
    rater: str
    label: str | int
    seconds: float = 0.0
    cast_at: float = 0.0


def write_for_tool(tool: Tool, folder: Path, items: Sequence[Item]) -> None:
    """Write items and their question as files that a tool reads.

    Raises:
        RunError: no items, items with different questions, labels that are the same, something
            in the folder already, or it cannot be written.
    """
    if not items:
        raise RunError(f"{folder}: no ballot is open, so there is nothing to export")
    settings = items[0].settings
    if any(_asked(item.settings) != _asked(settings) for item in items):
        raise RunError(
            f"{folder}: the open ballots ask different questions; vote on `textmad rate`"
        )
    labels = _labels(settings)
    if len(set(labels)) < len(labels):
        raise RunError(f"{folder}: labels: {', '.join(labels)}: expected different ones")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: holds something: expected an empty folder, or none")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _WRITERS[tool](settings, items).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from error


def read_from_tool(tool: Tool, path: Path, items: Sequence[Item]) -> list[Vote]:
    """Read the votes that a tool collected; skipped items and other questions are passed over.

    Args:
        tool: that wrote `path`.
        path: a file, or for Potato its folder of annotations.
        items: of all ballots; a vote on another item is an error.

    Raises:
        RunError: it cannot be read, or a vote is on an unknown item or has an unknown label.
    """
    known = {_name(item): item for item in items}
    votes: dict[tuple[str, str], Vote] = {}
    try:
        for answer in _READERS[tool](path):
            item = known.get(answer.item)
            if item is None:
                raise RunError(
                    f"{path}: {answer.item!r}: no item of these ballots has this id; export them "
                    f"with `textmad votes DIR --export FOLDER --tool {tool}`"
                )
            votes[answer.item, answer.rater] = _vote(path, item, answer)
    except OSError as error:
        raise unreadable(path, error) from error
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: cannot be read as votes of {tool}: {type(error).__name__}: {error}"
        ) from error
    if not votes:
        raise RunError(f"{path}: holds no votes of {tool} on the question {_QUESTION}")
    return list(votes.values())


def _vote(path: Path, item: Item, answer: _Answer) -> Vote:
    labels = _labels(item.settings)
    if answer.label in labels:
        value = item.settings.values[labels.index(str(answer.label))]
    elif item.settings.design == "stars" and answer.label in item.settings.values:
        value = int(answer.label)
    else:
        raise RunError(
            f"{path}: item {answer.item}: {answer.label!r}: expected one of {', '.join(labels)}"
        )
    if not 1 <= len(answer.rater) <= 100:
        raise RunError(f"{path}: item {answer.item}: rater: expected 1 to 100 characters")
    position = value if len(item.documents) > 1 else 0  # a tool shows all raters the same order
    return Vote(
        item.ballot,
        item.number,
        item.documents,
        item.gold,
        answer.rater,
        0,
        value,
        position,
        answer.seconds,
        answer.cast_at,
    )


def _asked(settings: Ballot) -> tuple[Any, ...]:
    return settings.design, settings.question, settings.labels, settings.group


def _labels(settings: Ballot) -> list[str]:
    """Return a label for each value of a vote."""
    if settings.texts_per_item > 1:
        return [f"Text {position}" for position in range(1, settings.texts_per_item + 1)]
    return list(settings.button_labels)


def _name(item: Item) -> str:
    return f"{item.ballot}-{item.number}"


def _fields(item: Item) -> dict[str, str]:
    """Return the texts of an item by the name of their field."""
    if len(item.texts) == 1:
        return {"text": item.texts[0]}
    return {f"text_{number}": text for number, text in enumerate(item.texts, 1)}


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


# --- Potato ---------------------------------------------------------------------------------


def _for_potato(settings: Ballot, items: Sequence[Item]) -> dict[str, str]:
    rows = []
    for item in items:
        texts = [html.escape(text, quote=False) for text in item.texts]  # Potato reads HTML
        rows.append({"id": _name(item), "text": texts[0] if len(texts) == 1 else texts})
    config = {
        "annotation_task_name": "textmad",
        "task_dir": ".",
        "output_annotation_dir": "annotation_output",
        "data_files": ["items.jsonl"],
        "item_properties": {"id_key": "id", "text_key": "text"},
        "user_config": {"allow_all_users": True, "users": []},
        "annotation_schemes": [
            {
                "annotation_type": "radio",
                "name": _QUESTION,
                "description": settings.question,
                "labels": _labels(settings),
                "sequential_key_binding": True,
            }
        ],
    }
    if settings.texts_per_item > 1:
        config["list_as_text"] = {"text_list_prefix_type": "number"}
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return {"items.jsonl": lines, "config.yaml": yaml.safe_dump(config, sort_keys=False)}


def _of_potato(path: Path) -> Iterator[_Answer]:
    if path.is_dir():
        states = sorted(path.rglob("user_state.json"))
        files = states or sorted(path.rglob("annotated_instances.jsonl"))
    else:
        files = [path]
    for file in files:
        text = file.read_text(encoding="utf-8")
        if file.name == "user_state.json":
            yield from _of_potato_state(json.loads(text))
            continue
        for row in map(json.loads, text.splitlines()):
            rater = str(row.get("user_id") or file.parent.name)
            chosen = _chosen_in_potato(row["label_annotations"])
            item = str(row["id"] if "id" in row else row["instance_id"])
            yield from (_Answer(item, rater, label) for label in chosen)


def _of_potato_state(state: Mapping[str, Any]) -> Iterator[_Answer]:
    for item, labels in state["instance_id_to_label_to_value"].items():
        if isinstance(labels, list):  # pairs of a label and its value
            by_schema: dict[str, dict[str, Any]] = {}
            for label, value in labels:
                by_schema.setdefault(label["schema"], {})[label["name"]] = value
        else:
            by_schema = labels
        chosen = _chosen_in_potato(by_schema)
        yield from (_Answer(str(item), str(state["user_id"]), label) for label in chosen)


def _chosen_in_potato(by_schema: Mapping[str, Any]) -> list[str]:
    """Return the labels of our question that are set: Potato may list the others as false."""
    labels = by_schema.get(_QUESTION, {})
    labels = labels.get("labels", labels)
    return [name for name, value in labels.items() if value not in (False, None, "", "false", "0")]


# --- Label Studio ---------------------------------------------------------------------------


def _for_label_studio(settings: Ballot, items: Sequence[Item]) -> dict[str, str]:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value=settings.question)
    fields = list(_fields(items[0]))
    for field in fields:
        ElementTree.SubElement(view, "Text", name=field, value=f"${field}")
    choices = ElementTree.SubElement(
        view, "Choices", name=_QUESTION, toName=fields[0], choice="single", showInLine="true"
    )
    for label in _labels(settings):
        ElementTree.SubElement(choices, "Choice", value=label)
    ElementTree.indent(view)
    tasks = [{"data": {"item": _name(item), **_fields(item)}} for item in items]
    config = ElementTree.tostring(view, encoding="unicode")
    return {"tasks.json": _json(tasks), "labeling_config.xml": config + "\n"}


def _of_label_studio(path: Path) -> Iterator[_Answer]:
    for task in json.loads(path.read_text(encoding="utf-8")):
        for annotation in task["annotations"]:
            if annotation.get("was_cancelled"):
                continue
            by = annotation["completed_by"]
            rater = str(by["id"] if isinstance(by, dict) else by)  # never a name or an address
            for result in annotation["result"]:
                if result.get("from_name", _QUESTION) == _QUESTION:
                    yield _Answer(
                        str(task["data"]["item"]),
                        f"label-studio-{rater}",
                        _chosen_in_label_studio(result["type"], result["value"]),
                        float(annotation.get("lead_time") or 0),
                        _seconds_since_1970(annotation.get("created_at")),
                    )


def _chosen_in_label_studio(kind: str, value: Mapping[str, Any]) -> str | int:
    match kind:
        case "choices":
            (label,) = value["choices"]
            return str(label)
        case "rating":
            return int(value["rating"])
        case "pairwise":
            return {"left": "Text 1", "right": "Text 2"}[value["selected"]]
    raise ValueError(f"type {kind}: expected choices, rating or pairwise")


def _seconds_since_1970(time: str | None) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0


# --- Argilla --------------------------------------------------------------------------------


def _for_argilla(settings: Ballot, items: Sequence[Item]) -> dict[str, str]:
    records = [
        {
            "id": _name(item),
            "fields": _fields(item),
            "metadata": {},
            "suggestions": {},
            "responses": {},
            "vectors": {},
        }
        for item in items
    ]
    question = {
        "name": _QUESTION,
        "title": settings.question,
        "labels": _labels(settings),
        "fields": list(_fields(items[0])),
    }
    return {"records.json": _json(records), "question.json": _json(question)}


def _of_argilla(path: Path) -> Iterator[_Answer]:
    for record in json.loads(path.read_text(encoding="utf-8")):
        for response in record["responses"].get(_QUESTION, []):
            if response.get("status", "submitted") == "submitted":  # not a draft, not discarded
                rater = f"argilla-{response['user_id']}"
                yield _Answer(str(record["id"]), rater, response["value"])


_WRITERS: dict[Tool, Callable[[Ballot, Sequence[Item]], dict[str, str]]] = {
    "potato": _for_potato,
    "label-studio": _for_label_studio,
    "argilla": _for_argilla,
}
_READERS: dict[Tool, Callable[[Path], Iterator[_Answer]]] = {
    "potato": _of_potato,
    "label-studio": _of_label_studio,
    "argilla": _of_argilla,
}
