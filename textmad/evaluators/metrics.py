"""Every built-in metric: which way is better, in which unit, under which label."""

from textmad.evaluators.protocol import Metric

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
        Metric("repeated_share", "human", "share", "Repeated documents"),
        Metric("overlap", "human", "share", "Verbatim overlap with training text"),
        # rare_tokens
        Metric("rare_loss", "lower", "nats/token", "Loss on rare tokens"),
        Metric("common_loss", "lower", "nats/token", "Loss on common tokens"),
        Metric("rare_gap", "lower", "nats/token", "Rare loss above common loss"),
        Metric("rare_rate", "human", "share", "Rare-token rate"),
        Metric("surviving_rare_types", "human", "share", "Surviving rare types"),
        Metric("unseen_mass", "human", "share", "Human mass of types not drawn"),
        # votes
        Metric("votes", "human", "votes", "Votes"),
        Metric("votes_gini", "human", "share", "Gini of upvotes"),
        Metric("votes_share", "human", "share", "Share of upvotes"),
        Metric("votes_agreement", "higher", "", "Votes follow quality (Spearman)"),
        Metric("reward_mean", "higher", "", "Mean reward"),
        Metric("reward_variance", "human", "", "Variance of reward"),
        # guards
        Metric("guard_auc", "higher", "", "Guard's AUC, human above model"),
        Metric("model_share", "lower", "share", "True share of model text"),
        Metric("false_rejections", "lower", "share", "Human documents rejected"),
        Metric("misses", "lower", "share", "Model documents kept"),
        # detection
        Metric("detection_auc", "human", "", "Told from human text (AUC)"),
    )
}
