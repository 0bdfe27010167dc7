"""Texts of the arms side by side: the same slots of one seed, said once, never too many."""

from types import SimpleNamespace

from textmad.analysis.arms import runs_side_by_side
from textmad.report.page import template
from textmad.report.texts import MAX_ARMS, MAX_CHARACTERS, side_by_side
from textmad.text.documents import documents

HUMAN = documents({"text": ["do you like tea", "I have a dog"]})


def run(*generations, prompts=None, seed=0):
    """A run that drew these texts, a list a generation."""

    def candidates(generation):
        texts = generations[generation]
        num = len(texts)
        columns = {"text": texts, "origin": ["model"] * num, "kept": [True] * num}
        columns |= {"filter": [""] * num, "reason": [""] * num, "score": [0.5] * num}
        return documents(columns | ({"prompt": prompts} if prompts else {}))

    return SimpleNamespace(
        candidates=candidates, human=HUMAN, recipe=SimpleNamespace(seed=seed), name=generations
    )


def texts(slot, arm):
    return [doc and doc.text for doc in slot.arms[arm]]


def test_a_slot_shows_the_same_place_of_every_arm_and_generation():
    runs = {"human": run(["a0", "b0"], ["a1", "b1"]), "voted": run(["c0", "d0"], ["c1"])}
    first, second = side_by_side(runs, 1).slots
    assert (texts(first, "human"), texts(first, "voted")) == (["a0", "a1"], ["c0", "c1"])
    assert (texts(second, "human"), texts(second, "voted")) == (["b0", "b1"], ["d0", None])
    assert [slot.human.text for slot in (first, second)] == list(HUMAN["text"])


def test_a_text_that_an_arm_above_has_in_the_same_generation_is_said_once():
    runs = {
        "human": run(["same"], ["x"]),
        "voted": run(["same"], ["same"]),
        "twin": run(["same"], ["same"]),
    }
    (slot,) = side_by_side(runs, 1).slots
    assert [doc.same_as for doc in slot.arms["voted"]] == ["human", ""]
    assert [doc.same_as for doc in slot.arms["twin"]] == ["human", "voted"]
    assert (slot.arms["voted"][0].text, slot.arms["voted"][0].status) == ("", "kept")


def test_arms_with_the_same_prompt_have_the_human_words_that_followed_it():
    prompted = [run(["x"], ["y"], prompts=["do you"]) for _ in range(2)]
    found = side_by_side(dict(zip("ab", prompted, strict=True)), 1)
    assert found.human_heading == "human, same prompt"
    assert (found.slots[0].human.prompt, found.slots[0].human.text) == ("do you", " like tea")
    other = run(["x"], ["y"], prompts=["I have"])
    assert side_by_side({"a": prompted[0], "b": other}, 1).human_heading == "human, for comparison"


def of_seeds(*by_arm):
    arms = [
        SimpleNamespace(name=name, runs={seed: f"{name}{seed}" for seed in seeds})
        for name, seeds in by_arm
    ]
    return runs_side_by_side(SimpleNamespace(arms=arms))


def test_the_least_seed_that_all_arms_have_is_shown_and_without_one_each_arms_least():
    assert of_seeds(("a", [0, 2, 3]), ("b", [2, 3])) == {"a": "a2", "b": "b2"}
    assert of_seeds(("a", [0, 1]), ("b", [1, 2]), ("c", [2])) == {"a": "a0", "b": "b1", "c": "c2"}


def test_twenty_arms_of_ten_generations_of_long_texts_stay_a_page():
    runs = {
        f"arm {n}": run(*([f"{n} {g} " + "<&>\"'" * 2000] * 9 for g in range(11)))
        for n in range(MAX_ARMS + 2)
    }
    found = side_by_side(runs, 10)
    assert found.generations == (0, 3, 7, 10)
    assert found.left_out == (f"arm {MAX_ARMS}", f"arm {MAX_ARMS + 1}")
    cells = [doc for slot in found.slots for docs in slot.arms.values() for doc in docs]
    assert len(cells) == 3 * MAX_ARMS * 4
    assert all(len(doc.text) == MAX_CHARACTERS for doc in cells)
    macro = template("macros.html.j2").module.document
    # every one of these letters takes five bytes or so when escaped
    assert sum(len(macro(doc)) for doc in cells) < 2_000_000
