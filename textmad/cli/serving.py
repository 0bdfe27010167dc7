"""What the commands about people's votes share: how the page is served, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from textmad.cli.terminal import session
from textmad.errors import RecipeError

if TYPE_CHECKING:
    from textmad.rating.ballots import Ballots

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen on; others need --public-url.")
]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")]
PublicUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address that raters open, e.g. https://votes.example.org."),
]


def check_address(host: str, public_url: str | None) -> None:
    """Check that an address for others comes with the URL that they open.

    Raises:
        RecipeError: it is missing or no URL.
    """
    if public_url is None:
        if host not in _LOOPBACK:
            raise RecipeError(
                f"--host {host}: lets other machines in: give --public-url, the address that "
                "raters open, or leave --host at 127.0.0.1"
            )
        return
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise RecipeError(f"--public-url {public_url}: expected http://HOST or https://HOST")


def invitations(tokens: list[str], url: str) -> list[str]:
    """Return the link of each invitation."""
    return [f"{url.rstrip('/')}/join/{token}" for token in tokens]


def serve_until_enough(folder: Path, port: int) -> None:
    """Serve the page of a run that waits, until no ballot of it waits any more."""
    from textmad.rating.ballots import Ballots
    from textmad.rating.database import VOTES

    ballots = Ballots(folder / VOTES, must_exist=True)

    def is_done() -> bool:
        return all(state.digest is not None or state.is_enough for state in ballots.states())

    try:
        tokens = [] if ballots.raters.names() else ballots.raters.invite(1)
        serve_page(ballots, _LOOPBACK[0], port, None, tokens, is_done)
    finally:
        ballots.close()


def serve_page(
    ballots: Ballots,
    host: str,
    port: int,
    public_url: str | None,
    tokens: list[str],
    is_done: Callable[[], bool] = lambda: False,
) -> None:
    """Serve the page, and print the invitations once it listens."""
    from textmad.rating.page.server import serve

    def tell(url: str) -> None:
        for link in invitations(tokens, url):
            print(link, flush=True)
        session.say(f"votes: {url}, for {len(ballots.raters.names())} raters; Ctrl-C stops")

    serve(
        ballots,
        host=host,
        port=port,
        public_url=public_url,
        is_done=is_done,
        tell=tell,
        warn=session.say,
    )
