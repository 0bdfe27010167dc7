"""Measure the watermarks for docs/watermark.md: `python scripts/watermark_strength.py`.

Texts of 50 tokens that tiny-gpt2 draws without a prompt, recognised at 1 % false alarms; those of
chitchat's human text of 50 tokens, under 20 keys; what the mark does to the text; what it costs.
"""

import time
from dataclasses import replace

import numpy as np

from textmad.corpus import open_corpus
from textmad.curation import Context, Watermark
from textmad.evaluators.diversity import diversity
from textmad.models.opening import open_model
from textmad.models.protocol import Sample
from textmad.recipe import CorpusSettings, ModelSettings, SampleSettings, WatermarkSettings
from textmad.seeds import stream
from textmad.text.documents import documents
from textmad.text.passages import Passages

LENGTH, TEXTS, WORDS = 50, 1000, 30_000
MARKS = [
    None,
    *(WatermarkSettings(bias=bias) for bias in (1.0, 2.5, 5.0)),
    *(WatermarkSettings(kind="synthid", depth=depth) for depth in (3, 10, 30)),
]

model = open_model(ModelSettings(), SampleSettings())


def filter_of(mark, key=None):
    settings = {"depth": mark.depth} if mark.kind == "synthid" else {}
    return Watermark(key=key or mark.key, kind=mark.kind, **settings)


def recognised(ids, judge):
    """Whether each text of these ids is recognised, and z."""
    nothing = documents({"text": []})
    with_ends = [np.append(one, 0) for one in ids]
    context = Context(
        0,
        np.random.default_rng(0),
        nothing,
        lambda generation: nothing,
        lambda texts: [],
        lambda texts: [],
        lambda texts: with_ends,
        model.vocabulary_size,
    )
    verdicts = judge(documents({"text": [""] * len(ids)}), context)
    return ~verdicts.keep, verdicts.score


def first_tokens(texts):
    """The first 50 token ids of each text that has so many."""
    return [ids[:LENGTH] for ids in model.encode(texts) if len(ids) > LENGTH]


def drawn_with(mark):
    """Documents, of which 1,000 are long enough, and the ids that were drawn for each."""
    settings = SampleSettings(max_new_tokens=LENGTH + 6, watermark=mark)
    ids, read = {}, model._read

    def noting(drafts):
        texts = read(drafts)
        ids.update({text: draft.ids for text, draft in zip(texts, drafts, strict=True)})
        return texts

    model._read = noting
    drawn: list[Sample] = model.sample(
        settings, num_tokens=180_000, stream=lambda index: stream(0, "strength", index)
    )
    model._read = read
    return drawn, [ids[document] for document in drawn]


def seconds(mark, turn):
    """CPU time a token of 8,000 tokens."""
    begun = time.process_time()
    drawn = model.sample(
        SampleSettings(watermark=mark),
        num_tokens=8_000,
        stream=lambda index: stream(turn, "cost", index),
    )
    return (time.process_time() - begun) / sum(document.tokens for document in drawn)


corpus = open_corpus(
    CorpusSettings(), lambda texts: np.array([len(ids) for ids in model.encode(texts)], np.int32)
)
human = first_tokens(corpus.human["text"])
print(f"{len(human):,} human texts of {LENGTH} tokens")
for mark in MARKS:
    drawn, ids = drawn_with(mark)
    texts = [document.text for document in drawn]
    scored = Passages.whole(texts[:3000])
    scored = replace(scored, finished=tuple(document.finished for document in drawn[:3000]))
    nll = np.concatenate(scored.without_unwritten_ends(model.token_nll(texts[:3000])))
    distinct = {m.metric: m.value for m in diversity(texts, num_words=WORDS)}["distinct_2"]
    again = [one[:-1] for one in model.encode(texts)]
    line = [
        "none" if mark is None else f"{mark.kind} {mark.bias} {mark.depth}",
        f"perplexity {np.exp(nll.mean()):.1f}",
        f"distinct-2 {distinct:.3f}",
        f"tokens a document {np.mean([len(one) for one in ids]):.1f}",
    ]
    if mark is not None:
        judge = filter_of(mark)
        found, z = recognised(first_tokens(texts)[:TEXTS], judge)
        alarms = [recognised(human, filter_of(mark, key))[0].mean() for key in range(1, 21)]
        same = [np.array_equal(one, other) for one, other in zip(ids, again, strict=True)]
        long = [i for i, one in enumerate(ids) if len(one) >= LENGTH and len(again[i]) >= LENGTH]
        as_drawn = recognised([ids[i][:LENGTH] for i in long], judge)[0].mean()
        as_read = recognised([again[i][:LENGTH] for i in long], judge)[0].mean()
        line += [
            f"found {found.mean():.3f} of {len(found)}, mean z {z.mean():.2f}",
            f"false alarms {recognised(human, judge)[0].mean():.4f}, 20 keys "
            f"{np.mean(alarms):.4f} ({min(alarms):.4f} to {max(alarms):.4f})",
            f"read as drawn {np.mean(same):.3f}; of {len(long)} as drawn {as_drawn:.3f}, "
            f"as read {as_read:.3f}",
        ]
    print("; ".join(line), flush=True)

costs = np.mean([[seconds(mark, turn) for mark in MARKS] for turn in range(4)], 0)
print("CPU time against none, four turns each:", (costs / costs[0]).round(2))
