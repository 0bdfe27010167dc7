"""What filters and evaluators are given: contexts and snapshots.

    Recursion.curate(generation)
      ContextBuilder.of_filter(...)       a Context: human training text, earlier candidates, models
        filter(candidates, context)
    Recursion.evaluate(generation)
      ContextBuilder.of_evaluator(...)    a Snapshot: held-out text, equal samples of all text
        evaluator(snapshot)

Held-out text is in a snapshot and in no context.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad import mixture
from textmad.curation.protocol import Context, no_classifier
from textmad.errors import CurationError
from textmad.evaluators import Embedding, Snapshot, count_words
from textmad.loop.crawl import Crawl, with_label
from textmad.loop.run import Run
from textmad.models.base_files import base_digest, whole_encoder
from textmad.models.causal_lm.encoder import Encoder, open_encoder
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.models.protocol import LanguageModel, expecting
from textmad.rating.database import VOTES
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
    """Builds contexts and snapshots of one run from what it has committed."""

    def __init__(
        self, recipe: Recipe, run: Run, base: LanguageModel, scorer: DistributedScorer
    ) -> None:
        self._recipe, self._run, self._base, self._scorer = recipe, run, base, scorer
        self._shared_base = scorer.shared(None)
        self._encoders: dict[str, Encoder] = {}
        self._run_cache: dict[Any, Any] = {}
        self._warned: set[str] = set()

    def of_filter(self, generation: int, records: Records, position: int, name: str) -> Context:
        """Build the context of the filter at a position of `curate`."""
        return Context(
            generation=generation,
            rng=self._stream("curate", generation, position, name),
            human=self._run.human,
            earlier=self._run.candidates,
            record=partial(self._record, records),
            votes_file=self._run.path / VOTES,
            **self._model_methods(generation),
        )

    def of_crawl_filter(
        self, generation: int, crawl: Crawl, records: Records, position: int, name: str
    ) -> Context:
        """Build the context of a crawl filter; no crawled document can be looked up in it."""

        def labelled(earlier: int) -> Dataset:
            is_latest = earlier == generation - 1
            crawled = crawl.revealed(crawl.as_human) if is_latest else self._run.crawl(earlier + 1)
            return with_label(self._run.candidates(earlier), crawled)

        return Context(
            generation=generation,
            rng=self._stream("guard", generation, position, name),
            human=self._run.training(0),  # gathered before a model wrote, and never crawled
            earlier=labelled,
            as_posted=crawl.as_posted,
            record=partial(self._record, records),
            votes_file=self._run.path / VOTES,
            **self._model_methods(generation - 1),
        )

    def of_evaluator(self, generation: int) -> Snapshot:
        """Build the snapshot of a generation: as many documents of each kind of text."""
        recipe, run, human = self._recipe, self._run, self._compared_human
        candidates = run.candidates(generation)
        drawn = documents.take(candidates, self._random_order(candidates, "drawn", generation))
        # Kept text in the order of drawn text: where nothing is rejected the two are the same.
        kept = documents.take(drawn, np.flatnonzero(drawn["kept"][:]))
        # A list of its own: what an evaluator does to it must not reach the next generation.
        splits = {"human": list(human.texts), "drawn": drawn["text"][:], "kept": kept["text"][:]}
        return Snapshot(
            generation=generation,
            model=self._scorer.shared(generation),
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

    def _stream(self, stage: str, generation: int, position: int, name: str) -> np.random.Generator:
        """A filter's own random numbers; a twin has those of its filter."""
        return stream(self._recipe.seed, stage, generation, position, name.removeprefix(TWIN))

    def _model_methods(self, generation: int) -> dict[str, Any]:
        """The fields of a context that call the base or a generation's model."""
        model, base = self._scorer.shared(generation), self._shared_base
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
        """Keep what a filter reports beside its verdicts; log each warning once."""
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
        """The human text that every generation's is compared with; the same all through a run."""
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


def encoder_names(evaluators: Sequence[Any]) -> list[str]:
    """The names of the encoders that evaluators ask for, each once."""
    encoders = [part.encoder for part in evaluators if isinstance(part, Embedding)]
    return list(dict.fromkeys(name for name in encoders if name is not None))


def encoder_digests(evaluators: Sequence[Any]) -> dict[str, str]:
    """The digest of each encoder's files, by name.

    Raises:
        ModelError: an encoder is not there.
    """
    return {name: base_digest(whole_encoder(name)) for name in encoder_names(evaluators)}
