"""Every built-in metric: its direction, unit, label, and smallest notable change."""

import math
from itertools import product

from textmad.evaluators.protocol import COMPARED, Metric

# Diversity has no good direction of its own: distinct-n rises while unselected text drifts into
# noise and falls while selected text narrows. So those metrics point at the human reference.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        # perplexity: held-out human text under the model
        Metric("perplexity", "lower", "", "Perplexity"),
        Metric("loss", "lower", "nats/token", "Loss"),
        Metric("bits_per_byte", "lower", "bits/byte", "Bits per byte"),
        Metric("accuracy", "higher", "share", "Next-token accuracy"),
        # perplexity: text under the base model
        Metric("base_perplexity", "human", "", "Perplexity under the base model"),
        Metric("base_perplexity_as_sampled", "human", "", "The same, of the sampled tokens"),
        Metric("reencoded_share", "human", "share", "Documents that encode to other tokens"),
        # diversity
        Metric("distinct_1", "human", "share", "Distinct-1"),
        Metric("distinct_2", "human", "share", "Distinct-2"),
        Metric("distinct_3", "human", "share", "Distinct-3"),
        Metric("distinct_4", "human", "share", "Distinct-4"),
        Metric("entropy_1", "human", "bits", "Word entropy"),
        Metric("entropy_2", "human", "bits", "Word-pair entropy"),
        Metric("mattr", "human", "share", "MATTR"),
        Metric("mtld", "human", "words", "MTLD"),
        Metric("hdd", "human", "share", "HD-D"),
        Metric("compression_ratio", "human", "byte/byte", "Compression ratio"),
        Metric("zipf_exponent", "human", "", "Zipf exponent"),
        Metric("heaps_exponent", "human", "", "Heaps exponent"),
        Metric("repeated_share", "human", "share", "Repeated documents", True),
        Metric("overlap", "human", "share", "Verbatim overlap with training set", True),
        # rare_tokens
        Metric("rare_loss", "lower", "nats/token", "Loss on rare tokens"),
        Metric("common_loss", "lower", "nats/token", "Loss on common tokens"),
        Metric("rare_gap", "human", "nats/token", "Rare loss above common loss"),
        Metric("rare_rate", "human", "share", "Rare-token rate"),
        Metric("surviving_rare_types", "human", "share", "Surviving rare types"),
        Metric("unseen_mass", "human", "share", "Human mass of types not drawn"),
        # votes
        Metric("votes", "human", "votes", "Votes"),
        Metric("votes_gini", "human", "share", "Gini of upvotes"),
        Metric("votes_share", "human", "share", "Share of upvotes"),
        Metric("votes_agreement", "higher", "", "Votes follow quality (Spearman)"),
        Metric("reward_mean", "human", "", "Mean reward"),
        Metric("reward_variance", "human", "", "Variance of reward"),
        Metric("taste", "none", "share", "Mean weight of a scorer in the crowd's taste"),
        # guards
        Metric("guard_auc", "higher", "", "Crawl filter's AUC, human above model"),
        Metric("model_share", "lower", "share", "True share of model text"),
        Metric("false_rejections", "lower", "share", "Human documents rejected"),
        Metric("misses", "lower", "share", "Model documents kept"),
        # detection
        Metric("detection_auc", "human", "", "Told from human text (AUC)"),
        # discriminator
        Metric("discriminator_agreement", "higher", "share", "Discriminator agrees with crowd"),
        Metric("discriminator_kappa", "higher", "", "Discriminator agrees beyond chance (kappa)"),
        Metric("discriminator_auc", "higher", "", "Discriminator against crowd (AUC)"),
        Metric("discriminator_both", "human", "share", "Accepted by crowd and discriminator"),
        Metric("discriminator_lessons", "human", "documents", "Votes that were learned from"),
        # adversary
        Metric("beats_human", "higher", "share", "Model text above human text"),
        Metric("accepted_share", "higher", "share", "Accepted by the discriminator, the crowd"),
        Metric("over_optimisation_gap", "lower", "", "Over-optimisation"),
        # text_perplexity
        Metric("text_perplexity", "human", "", "Perplexity of documents under the base model"),
        # ngram_gap
        Metric("ngram_gap_1", "human", "bits", "Gap to human words", counts_common=True),
        Metric("ngram_gap_2", "human", "bits", "Gap to human word pairs", counts_common=True),
        Metric("ngram_gap_3", "human", "bits", "Gap to human word triples", counts_common=True),
        # self_bleu
        Metric("self_bleu_2", "human", "", "Self-BLEU-2"),
        Metric("self_bleu_3", "human", "", "Self-BLEU-3"),
        Metric("self_bleu_4", "human", "", "Self-BLEU-4"),
        # length
        Metric("mean_length", "human", "words", "Mean length"),
        Metric("length_entropy", "human", "nats", "Entropy of lengths"),
        # selection
        Metric("selection_differential", "human", "", "Selection differential (kept less drawn)"),
        Metric("selection_intensity", "human", "", "Selection intensity (in standard deviations)"),
        # memorisation
        Metric(
            "memorised_ngrams", "lower", "share", "N-grams that stand in the training set", True
        ),
        Metric(
            "memorised_documents",
            "lower",
            "share",
            "Documents that stand in the training set",
            True,
        ),
        # embedding
        Metric("mauve", "human", "", "MAUVE"),
        Metric("embedding_precision", "human", "share", "Precision in the embedding space"),
        Metric("embedding_recall", "human", "share", "Recall in the embedding space"),
        Metric("embedding_density", "human", "", "Density in the embedding space"),
        Metric("embedding_coverage", "human", "share", "Coverage in the embedding space"),
        Metric("vendi_score", "human", "documents", "Vendi score"),
        # adapter
        Metric("adapter_norm", "human", "share", "Update of the weights by their norm"),
        Metric("training_loss", "lower", "nats/token", "Training loss"),
        Metric("training_loss_moved", "higher", "nats/token", "Training loss moved"),
        Metric(
            "held_out_loss_moved", "higher", "nats/token", "Held-out loss moved from the base model"
        ),
        Metric("prediction_moved", "human", "nats/token", "Predictions moved from the base model"),
        # facts
        Metric("facts_accuracy", "higher", "share", "Questions answered rightly"),
        Metric("facts_margin", "higher", "nats", "Right choice above the best wrong one"),
        # judge
        Metric("judge_perplexity", "human", "", "Perplexity under the judge"),
        # population
        Metric("population_distinct_1", "human", "share", "Distinct-1 of the population"),
        Metric("population_distinct_2", "human", "share", "Distinct-2 of the population"),
        Metric("population_distinct_3", "human", "share", "Distinct-3 of the population"),
        Metric("population_distinct_4", "human", "share", "Distinct-4 of the population"),
        Metric("population_vendi", "human", "documents", "Vendi score of the population"),
        Metric("between_distinct_1", "human", "", "Distinct-1 between members"),
        Metric("between_distinct_2", "human", "", "Distinct-2 between members"),
        Metric("between_distinct_3", "human", "", "Distinct-3 between members"),
        Metric("between_distinct_4", "human", "", "Distinct-4 between members"),
        Metric("between_vendi", "human", "", "Vendi score between members"),
        Metric("cross_perplexity", "human", "", "Perplexity of other members' text"),
        Metric("member_divergence", "human", "nats/token", "Divergence of members"),
        Metric("inbreeding", "none", "share", "Inbreeding coefficient"),
        Metric("kinship", "none", "share", "Kinship of members"),
        Metric("effective_founders", "none", "members", "Effective number of founders"),
    )
}


