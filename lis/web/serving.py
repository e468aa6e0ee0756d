"""Running the web application: in the foreground for ``lis serve``, in a thread for ``lis demo``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import uvicorn

from lis.errors import LisError
from lis.web.app import create_app

if TYPE_CHECKING:
    from lis.laboratory import Laboratory
    from lis.web.live import News

START_SECONDS = 20.0


def serve(
    lab: Laboratory,
    host: str,
    port: int,
    news: News | None = None,
    bridge: Callable[[], Mapping[str, int]] | None = None,
) -> None:
    """Serve until the process is told to stop.

    ``news`` is what others in this process tell screens through, ``bridge`` what the bridge has counted.

    Raises:
        LisError: ``PORT_TAKEN`` if something else listens there.
    """
    with _socket(host, port) as listening:
        _Server(_config(lab, news, bridge)).run(sockets=[listening])


@contextlib.contextmanager
def serving(lab: Laboratory, host: str, port: int, news: News | None = None) -> Iterator[str]:
    """Serve in a thread for the duration of the block; yields the address.

    Raises:
        LisError: ``PORT_TAKEN`` if something else listens there, ``WEB_START`` if it does not come up.
    """
    with _socket(host, port) as listening:
        server = _Quiet(_config(lab, news))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
        thread.start()
        try:
            if not server.up.wait(START_SECONDS):
                raise LisError("WEB_START", "The web server did not come up. Look at the messages above.")
            yield "http://{}:{}".format(*listening.getsockname()[:2])
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


class _Server(uvicorn.Server):
    """A server that, when it stops, ends its simulations and lets go of the screens that listen."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams and simulations first: they would keep the server for minutes."""
        app: Any = self.config.app
        app.state.news.close()
        app.state.wall.close()
        await asyncio.to_thread(app.state.simulations.close)
        await super().shutdown(sockets)


class _Quiet(_Server):
    """A server that leaves signals to the program around it and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell whoever waits."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program around."""
        yield


def _config(
    lab: Laboratory, news: News | None, bridge: Callable[[], Mapping[str, int]] | None = None
) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(lab, news, bridge), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )


def _socket(host: str, port: int) -> socket.socket:
    # Named as TCP, because asyncio switches Nagle's algorithm off only then; with it every reply over a
    # kept connection waits 40 ms for the delayed acknowledgement of its head.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise LisError(
            "PORT_TAKEN",
            f"Cannot listen on {host}:{port} ({error.strerror}). Choose another port with --port.",
        ) from error
    listening.listen(128)
    return listening
