"""`scripts/bench`: plain and ours, side by side.

The children of this process import this module as well, so it loads nothing heavy.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from benchmarks import suite, table


def main() -> None:
    """Run the parts that were asked for, and print each comparison when it is done."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=suite.__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", default=",".join(suite.PARTS), metavar="PART,...")
    parser.add_argument("--base", default="tiny-gpt2", help="as model.base in a recipe")
    parser.add_argument("--source", default="chitchat", help="as corpus.source in a recipe")
    parser.add_argument("--turns", type=int, help="of each side; the median counts")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--append", type=Path, metavar="FILE", help="rows for docs/benchmarks.md")
    given = parser.parse_args()
    parts = tuple(given.only.split(","))
    if unknown := set(parts) - set(suite.PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}: expected {', '.join(suite.PARTS)}")
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Bars and warnings of the libraries would come between the rows.
    os.environ |= {
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore",
    }
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    size = suite.QUICK if given.quick else suite.CUDA if given.device == "cuda" else suite.CPU
    if given.turns:
        size = replace(size, turns=given.turns, generation_turns=given.turns)

    facts = table.facts_of_this_run(given.device)
    results: list[suite.Result] = []
    print(table.HEADER, flush=True)
    running = suite.Suite(size, given.base, given.source, cuda=given.device == "cuda")
    for compared in running.run(parts):
        results += compared
        print("\n".join(table.rows(compared)), flush=True)
    print(f"\n{facts['date']}, {facts['machine']}; {facts['versions']}")
    if given.json:
        text = json.dumps(table.to_json(results, facts), indent=1)
        given.json.write_text(text + "\n", encoding="utf-8")
    if given.append:
        table.append(given.append, table.handbook_rows(results, facts))


if __name__ == "__main__":
    main()
