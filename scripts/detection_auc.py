"""How well a run's drawn text is told, by method and length: `python scripts/detection_auc.py RUN`.

1,000 drawn documents of each generation against as much text of the human training pool that its
model has not learned, prompted and cut in the same way; `trained` learns from the long ones alone
where only these are told.
"""

import sys
from typing import get_args

import numpy as np

import textmad as tm
from textmad.detection import Known, Method, Models, auc, first_by_hash, human_likeness
from textmad.models.opening import open_model
from textmad.text.documents import ids_of, token_counts
from textmad.text.passages import Passages, as_sampled

run = tm.Run(sys.argv[1])
sample = run.recipe.sample
base = open_model(run.recipe.model, sample)
prompt_tokens = None if sample.prompt == "none" else sample.prompt_tokens


def told(method, human, drawn, model):
    models = Models(
        base.token_moments, model.token_nll, lambda texts, *p: model.cross_entropy(texts, base, *p)
    )
    likeness = human_likeness(method, human + drawn, models, Known(human.texts, drawn.texts))
    return auc(*np.split(likeness, [len(human)]))


def passages_by_hash(corpus):
    of_text = {row[0]: row for row in Passages.of(corpus).rows()}
    return Passages.of_rows(of_text[text] for text in first_by_hash(corpus, 1_000))


for generation in range(run.recipe.generations + 1):
    model = base.load(run.path / f"gen-{generation:02}" / "model")
    learned = frozenset(ids_of(run.training(generation)))
    corpora = (run.human, run.candidates(generation))
    for least in (0, 40):
        long = [c.select(np.flatnonzero(token_counts(c) >= least)) for c in corpora]
        texts = first_by_hash(long[0], 1_000, learned)
        human = as_sampled(base, texts, prompt_tokens, sample.max_new_tokens)
        drawn = passages_by_hash(long[1])
        num = min(len(human), len(drawn))
        values = {m: told(m, human.first(num), drawn.first(num), model) for m in get_args(Method)}
        print(f"generation {generation}, {num} documents of >= {least} tokens:", end=" ")
        print(", ".join(f"{method} {value:.3f}" for method, value in values.items()))
