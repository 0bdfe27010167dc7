"""The files that `textmad init` writes: a recipe by its loop, a study by its question, a filter."""

from __future__ import annotations

from textmad.recipe import Recipe
from textmad.recipe.json_schema import schema_text
from textmad.studies.settings import StudySettings

# By the loop: the question of the recipe, and its mix.
_LOOPS = {
    "replace": (
        "What is lost when each generation learns only from the text of the last one?",
        "{human_tokens: 0, model_tokens: 8000, model: latest}",
    ),
    "augment": (
        "Does the same human text in each training set stop the loss?",
        "{human_tokens: 4000, model_tokens: 4000, human: fixed, model: latest}",
    ),
    "fresh": (
        "Does new human text in each training set stop the loss?",
        "{human_tokens: 4000, model_tokens: 4000, human: fresh, model: latest}",
    ),
    "accumulate": (
        "Does keeping all text, human and generated, stop the loss?",
        "{human_tokens: 4000, model_tokens: 4000, human: fixed, model: all}",
    ),
    "subsample": (
        "Does a sample of all text, human and generated, at constant size, stop the loss?",
        "{human_tokens: 4000, model_tokens: 4000, model: all, subsample_tokens: 8000}",
    ),
}

# By the question: the question itself, and what makes the arms.
_QUESTIONS = {
    "collapse": (
        "What does this loop lose that training on human text alone does not?",
        "arms:\n  loop: {}                      # recipe.yaml as it is\n",
    ),
    "selection": (
        "Do votes on the generated text slow the loss, or hasten it?",
        "arms:\n"
        "  unselected: {}                # recipe.yaml as it is\n"
        "  voted:                        # only the text with the most votes is learned\n"
        "    sample.oversample: 3.2      # two fifths are kept: 1.28 times what is needed\n"
        "    curate:\n"
        "      - upvotes: {scorer: fluency, voters: 50, noise: 1.0, keep: 0.4}\n",
    ),
    "filter": (
        "Does the filter in my_filters.py slow the loss?",
        "arms:\n"
        "  unfiltered: {}                # recipe.yaml as it is\n"
        "  filtered:\n"
        "    sample.oversample: 3.2      # enough has to be left\n"
        "    curate:\n"
        "      - my_filters:VariedWords: {threshold: 0.8}\n",
    ),
    "share": (
        "How much of the training set may be generated before perplexity is 2 % worse?",
        "arms:\n"
        "  share:                        # half human text, half generated: `threshold` moves it\n"
        "    mix: {human_tokens: 4000, model_tokens: 4000, human: fresh, model: latest}\n"
        "    mix.subsample_tokens: null  # as many tokens at every share\n"
        "    sample.min_tokens: 800\n"
        "threshold:                      # more shares are run where the answer lies\n"
        "  share: replaced\n"
        "  metric: perplexity/held_out\n"
        "  between: [0.1, 1.0]\n"
        "  arms: 6\n",
    ),
    "temperature": (
        "Does sharper sampling trade diversity for quality?",
        "arms:\n"
        "  unbiased: {}                  # recipe.yaml as it is, at temperature 1\n"
        "  sharp: {sample.temperature: 0.7}\n"
        "  nucleus: {sample.top_p: 0.9}\n",
    ),
}

_RECIPE = """\
# yaml-language-server: $schema=recipe.schema.json
#
# Question: {question}
# Run:      textmad run recipe.yaml --out runs/first
#
# Every setting has a default; `textmad run` writes all of them to runs/first/recipe.yaml.

seed: 0                           # everything random in the run comes from it
generations: 3                    # after generation 0, which learns from human text alone

corpus:
  source: chitchat                # human text: chitchat comes with textmad; or a file of yours,
                                  # such as posts.jsonl, posts.csv or posts.parquet
  held_out: 0.1                   # share of the documents that is only measured on

model:
  base: tiny-gpt2                 # comes with textmad; or a folder or Hub id with safetensors
  start_from: previous            # each generation goes on from the last; base: from the base model
  lora: {{rank: 32, alpha: 64}}     # null: train all weights

train: {{epochs: 2, learning_rate: 2.0e-3}}

# The training set of each generation, in tokens.
#   human: fixed (the same text each time) or fresh (text that no generation has seen)
#   model: latest (the last generation's text), all (every generation's) or pool (a sample of it)
#   subsample_tokens: with model: all, learn a random sample of all this text, at constant size
mix: {mix}

sample:
  temperature: 1.0                # below 1: sharper, less diverse
  oversample: 1.0                 # tokens sampled for each one needed; filters need more than 1
  min_tokens: 4000                # the evaluators compare at least so many

# Filters choose what is learned. With one that keeps a quarter, set sample.oversample to 5.
# curate:
#   - upvotes: {{scorer: fluency, keep: 0.25}}
#   - my_filters:VariedWords: {{threshold: 0.8}}

evaluate:
  - perplexity: {{held_out_tokens: 8000}}
  - diversity
  - rare_tokens: {{held_out_tokens: 8000}}
"""

_STUDY = """\
# yaml-language-server: $schema=study.schema.json
#
# Question: {question}
# Run:      textmad study study.yaml --out runs/study --jobs 2
#           textmad compare runs/study

recipe: recipe.yaml               # what all arms have in common
seeds: [0, 1, 2]                  # each arm runs once with each; one seed has no interval
{arms}\
controls:
  human: fresh                    # an arm of human text alone, of which no document is seen twice
"""

_FILTER = '''\
"""A filter of your own: it decides which generated texts are learned."""

from dataclasses import dataclass

import numpy as np

import textmad as tm


@dataclass(frozen=True)
class VariedWords:
    """Keep a text if at least `threshold` of its words are distinct."""

    threshold: float = 0.8  # fields are settings in the recipe

    def __call__(self, candidates, context):
        words = [text.split() for text in candidates["text"]]
        score = np.array([len(set(w)) / max(len(w), 1) for w in words])
        return tm.Verdicts(keep=score >= self.threshold, score=score, reason="repeats words")


if __name__ == "__main__":  # python my_filters.py: textmad plan imports this file, and runs nothing
    tm.testing.check_filter(VariedWords())
    print("VariedWords keeps the contract of a filter")
'''


def files(loop: str, question: str) -> dict[str, str]:
    """Return the text of each file by its name."""
    recipe_question, mix = _LOOPS[loop]
    study_question, arms = _QUESTIONS[question]
    return {
        "recipe.yaml": _RECIPE.format(question=recipe_question, mix=mix),
        "study.yaml": _STUDY.format(question=study_question, arms=arms),
        "my_filters.py": _FILTER,
        "recipe.schema.json": schema_text(Recipe),
        "study.schema.json": schema_text(StudySettings),
    }
