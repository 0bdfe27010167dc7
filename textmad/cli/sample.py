"""`textmad sample`: print or write new documents of a generation's model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from textmad.cli.options import Generation, Member, RunPath, at_home


def sample(
    folder: RunPath,
    generation: Generation,
    num: Annotated[int, typer.Option(metavar="N", min=1, help="Number of documents.")] = 10,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Beginning of each (default: as the recipe has it)."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", min=0, help="Another seed gives other texts.")
    ] = 0,
    member: Member = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=at_home, help="Write .jsonl or .parquet instead of printing."
        ),
    ] = None,
) -> None:
    """Sample new documents from the model of a generation, with the recipe's settings.

    They are none of the run's candidates, and the run folder stays as it is.
    """
    from textmad.errors import RunError
    from textmad.loop.run import Run
    from textmad.store import write_atomically

    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise RunError(f"--out {out}: expected a name that ends in .jsonl or .parquet")
    documents = Run(folder, member).sample(generation, num, prompt=prompt, seed=seed)
    if out is None:
        for index, document in enumerate(documents):
            end = "" if document["finished"] else " [...]"
            print(f"{index}: {document['prompt']}{document['text']}{end}\n")
        return
    buffer = io.BytesIO()
    if out.suffix == ".parquet":
        documents.to_parquet(buffer)
    else:
        documents.to_json(buffer, force_ascii=False)
    write_atomically(out, buffer.getvalue())
    print(f"sampled: {out}")
