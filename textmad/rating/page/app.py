"""The web application: invitation, one task at a time, and what becomes of a form.

Every page is one HTML document without a further request. Forms work without JavaScript; each ends
in a redirect to the next task, so that the back button and a reload send nothing twice. What only
reads the file does so here, in less time than handing it to a thread takes; what writes waits for
the disk, in a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from textmad.errors import RunError
from textmad.rating.ballots import Ballots
from textmad.rating.page.display import displayed
from textmad.rating.page.limits import RateLimit
from textmad.rating.voting import MOST_LEFT, SKIP_REASONS, VoteRejectedError

if TYPE_CHECKING:
    from jinja2 import Template

COOKIE = "textmad_rater"
_COOKIE_SECONDS = 60 * 24 * 3600
_MOST_BYTES = 10_000  # of a form
_GUESSES_PER_MINUTE = 60  # wrong invitations from one address
_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
_SAVE_FAILED = "Your vote could not be saved, so it is not counted. Please tell the organiser."
_SHOW_FAILED = (
    "The next text cannot be shown now. What you voted before is saved. Please tell the organiser."
)
_WARN_SECONDS = 60.0  # between two warnings to the organiser

Form = dict[str, str]


def make_app(
    ballots: Ballots,
    *,
    public_url: str | None = None,
    votes_per_minute: float = 120,
    warn: Callable[[str], None] = lambda text: None,
) -> Starlette:
    """Return the application that serves the open ballots of a file.

    Args:
        ballots: of the file.
        public_url: under which raters reach it, if not on this machine; decides the accepted Host
            and, by https, whether cookies are secure.
        votes_per_minute: of one rater.
        warn: told, at most once a minute, why votes cannot be saved or texts not be shown.
    """
    pages = _Pages(ballots, public_url, votes_per_minute, warn)
    hosts = [*_LOOPBACK, *([urlsplit(public_url).hostname or ""] if public_url else [])]
    return Starlette(
        routes=[
            Route("/", pages.task),
            Route("/pause", pages.pause),
            Route("/join/{token}", pages.welcome, methods=["GET"]),
            Route("/join/{token}", pages.join, methods=["POST"]),
            *(
                Route(f"/{name}", pages.form(name), methods=["POST"])
                for name in ("vote", "skip", "report", "undo")
            ),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
        exception_handlers={
            VoteRejectedError: pages.rejected,
            RunError: pages.failed,
            HTTPException: pages.http_error,
        },
    )


class _Pages:
    """The endpoints."""

    def __init__(
        self,
        ballots: Ballots,
        public_url: str | None,
        votes_per_minute: float,
        warn: Callable[[str], None],
    ) -> None:
        self._raters, self._voting = ballots.raters, ballots.voting
        self._ballots = ballots
        self._is_secure = bool(public_url and public_url.startswith("https://"))
        self._votes = RateLimit(votes_per_minute)
        self._guesses = RateLimit(_GUESSES_PER_MINUTE)
        self._warn, self._warned_at = warn, -_WARN_SECONDS

    async def task(self, request: Request) -> Response:
        """Show what the rater votes on next."""
        rater = self._rater(request)
        if rater is None:
            return _page("outside", status=401)
        task = self._voting.open_task(rater)
        if task is None:
            task = await run_in_threadpool(self._voting.next_task, rater)
        if task is None:
            key = self._voting.key_without_task(rater)
            return _page("done", key=key)
        return _page(
            "task",
            task=task,
            texts=[displayed(text) for text in task.texts],
            skip_reasons=SKIP_REASONS,
            most_left=MOST_LEFT,
        )

    async def pause(self, request: Request) -> Response:
        """Say how to come back."""
        if self._rater(request) is None:
            return _page("outside", status=401)
        return _page("pause")

    async def welcome(self, request: Request) -> Response:
        """Show what an invitation is for; only the button uses it, not a preview of the link."""
        if self._invited(request) is None:
            return _page("outside", status=404)
        questions = await run_in_threadpool(self._ballots.questions)
        return _page("welcome", questions=questions)

    async def join(self, request: Request) -> Response:
        """Sign a rater in by their invitation."""
        _check_same_site(request)
        rater = self._invited(request)
        if rater is None:
            return _page("outside", status=404)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE,
            self._raters.sign_in(rater),
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._is_secure,
        )
        return _private(response)

    def form(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint that takes one kind of form."""
        act: Callable[[str, Form], None] = getattr(self, f"_{name}")

        async def endpoint(request: Request) -> Response:
            rater = self._rater(request)
            if rater is None:
                return _page("outside", status=401)
            _check_same_site(request)
            self._limit(self._votes, rater)
            form = await _read_form(request)
            await run_in_threadpool(act, rater, form)
            return _private(RedirectResponse("/", status_code=303))

        return endpoint

    def _vote(self, rater: str, form: Form) -> None:
        choice = form.get("choice", "")
        # Longer numbers than any answer's are not worth reading.
        number = int(choice) if choice.isascii() and choice.isdigit() and len(choice) < 4 else -1
        self._voting.cast(rater, form.get("key", ""), number)

    def _skip(self, rater: str, form: Form) -> None:
        self._voting.skip(rater, form.get("key", ""), form.get("reason", ""))

    def _report(self, rater: str, form: Form) -> None:
        self._voting.skip(rater, form.get("key", ""), "", report=True)

    def _undo(self, rater: str, form: Form) -> None:
        self._voting.undo(rater, form.get("key", ""))

    # --- who asks ---------------------------------------------------------------------------

    def _rater(self, request: Request) -> str | None:
        cookie = request.cookies.get(COOKIE, "")
        return self._raters.signed_in(cookie) if cookie else None

    def _invited(self, request: Request) -> str | None:
        rater = self._raters.rater_of(request.path_params["token"])
        if rater is None:  # all raters of a lab may come from one address: only guesses count
            self._limit(self._guesses, _address(request))
        return rater

    def _limit(self, limit: RateLimit, name: str) -> None:
        seconds = limit.seconds_to_wait(name)
        if seconds:
            raise HTTPException(
                429,
                "That was too fast. Please wait a moment, then go on.",
                {"Retry-After": str(ceil(seconds))},
            )

    # --- errors -----------------------------------------------------------------------------

    async def rejected(self, request: Request, error: Exception) -> Response:
        """Answer to a vote that is not counted."""
        assert isinstance(error, VoteRejectedError)
        return _page("message", status=error.status, message=str(error))

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer when the file cannot be written, as on a full disk; tell the organiser why."""
        if monotonic() >= self._warned_at + _WARN_SECONDS:
            self._warned_at = monotonic()
            self._warn(str(error))
        message = _SHOW_FAILED if request.method == "GET" else _SAVE_FAILED
        return _page("message", status=507, message=message)

    async def http_error(self, request: Request, error: Exception) -> Response:
        """Answer to a wrong path or method, or too many requests."""
        assert isinstance(error, HTTPException)
        page = _page("message", status=error.status_code, message=error.detail)
        page.headers.update(error.headers or {})
        return page


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _check_same_site(request: Request) -> None:
    """Reject what another site's page has sent, as browsers tell."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise VoteRejectedError(403, "This form was sent from another site. Nothing was counted.")


async def _read_form(request: Request) -> Form:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise VoteRejectedError(413, "This form is too large. Nothing was counted.")
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError:
        raise VoteRejectedError(400, "This form cannot be read. Reload the page.") from None
    return {name: values[-1] for name, values in fields.items()}


# --- pages ----------------------------------------------------------------------------------


def _page(kind: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
    nonce = secrets.token_urlsafe(12)
    html = _template().render(kind=kind, nonce=nonce, **facts)
    response = HTMLResponse(html, status)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    _private(response)
    return response


def _private(response: Response) -> Response:
    response.headers.update(
        {
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
    )
    return response


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
