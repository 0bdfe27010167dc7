"""The server of the page: one a file, on this machine alone unless told otherwise."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from textmad.errors import RunError, RunInUseError
from textmad.rating.ballots import Ballots

HOST, PORT = "127.0.0.1", 8765
VOTES_PER_MINUTE = 120.0  # of one rater: more is no reading
_POLL_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 75  # longer than reading a text takes
_BACKLOG = 2048


def serve(
    ballots: Ballots,
    *,
    host: str = HOST,
    port: int = PORT,
    public_url: str | None = None,
    votes_per_minute: float = VOTES_PER_MINUTE,
    is_done: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> None:
    """Serve the page until it is interrupted, or `is_done`.

    Args:
        ballots: of the file whose texts are voted on.
        host: address to listen on; another than this machine's own needs `public_url`.
        port: to listen on; 0: any.
        public_url: under which raters reach the page.
        votes_per_minute: of one rater.
        is_done: asked once a second.
        tell: told the page's address, once it listens.
        warn: told, at most once a minute, why votes cannot be saved.

    Raises:
        RunInUseError: another server has the file.
        RunError: the address cannot be used, or starlette and uvicorn are missing.
    """
    try:
        import uvicorn

        from textmad.rating.page.app import make_app
    except ImportError as error:
        raise RunError(
            f"the page for votes needs {error.name}: install it with pip install 'textmad[rate]'"
        ) from error
    with _only_server(ballots.path), _listening(host, port) as listener:
        app = make_app(ballots, public_url=public_url, votes_per_minute=votes_per_minute, warn=warn)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        server = uvicorn.Server(config)
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(_POLL_SECONDS):
                if is_done():
                    server.should_exit = True
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        tell(public_url or f"http://{host}:{listener.getsockname()[1]}")
        try:
            server.run(sockets=[listener])
        finally:
            stop.set()
            watcher.join()


@contextmanager
def _only_server(path: Path) -> Iterator[None]:
    """Hold the lock of a file's server; it goes with the process, also on kill -9."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInUseError(
                f"{path}: another server has it open: use that one, or stop it first"
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)  # so that who is told the address can connect
        except (OSError, OverflowError) as error:
            raise RunError(
                f"{host}, port {port}: cannot be listened on: {error}: choose another --port or "
                "--host"
            ) from error
        yield listener
