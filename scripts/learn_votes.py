"""Learn a recipe's human votes: `python scripts/learn_votes.py RECIPE FOLDER [PATH=VALUE...]`.

From the training part of the recipe's corpus only. A recipe names the result as the scorer
learned_votes(FOLDER). With `--encoder NAME`, a folder or Hub id of a sentence encoder, from its
vectors as well as from the words.
"""

import argparse
import json

import numpy as np

from textmad import learned_votes, open_encoder
from textmad.corpus import open_corpus
from textmad.recipe import load_recipe

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("recipe")
parser.add_argument("folder")
parser.add_argument("settings", nargs="*", metavar="PATH=VALUE")
parser.add_argument("--encoder", metavar="NAME")
given = parser.parse_intermixed_args()

recipe = load_recipe(given.recipe, dict(setting.split("=", 1) for setting in given.settings))
human = open_corpus(recipe.corpus, lambda texts: np.ones(len(texts), np.int32)).human
encoder = open_encoder(given.encoder) if given.encoder else None
model = learned_votes.fit(human, encoder)
learned_votes.save(model, given.folder)
print(json.dumps(model.report, indent=1))
