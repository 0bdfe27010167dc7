"""What filters and evaluators are given: contexts and snapshots.

    curate(member, generation)
      ContextBuilder.of_filter(...)       a Context: human training pool, earlier candidates, models
        filter(candidates, context)
    evaluate(member, generation)
      ContextBuilder.of_evaluator(...)    a Snapshot: held-out text, equal samples of all text
        evaluator(snapshot)

Held-out text is in a snapshot and in no context.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence, Sized
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad import mixture
from textmad.curation.protocol import Context, no_classifier
from textmad.errors import CurationError, ModelError
from textmad.evaluators import Snapshot, count_words
from textmad.evaluators.held_out import half_of_held_out
from textmad.loop.crawl import Crawl, with_label
from textmad.loop.run import Run
from textmad.models.distributed.distributed_scoring import DistributedScorer
from textmad.models.opening import open_model
from textmad.models.protocol import LanguageModel, expecting
from textmad.rating.database import VOTES
from textmad.recipe import ModelSettings, Recipe
from textmad.recipe.components import TWIN
from textmad.seeds import stream
from textmad.store.folder import CRAWL
from textmad.text import documents
from textmad.text.passages import Passages, as_sampled

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from textmad.models.causal_lm.encoder import Encoder

Records = dict[str, Mapping[str, Any]]
"""What filters report beside their verdicts, by name."""

_AT_ONCE = 4096  # documents prompted and cut at once

_log = logging.getLogger(__name__)

# Of the human documents that fill the evaluators' sample this much is compared, by document and by
# word, so that text in longer documents, or with fewer words to as many tokens, still fills it.
_COMPARED_SHARE = 2 / 3
# Of the human documents to be resampled at most this much is compared: samples of nearly all of
# them would be alike.
_MAX_OF_RESAMPLED = 2 / 3


class ContextBuilder:
    """Builds contexts and snapshots of one run from what it has committed.

    Args:
        recipe: of the run.
        run: what is committed.
        base: the base model.
        scorer: scores text under the models of the run.
        votes_folder: has the file of people's votes.
        name: of the run in its study; "" outside of one.
        run_cache: makes what evaluators leave there for the run, of the base model.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        base: LanguageModel,
        scorer: DistributedScorer,
        votes_folder: Path,
        name: str = "",
        run_cache: Callable[[LanguageModel], MutableMapping[Any, Any]] = lambda base: {},
    ) -> None:
        self._votes_file, self._name = votes_folder / VOTES, name
        self._recipe, self._run, self._base, self._scorer = recipe, run, base, scorer
        self._shared_base = scorer.shared(None)
        self._encoders: dict[str, Encoder] = {}
        self._judges: dict[str, LanguageModel] = {}
        self._run_cache = run_cache(self._shared_base)
        self._warned: set[str] = set()

    def of_filter(self, generation: int, records: Records, position: int, name: str) -> Context:
        """Build the context of the filter at a position of `curate`."""
        return Context(
            generation=generation,
            rng=self._stream("curate", generation, position, name),
            human=self._run.human,
            earlier=self._run.candidates,
            record=partial(self._record, records),
            votes_file=self._votes_file,
            **self._state("curate", generation, records, position, name),
            run=self._name,
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
            votes_file=self._votes_file,
            **self._state(CRAWL, generation, records, position, name),
            run=self._name,
            # What is crawled are whole documents: finished, and with their prompts in the text.
            **{**self._model_methods(generation - 1), "as_sampled": Passages.whole},
        )

    def of_evaluator(self, generation: int) -> Snapshot:
        """Build the snapshot of a generation: as many documents of each kind of text."""
        recipe, run, human = self._recipe, self._run, self._compared_human
        candidates = run.candidates(generation)
        drawn = documents.take(candidates, self._random_order(candidates, "drawn", generation))
        # Kept text in the order of drawn text: where nothing is rejected the two are the same.
        kept = documents.take(drawn, np.flatnonzero(drawn["kept"][:]))
        splits = {
            "human": human.passages,
            "base": Passages.of(run.base_text),
            "drawn": Passages.of(drawn),
            "kept": Passages.of(kept),
        }
        splits = {
            name: passages
            for name, passages in splits.items()
            if len(passages) >= human.num_documents
        }
        return Snapshot(
            generation=generation,
            model=self._scorer.shared(generation),
            base=self._shared_base,
            held_out=run.held_out,
            human=human.pool,
            training=run.training(generation),
            # Lists of their own: what an evaluator does to them must not reach the next generation.
            texts={name: list(passages.texts) for name, passages in splits.items()},
            prompts={name: list(passages.prompts) for name, passages in splits.items()},
            finished={name: list(passages.finished) for name, passages in splits.items()},
            num_documents=human.num_documents,
            num_words=human.num_words,
            rng=stream(recipe.seed, "evaluate", generation),
            candidates=candidates,
            sampled_ids={
                name: corpus[documents.SAMPLED_IDS][:]
                for name, corpus in {"drawn": drawn, "kept": kept, "base": run.base_text}.items()
            },
            as_sampled=self._as_sampled,
            crawled=run.crawl(generation) if recipe.crawls(generation) else documents.empty(),
            curve=_rows(run.curve(generation)),
            open_encoder=self._open_encoder,
            open_judge=self._open_judge,
            run_cache=self._run_cache,
        )

    def _stream(self, stage: str, generation: int, position: int, name: str) -> np.random.Generator:
        """A filter's own random numbers; a matched random control has those of its filter."""
        return stream(self._recipe.seed, stage, generation, position, name.removeprefix(TWIN))

    def _state(
        self, stage: str, generation: int, records: Records, position: int, name: str
    ) -> dict[str, Any]:
        """The fields of a context by which a filter tells the next generation something.

        The state is a record of the committed stage, which is among the inputs of the next one.
        """
        record = f"state of {name.removeprefix(TWIN)} {position + 1}"
        first = 1 if stage == CRAWL else 0

        def previous() -> Mapping[str, Any] | None:
            if generation == first:
                return None
            state: Mapping[str, Any] | None = self._run.records(generation - 1, stage).get(record)
            return state

        return {"previous_state": previous, "keep_state": partial(self._record, records, record)}

    def _model_methods(self, generation: int) -> dict[str, Any]:
        """The fields of a context that call the base model or a generation's model."""
        model, base = self._scorer.shared(generation), self._shared_base
        return {
            "token_nll": model.token_nll,
            "base_token_nll": base.token_nll,
            "fit_classifier": getattr(self._base, "fit_classifier", no_classifier),
            "base_token_moments": lambda *texts: expecting(base).token_moments(*texts),
            "cross_entropy": lambda texts, *prompts: expecting(model).cross_entropy(
                texts, base, *prompts
            ),
            "as_sampled": self._as_sampled,
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

    def _open_judge(self, name: str) -> LanguageModel:
        """Open a model that scores text for the evaluators and does nothing else.

        Raises:
            ModelError: it is not there, or is the base model itself.
        """
        if name not in self._judges:
            settings = ModelSettings(base=name, lora=None)
            judge = open_model(settings, self._recipe.sample)
            if judge.digest == self._base.digest:
                raise ModelError(
                    f"judge.model: {name}: is the base model of this run: expected another "
                    "model, which has no part in it"
                )
            self._judges[name] = judge
        return self._judges[name]

    def _open_encoder(self, name: str) -> Encoder:
        # Here: it loads transformers and peft, which a model of somebody's own does without.
        from textmad.models.causal_lm.encoder import open_encoder

        if name not in self._encoders:
            self._encoders[name] = open_encoder(name)
        return self._encoders[name]

    def _as_sampled(self, texts: Sequence[str]) -> Passages:
        """Prompt and cut human texts as the run's samples are."""
        sample = self._recipe.sample
        prompt_tokens = None if sample.prompt == "none" else sample.prompt_tokens
        return as_sampled(self._base, texts, prompt_tokens, sample.max_new_tokens)

    @cached_property
    def _compared_human(self) -> _ComparedHuman:
        """Choose the human text that every generation's text is compared with.

        It is held-out text. Where too little is held out, documents of the training pool are added,
        those that the run learns last or never.
        """
        human, held_out = self._run.human, self._run.held_out
        compared_tokens = mixture.compared_tokens(self._recipe.mix, self._recipe.sample)
        rows = half_of_held_out(held_out, 1)
        rows = rows[self._random_order(rows, "human")]
        wanted = mixture.base_tokens_drawn(self._recipe.mix, self._recipe.sample)
        passages, _ = self._up_to(held_out, rows, wanted)
        missing = wanted - self._num_tokens(passages)
        if missing > 0:
            # The other half of the pool still says which words are rare.
            order = mixture.order_of_pool(human, self._recipe.seed)[len(human) // 2 :]
            added, added_rows = self._up_to(human, order[::-1], missing)
            human = documents.take(human, np.setdiff1d(np.arange(len(human)), added_rows))
            passages = passages + added
        tokens = np.cumsum(self._token_counts(passages))
        filling = int(np.searchsorted(tokens, compared_tokens)) + 1
        num_documents = int(min(filling * _COMPARED_SHARE, len(passages) * _MAX_OF_RESAMPLED))
        num_documents = max(1, num_documents)
        num_words = count_words(passages.texts[:num_documents])
        return _ComparedHuman(passages, human, num_documents, num_words)

    def _up_to(
        self, corpus: Dataset, rows: np.ndarray, num_tokens: int
    ) -> tuple[Passages, np.ndarray]:
        """Return the first documents at `rows` that hold `num_tokens` tokens once cut, or all.

        And the rows that were read for them.
        """
        passages, num_read = Passages(), 0
        while num_read < len(rows) and self._num_tokens(passages) < num_tokens:
            chosen = rows[num_read : num_read + _AT_ONCE]
            texts = documents.take(corpus.select_columns(["text"]), chosen)["text"][:]
            passages, num_read = passages + self._as_sampled(texts), num_read + len(chosen)
        ends = np.cumsum(self._token_counts(passages))
        return passages.first(int(np.searchsorted(ends, num_tokens)) + 1), rows[:num_read]

    def _token_counts(self, passages: Passages) -> np.ndarray:
        """Target tokens of each text, as a sampled text's are counted."""
        ids = self._base.encode(list(passages.texts))
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        counts: np.ndarray = lengths - ~np.array(passages.finished, dtype=bool)
        return counts

    def _num_tokens(self, passages: Passages) -> int:
        return int(self._token_counts(passages).sum())

    def _random_order(self, corpus: Sized, *names: str | int) -> np.ndarray:
        return stream(self._recipe.seed, "compare", *names).permutation(len(corpus))


class _ComparedHuman(NamedTuple):
    """Human text that is resampled, and how much of it is compared."""

    passages: Passages
    pool: Dataset  # the training pool without any of it
    num_documents: int
    num_words: int


def _rows(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def source_digests(evaluators: Sequence[Any]) -> dict[str, str]:
    """Compute the digests of the files that evaluators read: encoders, judges, questions.

    Raises:
        ModelError: an encoder or a judge is not there.
    """
    digests: dict[str, str] = {}
    for evaluator in evaluators:
        if hasattr(evaluator, "sources"):
            digests |= evaluator.sources()
    return digests
