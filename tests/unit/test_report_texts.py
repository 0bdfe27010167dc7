from types import SimpleNamespace

from textmad.report.texts import (
    MAX_CHARACTERS,
    NUM_SLOTS,
    count_rejections,
    display,
    slot_grid,
    vote_extremes,
)
from textmad.text.documents import documents

HUMAN = documents({"text": ["do you like tea or coffee", "I have a dog", "it rains"]})


def candidates(texts, **columns):
    num = len(texts)
    given = {"kept": [True] * num, "filter": [""] * num, "reason": [""] * num}
    given |= {"score": [0.5] * num, "origin": ["model"] * num} | columns
    return documents({"text": texts, **given})


def run(*generations):
    return SimpleNamespace(candidates=generations.__getitem__, human=HUMAN)


def test_a_row_holds_the_same_slot_of_every_generation():
    grid = slot_grid([run(candidates(["a", "b"]), candidates(["c", "d"]))], [0, 1])
    assert [[doc.text for doc in row[1:]] for row in grid.rows] == [["a", "c"], ["b", "d"]]


def test_slots_are_the_first_documents_drawn():
    drawn = candidates([f"text {index}" for index in range(NUM_SLOTS + 5)])
    grid = slot_grid([run(drawn)], [0])
    assert [row[1].text for row in grid.rows] == [f"text {index}" for index in range(NUM_SLOTS)]


def test_a_slot_that_a_generation_did_not_draw_is_empty():
    grid = slot_grid([run(candidates(["a", "b"]), candidates(["c"]))], [0, 1])
    assert grid.rows[1][2] is None


def test_human_examples_stand_in_front_and_carry_no_verdict():
    grid = slot_grid([run(candidates(["a", "b", "c", "d"]))], [0])
    assert [row[0].text for row in grid.rows[:3]] == list(HUMAN["text"])
    assert grid.rows[3][0] is None  # there are three human documents
    assert (grid.rows[0][0].status, grid.rows[0][0].decision) == ("human", "")


def test_a_prompted_slot_shows_how_a_human_went_on():
    prompted = candidates(["cats?", "fish"], prompt=["do you like", "nobody says"])
    grid = slot_grid([run(prompted, prompted)], [0, 1])
    assert grid.human_heading == "human, same prompt"
    assert (grid.rows[0][0].prompt, grid.rows[0][0].text) == ("do you like", " tea or coffee")
    assert grid.rows[1][0] is None


def test_prompts_that_differ_between_generations_claim_no_human_continuation():
    first, second = candidates(["x"], prompt=["do you like"]), candidates(["y"], prompt=["I have"])
    grid = slot_grid([run(first, second)], [0, 1])
    assert grid.human_heading == "human, for comparison"
    assert [doc.prompt for doc in grid.rows[0][1:]] == ["do you like", "I have"]


def test_a_reject_names_filter_reason_score_and_votes():
    rejected = {"kept": [False], "filter": ["upvotes"], "reason": ["below the top quarter"]}
    doc = display(candidates(["a"], **rejected, score=[-0.5], ups=[12], downs=[38])[0])
    assert doc.status == "rejected"
    assert doc.decision == "by upvotes: below the top quarter, score −0.500"
    assert doc.votes == "▲ 12 ▼ 38"


def test_a_score_that_is_not_there_is_not_shown():
    assert display(candidates(["a"], score=[None])[0]).decision == ""


def test_a_long_text_says_how_much_was_left_out():
    doc = display(candidates(["x" * (MAX_CHARACTERS + 1234)])[0])
    assert len(doc.text) == MAX_CHARACTERS
    assert doc.cut == "1,234 more characters"


def test_a_text_that_the_model_did_not_end_says_so():
    assert display(candidates(["a"], finished=[False])[0]).cut == "not ended by the model"


def test_control_characters_are_shown_as_pictures_and_line_breaks_stay():
    assert display(candidates(["a\x00b\x1b[31m\nc\x85"])[0]).text == "a␀b␛[31m\nc\ufffd"


def test_the_most_and_the_least_voted_are_ordered_by_votes_then_place():
    votes = [3.0, 9.0, None, 9.0, -2.0, 0.0, 1.0, 2.0, 4.0, 5.0]
    found = vote_extremes(candidates(list("abcdefghij"), votes=votes), 0)
    assert [doc.text for doc in found.top] == ["b", "d", "j", "i"]
    assert [doc.text for doc in found.bottom] == ["e", "f", "g", "h"]
    assert found.num_voted == 9


def test_no_document_is_both_most_and_least_voted():
    found = vote_extremes(candidates(list("abcde"), votes=[5.0, 4.0, 3.0, 2.0, 1.0]), 0)
    assert [doc.text for doc in found.bottom] == ["e"]


def test_without_votes_there_is_nothing_to_show():
    assert vote_extremes(candidates(["a"]), 0) is None


def test_rejections_are_counted_by_filter_and_reason():
    judged = candidates(
        list("abcd"),
        kept=[False, True, False, False],
        filter=["length", "", "upvotes", "upvotes"],
        reason=["too short", "", "unpopular", "unpopular"],
    )
    counted = [
        (each.filter, each.reason, each.count, each.total) for each in count_rejections(judged, 2)
    ]
    assert counted == [("upvotes", "unpopular", 2, 4), ("length", "too short", 1, 4)]