def _of(splits: str, metrics: str) -> set[tuple[str, str]]:
    return set(product(metrics.split(), splits.split()))


_TEXT = " ".join(COMPARED)
# What each built-in evaluator measures, as (metric, split).
MEASURED: dict[str, set[tuple[str, str]]] = {
    "perplexity": _of("held_out", "perplexity loss bits_per_byte accuracy")
    | _of(f"held_out {_TEXT}", "base_perplexity")
    | _of("drawn kept base", "base_perplexity_as_sampled reencoded_share"),
    "diversity": _of(
        _TEXT,
        "distinct_1 distinct_2 distinct_3 distinct_4 entropy_1 entropy_2 mattr mtld hdd "
        "compression_ratio zipf_exponent heaps_exponent repeated_share overlap",
    ),
    "rare_tokens": _of("held_out", "loss rare_loss common_loss rare_gap")
    | _of(_TEXT, "rare_rate surviving_rare_types unseen_mass"),
    "votes": _of("drawn kept", "votes votes_gini reward_mean reward_variance")
    | _of("drawn crawled", "votes_share")
    | _of("drawn", "votes_agreement taste"),
    "guards": _of("crawled", "guard_auc false_rejections misses")
    | _of("crawled kept", "model_share"),
    "detection": _of(_TEXT, "detection_auc"),
    "discriminator": {(name, "drawn") for name in METRICS if name.startswith("discriminator_")},
    "adversary": _of("drawn", "beats_human accepted_share over_optimisation_gap"),
    "text_perplexity": _of(_TEXT, "text_perplexity"),
    "ngram_gap": _of(_TEXT, "ngram_gap_1 ngram_gap_2 ngram_gap_3"),
    "self_bleu": _of(_TEXT, "self_bleu_2 self_bleu_3 self_bleu_4"),
    "length": _of(_TEXT, "mean_length length_entropy"),
    "selection": _of("drawn", "selection_differential selection_intensity"),
    "memorisation": _of(_TEXT, "memorised_ngrams memorised_documents"),
    "embedding": _of(
        _TEXT,
        "mauve embedding_precision embedding_recall embedding_density embedding_coverage "
        "vendi_score",
    ),
    "adapter": _of("all", "adapter_norm")
    | _of("training", "training_loss training_loss_moved")
    | _of("held_out", "held_out_loss_moved prediction_moved"),
    "facts": _of("all base", "facts_accuracy facts_margin"),
    "judge": _of(_TEXT, "judge_perplexity"),
    # No evaluator of a member: the stage of a population measures its members together.
    "population": _of(
        "drawn",
        "population_distinct_1 population_distinct_2 population_distinct_3 population_distinct_4 "
        "population_vendi between_distinct_1 between_distinct_2 between_distinct_3 "
        "between_distinct_4 between_vendi cross_perplexity member_divergence",
    )
    | _of("all", "inbreeding kinship effective_founders"),
}


