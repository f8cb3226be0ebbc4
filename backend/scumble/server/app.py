"""The web application: one websocket, one page that says which version answers, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable

import uvicorn
from fastapi import FastAPI, WebSocket

from .. import __version__
from ..home import Home
from ..protocol.errors import ScumbleError
from .connection import Connection
from .dispatcher import Dispatcher, Models
from .jobs import JobStore
from .security import Gate
from .session import Policy, Session
from .work import Executor


def create_app(
    *,
    store: JobStore,
    models: Models,
    executor: Executor,
    home: Home,
    token: str,
    hosts: Iterable[str],
    origins: Iterable[str] = (),
    policy: Policy | None = None,
) -> FastAPI:
    """The application closes store and executor when it ends.

    home            see work.Work
    hosts, origins  see security.Gate

    Where it cannot start because of a ScumbleError, ``state.problem`` is that error.
    """
    rules = policy or Policy()
    dispatcher = Dispatcher(
        store, models, executor, home, rules.limits.max_queued, rules.watch_seconds, rules.rest_seconds
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await dispatcher.start()
        except ScumbleError as error:
            app.state.problem = error  # uvicorn ends the process without a word of it
            raise
        yield
        await dispatcher.stop()
        await asyncio.to_thread(store.close)

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Gate, hosts=hosts, origins=origins)

    @app.get("/v1/health")
    async def health() -> dict[str, str | int]:
        return {"server": __version__, "pid": os.getpid()}

    @app.websocket("/v1/ws")
    async def connect(websocket: WebSocket) -> None:
        await Session(websocket, dispatcher, token, rules).run()

    return app


def server_config(app: FastAPI, policy: Policy) -> uvicorn.Config:
    """How uvicorn must run the application: frames capped and not compressed, nothing about requests in logs."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws=Connection,
        ws_max_size=policy.limits.max_frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=60.0,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
