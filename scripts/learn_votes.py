"""Learn a recipe's human votes: `python scripts/learn_votes.py RECIPE FOLDER [PATH=VALUE...]`.

From the training part of the recipe's corpus only. A recipe names the result as the scorer
learned_votes(FOLDER).
"""

import json
import sys

import numpy as np

from textmad import learned_votes
from textmad.corpus import open_corpus
from textmad.recipe import load_recipe

path, folder, *settings = sys.argv[1:]
recipe = load_recipe(path, dict(setting.split("=", 1) for setting in settings))
human = open_corpus(recipe.corpus, lambda texts: np.ones(len(texts), np.int32)).human
model = learned_votes.fit(human)
learned_votes.save(model, folder)
print(json.dumps(model.report, indent=1))
