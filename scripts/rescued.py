"""What `rescue` keeps of the human tail: `python scripts/rescued.py [DRAWN] [CRAWLED]`."""

import sys
import time

import numpy as np

from textmad.corpus import open_corpus
from textmad.curation import Context, MatchedRandom, Random, Rescue
from textmad.evaluators.rare_tokens import rare_tokens, text_tokens
from textmad.models.opening import open_model
from textmad.recipe import CorpusSettings, ModelSettings, SampleSettings
from textmad.seeds import stream
from textmad.text.documents import documents, take, token_counts
from textmad.text.rarity import frequency_bins
from textmad.text.words import Vocabulary, type_counts

NUM_DRAWN, NUM_CRAWLED = [*map(int, sys.argv[1:]), 2000, 20_000][:2]
SAMPLE = SampleSettings(max_new_tokens=128)
BASE = open_model(ModelSettings(base="tiny-gpt2"), SAMPLE)
CORPUS = open_corpus(CorpusSettings(), lambda texts: [len(ids) for ids in BASE.encode(texts)])


def drawn():
    """The base model's own documents: about 34 tokens each."""
    found = BASE.sample(
        SAMPLE, num_tokens=40 * NUM_DRAWN, stream=lambda index: stream(0, "rescued", index)
    )[:NUM_DRAWN]
    return documents(
        {
            "text": [document.text for document in found],
            "id": [f"g0-{index}" for index in range(len(found))],
            "tokens": [document.tokens for document in found],
        }
    )


def judged(judge, candidates, human):
    """What is kept, and the seconds of the processor that it took."""
    rng = stream(0, "rescued", "luck")
    nll, encode, size = BASE.token_nll, BASE.encode, BASE.vocabulary_size
    context = Context(1, rng, human, lambda _: human, nll, nll, encode, size)
    start = time.process_time()
    keep = judge(candidates, context).keep
    return take(candidates, np.flatnonzero(keep)), time.process_time() - start


def table(title, candidates, human):
    """In percent: the kept share of the tokens, rare types found, rare and unknown words kept."""
    vocabulary = Vocabulary()
    in_human = type_counts(human["text"][:], vocabulary)
    is_rare = (frequency_bins(in_human) == 0) & (in_human > 0)
    pieces = np.bincount(text_tokens(BASE.encode(human["text"][:])))

    def row(name, kept, seconds):
        counts = type_counts(kept["text"][:], vocabulary)
        known, num_words = counts[: len(in_human)], counts.sum()
        by_token = rare_tokens(text_tokens(BASE.encode(kept["text"][:])), pieces)
        shares = (
            token_counts(kept).sum() / token_counts(candidates).sum(),
            (known > 0)[is_rare].mean(),
            in_human[is_rare & (known > 0)].sum() / in_human[is_rare].sum(),
            known[is_rare].sum() / num_words,
            counts[len(in_human) :].sum() / num_words,
            *(found.value for found in by_token if found.metric != "unseen_mass"),
        )
        cells = " | ".join(f"{100 * share:.1f}" for share in shares)
        print(f"| {name} | {len(kept):,} | {cells} | {seconds:.1f} |", flush=True)

    print(f"\n{title}: {len(candidates):,} documents, beside {len(human):,} human ones")
    print(
        "| kept | documents | tokens | rare types found | their human mass | rare words |", end=""
    )
    print(" words not in human text | rare tokens | rare types of tokens found | s |")
    row("all", candidates, 0)
    for judge in (Random(0.5), Rescue("coverage"), Rescue("weight")):
        row(repr(judge), *judged(judge, candidates, human))
        if isinstance(judge, Rescue):
            row("  its matched random control", *judged(MatchedRandom(judge), candidates, human))


table("tiny-gpt2", drawn(), CORPUS.human)
order = stream(0, "rescued", "crawled").permutation(len(CORPUS.human))
crawled, known = np.split(order, [NUM_CRAWLED])
table("human", take(CORPUS.human, crawled), take(CORPUS.human, known))
