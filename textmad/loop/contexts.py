"""What the filters and evaluators of a run are shown: contexts and snapshots.

Held-out text is in a snapshot and in no context.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad import mixture, store
from textmad.curation.protocol import Context, no_classifier
from textmad.errors import CurationError
from textmad.evaluators import Embedding, Snapshot, count_words
from textmad.loop.crawl import Crawl, with_label
from textmad.models.base_files import base_digest, whole_encoder
from textmad.models.causal_lm.encoder import Encoder, open_encoder
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.models.protocol import LanguageModel, expecting
from textmad.recipe import Recipe
from textmad.recipe.components import TWIN
from textmad.seeds import stream
from textmad.text import documents

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

Records = dict[str, Mapping[str, Any]]
"""What filters report beside their verdicts, by name."""

_log = logging.getLogger(__name__)

# Of the human documents that fill the evaluators' sample this much is compared, by document and by
# word, so that text in longer documents, or with fewer words to as many tokens, still fills it.
_COMPARED_SHARE = 2 / 3


class ContextBuilder:
    """What is shown of one run, as far as it is committed."""

    def __init__(
        self, recipe: Recipe, run: store.Run, base: LanguageModel, crew: DistributedScorer
    ) -> None:
        self._recipe, self._run, self._base, self._crew = recipe, run, base, crew
        self._shared_base = crew.shared(None)
        self._encoders: dict[str, Encoder] = {}
        self._run_cache: dict[Any, Any] = {}
        self._warned: set[str] = set()

    def of_filter(self, generation: int, records: Records, place: int, name: str) -> Context:
        """What the filter at a place of `curate` may know."""
        return Context(
            generation=generation,
            rng=self._stream("curate", generation, place, name),
            human=self._run.human,
            earlier=self._run.candidates,
            record=partial(self._record, records),
            **self._models_say(generation),
        )

    def of_guard(
        self, generation: int, found: Crawl, records: Records, place: int, name: str
    ) -> Context:
        """What a guard may know: nothing by which a crawled document could be looked up."""

        def labelled(earlier: int) -> Dataset:
            is_latest = earlier == generation - 1
            crawled = found.revealed(found.shown) if is_latest else self._run.crawl(earlier + 1)
            return with_label(self._run.candidates(earlier), crawled)

        return Context(
            generation=generation,
            rng=self._stream("guard", generation, place, name),
            human=self._run.training(0),  # gathered before a model wrote, and never crawled
            earlier=labelled,
            as_posted=found.as_posted,
            record=partial(self._record, records),
            **self._models_say(generation - 1),
        )

    def of_evaluator(self, generation: int) -> Snapshot:
        """A generation as the evaluators see it: as many documents of each kind of text."""
        recipe, run, human = self._recipe, self._run, self._compared_human
        candidates = run.candidates(generation)
        drawn = documents.take(candidates, self._random_order(candidates, "drawn", generation))
        # Kept text in the order of drawn text: where nothing is rejected the two are the same.
        kept = documents.take(drawn, np.flatnonzero(drawn["kept"][:]))
        # A list of its own: what an evaluator does to it must not reach the next generation.
        splits = {"human": list(human.texts), "drawn": drawn["text"][:], "kept": kept["text"][:]}
        return Snapshot(
            generation=generation,
            model=self._crew.shared(generation),
            base=self._shared_base,
            held_out=run.held_out,
            human=run.human,
            training=run.training(generation),
            texts={
                name: texts for name, texts in splits.items() if len(texts) >= human.num_documents
            },
            num_documents=human.num_documents,
            num_words=human.num_words,
            rng=stream(recipe.seed, "evaluate", generation),
            candidates=candidates,
            crawled=run.crawl(generation) if recipe.crawls(generation) else documents.empty(),
            curve=_rows(run.curve(generation)),
            open_encoder=self._open_encoder,
            run_cache=self._run_cache,
        )

    def _stream(self, stage: str, generation: int, place: int, name: str) -> np.random.Generator:
        """A filter's own; a twin's filter votes as it would without its twin."""
        return stream(self._recipe.seed, stage, generation, place, name.removeprefix(TWIN))

    def _models_say(self, generation: int) -> dict[str, Any]:
        """What a filter may ask the base and a generation's model, as a context has it."""
        model, base = self._crew.shared(generation), self._shared_base
        return {
            "token_nll": model.token_nll,
            "base_token_nll": base.token_nll,
            "fit_classifier": getattr(self._base, "fit_classifier", no_classifier),
            "base_token_moments": lambda texts: expecting(base).token_moments(texts),
            "cross_entropy": lambda texts: expecting(model).cross_entropy(texts, base),
            "encode": self._base.encode,
            "vocabulary_size": self._base.vocabulary_size,
            "open_encoder": self._open_encoder,
        }

    def _record(self, records: Records, name: str, facts: Mapping[str, Any]) -> None:
        """Take what a filter reports beside its verdicts; a warning is given once."""
        try:
            records[name] = json.loads(json.dumps(facts))
        except (TypeError, ValueError) as error:
            raise CurationError(
                f"record {name}: cannot be written as JSON ({error}); give text, numbers, lists "
                "and mappings of them"
            ) from error
        if (warning := facts.get("warning")) and warning not in self._warned:
            self._warned.add(warning)
            _log.warning("%s", warning)

    def _open_encoder(self, name: str) -> Encoder:
        if name not in self._encoders:
            self._encoders[name] = open_encoder(name)
        return self._encoders[name]

    @cached_property
    def _compared_human(self) -> _ComparedHuman:
        """The same human text beside every generation's."""
        human = self._run.human
        order = self._random_order(human, "human")
        tokens = np.cumsum(documents.token_counts(human)[order])
        compared_tokens = mixture.compared_tokens(self._recipe.mix, self._recipe.sample)
        filling = int(np.searchsorted(tokens, compared_tokens)) + 1
        num_documents = max(1, int(filling * _COMPARED_SHARE))
        texts = documents.take(human, order[:filling])["text"][:]
        return _ComparedHuman(texts, num_documents, count_words(texts[:num_documents]))

    def _random_order(self, corpus: Dataset, *names: str | int) -> np.ndarray:
        return stream(self._recipe.seed, "compare", *names).permutation(len(corpus))


class _ComparedHuman(NamedTuple):
    """Human training text as large as the evaluators' sample, and how much of it is compared."""

    texts: Sequence[str]
    num_documents: int
    num_words: int


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def encoder_digests(evaluators: Sequence[Any]) -> dict[str, str]:
    """Of the files of each encoder that an evaluator asks for, which have to be there."""
    named = [part.encoder for part in evaluators if isinstance(part, Embedding)]
    return {name: base_digest(whole_encoder(name)) for name in named if name is not None}