def depends_on_documents(metric: str) -> bool:
    """Return whether a value means little without the number of documents it compares.

    >>> depends_on_documents("mauve"), depends_on_documents("perplexity")
    (True, False)
    """
    return (metric, "drawn") in MEASURED["embedding"]


NOTICEABLE = 0.02  # share; a smaller change of perplexity is not called one
# Of drawn text. The rate of rare tokens rests on few counts, perplexity under the base model on
# some very unlikely tokens.
_NOTICEABLE = {"rare_rate": 0.05, "base_perplexity": 0.05}


def noticeable(metric: str) -> float:
    """Return the smallest notable change of a metric, as a share of its reference."""
    return _NOTICEABLE.get(metric, NOTICEABLE)


# Beside shares: nothing of these is above 1.
_UP_TO_1 = ("ngram_gap_", "self_bleu_", "detection_auc")
_SIGNED = (
    "_differential",
    "_intensity",
    "_moved",
    "_divergence",
    "_gap",
    "_mean",
    "_kappa",
    "_agreement",
)


def value_range(metric: Metric) -> tuple[float, float]:
    """Return the smallest and the largest value a metric can have; infinite where unbounded.

    >>> value_range(METRICS["mattr"]), value_range(METRICS["entropy_1"])
    ((0.0, 1.0), (0.0, inf))
    """
    if metric.unit == "share" or metric.name.startswith(_UP_TO_1):
        return 0.0, 1.0
    return -math.inf if metric.name.endswith(_SIGNED) else 0.0, math.inf


def bounds(metric: str, tolerance: float) -> tuple[float, float]:
    """Return the differences at which harm begins, below and above; an improvement is no harm.

    >>> bounds("perplexity", 1.5), bounds("distinct_2", 0.1)
    ((-inf, 1.5), (-0.1, 0.1))
    """
    known = METRICS.get(metric)
    direction = known.direction if known else ""
    low = -math.inf if direction == "lower" else -tolerance
    high = math.inf if direction == "higher" else tolerance
    return low, high
