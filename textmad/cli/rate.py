"""`textmad rate`: let people vote on the texts of a run, or on any texts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textmad.cli.audit import TextFormat
from textmad.cli.options import at_home
from textmad.cli.serving import Host, Port, PublicUrl, check_address, invitations, serve_page
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.rating.ballot import Ballot
    from textmad.rating.ballots import Ballots

_HELD_OUT = "held_out.parquet"


class DesignName(StrEnum):
    """How people vote."""

    UP_DOWN = "up_down"
    PAIRS = "pairs"
    BEST_OF = "best_of"
    STARS = "stars"


def rate(
    texts: Annotated[
        Path, typer.Argument(metavar="TEXTS|DIR", callback=at_home, help="File, or run folder.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", callback=at_home, help="For TEXTS: folder of their votes."),
    ] = None,
    invite: Annotated[
        int, typer.Option(metavar="N", min=0, max=10_000, help="Print N new invitation links.")
    ] = 0,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page after --invite too.")
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    public_url: PublicUrl = None,
    design: Annotated[
        DesignName, typer.Option(help="For TEXTS: how people vote.")
    ] = DesignName.UP_DOWN,
    question: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For TEXTS: what people are asked.")
    ] = None,
    raters_per_text: Annotated[
        int, typer.Option(metavar="N", min=1, help="For TEXTS: people who vote on each.")
    ] = 3,
    texts_per_rater: Annotated[
        int, typer.Option(metavar="N", min=1, help="For TEXTS: most votes of one person.")
    ] = 100,
    text_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="For TEXTS: the column of the text.")
    ] = "text",
    form: Annotated[
        TextFormat, typer.Option("--format", help="For TEXTS: format, if not by the name.")
    ] = TextFormat.AUTO,
) -> None:
    """Let people vote on the texts of a run, or on any texts, in their browser."""
    from textmad.rating.ballots import Ballots
    from textmad.rating.database import VOTES

    check_address(host, public_url)
    if out is None:
        if not texts.is_dir():
            raise RecipeError(f"{texts}: is a file of texts: give --out DIR for their votes")
        _check_effect(
            texts,
            {
                "--design": design != DesignName.UP_DOWN,
                "--question": question is not None,
                "--raters-per-text": raters_per_text != 3,
                "--texts-per-rater": texts_per_rater != 100,
                "--text-column": text_column != "text",
                "--format": form != TextFormat.AUTO,
            },
        )
        ballots = Ballots(texts / VOTES, must_exist=True)
    else:
        settings = _settings(design, question, raters_per_text, texts_per_rater)
        ballots = _lay_out_texts(texts, out, settings, text_column, form)
    try:
        tokens = ballots.raters.invite(invite)
        if invite and not serve:
            for link in invitations(tokens, public_url or f"http://{host}:{port}"):
                print(link)
            return
        if not ballots.raters.names():
            tokens = ballots.raters.invite(1)  # the one person at this machine
        serve_page(ballots, host, port, public_url, tokens)
    finally:
        ballots.close()


def _check_effect(folder: Path, options: dict[str, bool]) -> None:
    for option, is_given in options.items():
        if is_given:
            raise RecipeError(
                f"{option}: has no effect on {folder}, where the texts are laid out already; "
                "delete it, or rate a file with --out"
            )


def _settings(
    design: DesignName, question: str | None, raters_per_text: int, texts_per_rater: int
) -> Ballot:
    from textmad.rating.ballot import Ballot

    try:
        return Ballot(
            design=design.value,
            question=Ballot.question if question is None else question,
            raters_per_text=raters_per_text,
            texts_per_rater=texts_per_rater,
        )
    except ValueError as error:
        raise RecipeError(f"--{error}") from None


def _lay_out_texts(
    texts: Path, out: Path, settings: Ballot, text_column: str, form: TextFormat
) -> Ballots:
    """Lay out a file of texts in the folder of their votes; the same command finds them again.

    Raises:
        RecipeError: it is held-out text, or too little for the design.
        CorpusError: it cannot be read.
    """
    import numpy as np

    from textmad.auditing.sources import read_source, reading
    from textmad.rating.ballots import Ballots
    from textmad.rating.database import VOTES
    from textmad.store import writing
    from textmad.text.documents import content_id

    if texts.name == _HELD_OUT:
        raise RecipeError(f"{texts}: held-out text is only measured on, and is shown to nobody")
    source = read_source(reading(str(texts), text_column, form.value))
    different = list(dict.fromkeys(source.documents["text"][:]))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    ballots = Ballots(out / VOTES)
    try:
        ids = [content_id(text) for text in different]
        ballots.lay_out(settings, -1, ids, different, np.random.default_rng(0))
    except ValueError as error:
        ballots.close()
        raise RecipeError(f"{texts}: {error}") from None
    return ballots
