"""A real server on a real socket with an executor that tests can steer, and a client that says exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import uvicorn
from scumble.diffusion.families.base import Identity
from scumble.diffusion.samplers import SAMPLERS
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Cancelled
from scumble.home import Home
from scumble.models.store import ModelFile
from scumble.protocol import messages
from scumble.protocol.errors import ModelMissing, OutOfMemory
from scumble.protocol.frames import decode, encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    AdapterInfo,
    Capability,
    EditRequest,
    Hello,
    Layer,
    Message,
    ModelInfo,
    Progress,
    Result,
    Submit,
)
from scumble.server.app import create_app, server_config
from scumble.server.instance import listen
from scumble.server.jobs import JobStore
from scumble.server.security import loopback_hosts
from scumble.server.session import Policy
from scumble.server.work import Work
from websockets.sync.client import ClientConnection, connect

TOKEN = "ab" * 32
FILL = ModelFile(ModelInfo("fill-1", "MI-GAN", "fill", "migan", True, 512, 28_000_000), Path("/nowhere/fill"), None)
PLAIN = ModelFile(
    ModelInfo(
        "sd-1",
        "Plain",
        "diffusion",
        "sd1",
        False,
        512,
        1 << 31,
        20,
        7.0,
        "dpmpp_2m_karras",
        samplers=SAMPLERS,
        capabilities=get_args(Capability),
    ),
    Path("/nowhere/plain"),
    Identity("sd1", "diffusers", False, "epsilon", 512),
)
INPAINT = ModelFile(
    ModelInfo("sd-2", "Inpaint", "diffusion", "sd1", True, 512, 1 << 31, 25, 6.0, "euler"),
    Path("/nowhere/inpaint"),
    Identity("sd1", "diffusers", True, "epsilon", 512),
)
EMBEDDING = Adapter(
    AdapterInfo("embedding-1", "Oil-Style", "embedding", "sd1", 4096), Path("/nowhere/Oil-Style.safetensors")
)
REFERENCE = Adapter(AdapterInfo("reference-1", "Look", "reference", "sd1", 1 << 20), Path("/nowhere/look.safetensors"))
LORA = Adapter(AdapterInfo("lora-1", "Ink", "lora", "sd1", 1 << 20), Path("/nowhere/ink.safetensors"))
CONTROL = Adapter(AdapterInfo("control-1", "Edges", "control", "sd1", 1 << 20), Path("/nowhere/edges.safetensors"))
PIXEL = b"\x01\x02\x03\xff"


class FixedModels:
    def __init__(self, *models: ModelFile, adapters: tuple[Adapter, ...] = ()) -> None:
        self.models, self._adapters = models, adapters
        self.looked = 0, 0
        self.is_there = threading.Event()
        self.is_there.set()

    def list(self, refresh: bool = False) -> tuple[ModelFile, ...]:
        self.is_there.wait(120)
        return self.models

    def close(self) -> None:
        self.is_there.set()

    def adapters(self) -> tuple[Adapter, ...]:
        return self._adapters

    def get(self, id: str) -> ModelFile:
        for model in self.models:
            if model.info.id == id:
                return model
        raise ModelMissing("Gone.")


class SteeredExecutor:
    """Does a job in `steps` steps. Words in the prompt: "hold" waits for `release` after the first step, "oom" and "bug"
    fail, "big" returns a layer of 16 MiB, "chatty" reports 2000 steps with previews of 64 KiB."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.release = threading.Event()
        self.ran: list[str] = []
        self.warmed = self.rested = 0
        self._running: set[str] = set()
        self._cancelled: set[str] = set()
        self._closed = False

    def warm_up(self) -> None:
        self.warmed += 1

    async def rest(self) -> None:
        self.rested += 1

    async def run(self, work: Work, on_progress: Callable[[bytes | str], None]) -> bytes:
        submit, _ = decode(work.submit)
        assert isinstance(submit, Submit)
        self.ran.append(work.job)
        self._running.add(work.job)
        request, words = submit.request, submit.request.prompt.split()
        steps = 2000 if "chatty" in words else request.steps or 4
        preview = (pack("preview", 128, 128, "rgba8", bytes(1 << 16)),) if "chatty" in words else ()
        for step in range(1, steps + 1):
            on_progress(encode(Progress(work.job, "denoising", step, steps), preview))
            await asyncio.sleep(0)
            while step == 1 and "hold" in words and not self.release.is_set():
                await asyncio.sleep(0.005)
                self._check(work.job)
            self._check(work.job)
        if "oom" in words:
            raise OutOfMemory("Too big.")
        if "bug" in words:
            raise ValueError(f"secret {request.prompt}")
        side = 2048 if "big" in words else 1
        layers = tuple(Layer(Bounds(0, 0, side, side), (request.seed or 0) + index) for index in range(request.count))
        pixels = secrets.token_bytes(side * side) * 4 if side > 1 else PIXEL
        buffers = [pack("layer", side, side, "rgba8", pixels) for _ in layers]
        frame = encode(Result(work.job, request, layers, request.image, {"queue": work.queued}, work.created), buffers)
        assert isinstance(frame, bytes)
        return frame

    def _check(self, job: str) -> None:
        if self._closed:
            raise asyncio.CancelledError
        if job in self._cancelled:
            raise Cancelled

    def cancel(self, job: str) -> None:
        self._cancelled |= {job} & self._running  # as everywhere: what does not run is ignored

    async def close(self) -> None:
        self._closed = True


@dataclass
class Backend:
    """A running server."""

    folder: Path
    port: int
    executor: SteeredExecutor
    models: FixedModels
    store: JobStore
    policy: Policy
    log: list[str] = field(default_factory=list)

    def peer(self, **hello: Any) -> Peer:
        """A client that has been welcomed."""
        peer = Peer(self.port)
        peer.hello(**hello)
        return peer

    def stranger(self) -> Peer:
        return Peer(self.port)


@contextlib.contextmanager
def running(
    folder: Path, policy: Policy | None = None, slots: int = 1, executor: Any = None, history_bytes: int = 2 << 30
) -> Iterator[Backend]:
    rules = policy or Policy()
    executor = executor or SteeredExecutor(slots)
    models = FixedModels(FILL, PLAIN, INPAINT, adapters=(LORA, CONTROL, EMBEDDING, REFERENCE))
    store = JobStore(folder / "jobs", history_bytes)
    listener, _ = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = create_app(
        store=store,
        models=models,
        executor=executor,
        home=Home(folder),
        token=TOKEN,
        hosts=loopback_hosts(port) | {"studio.example:1"},
        origins=("https://studio.example",),
        policy=rules,
    )
    server = uvicorn.Server(server_config(app, rules))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
    backend = Backend(folder, port, executor, models, store, rules)
    keeper = _Keeper(backend.log)
    logging.getLogger().addHandler(keeper)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield backend
    finally:
        server.should_exit = True
        thread.join(20)
        logging.getLogger().removeHandler(keeper)
        assert not thread.is_alive()


class _Keeper(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.name} {record.levelname} {self.format(record)}")


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class Peer:
    """A client's end of the wire."""

    def __init__(self, port: int, **options: Any) -> None:
        self._stack = contextlib.ExitStack()
        address = f"ws://127.0.0.1:{port}/v1/ws"
        self.socket: ClientConnection = self._stack.enter_context(
            connect(address, compression=None, max_size=None, proxy=None, close_timeout=1, **options)
        )
        self.session = ""
        self._passed_over: list[Message] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hello(self, token: str = TOKEN, session: str | None = None, on_disconnect: Any = "keep") -> messages.Welcome:
        self.say(Hello(messages.PROTOCOL_VERSION, "test", token, session, on_disconnect))
        welcome = self.hear(messages.Welcome)
        self.session = welcome.session
        return welcome

    def say(self, message: Message, buffers: Any = ()) -> None:
        self.socket.send(encode(message, buffers))

    def hear_any(self, seconds: float = 10.0) -> Message:
        """The next message, none passed over."""
        if self._passed_over:
            return self._passed_over.pop(0)
        return decode(self.socket.recv(timeout=seconds))[0]

    def hear(self, kind: Any, seconds: float = 10.0) -> Any:
        """The next message of this kind; others wait until they are asked for, but a failure that was not asked for is
        an error."""
        for index, message in enumerate(self._passed_over):
            if isinstance(message, kind):
                return self._passed_over.pop(index)
        while True:
            message = decode(self.socket.recv(timeout=seconds))[0]
            if isinstance(message, kind):
                return message
            assert not isinstance(message, messages.Failed), message
            self._passed_over.append(message)

    def submit(self, request: EditRequest | None = None, job: str | None = None, priority: int = 0) -> str:
        job = job or new_job()
        request = request or edit()
        self.say(Submit(job, request, priority), buffers_of(request))
        return job

    def accepted(self, request: EditRequest | None = None, **options: Any) -> str:
        job = self.submit(request, **options)
        assert self.hear(messages.Accepted).job == job
        return job

    def works(self) -> None:
        """The server answers this client as if nothing had been."""
        self.say(messages.Models())
        self.hear(messages.ModelList)

    def quiet(self) -> None:
        """The server answers, and has nothing new to say beside that."""
        self._passed_over.clear()
        self.works()
        assert self._passed_over == []

    def vanish(self) -> None:
        """As if the client was killed: no farewell."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self._stack.close()


def new_job() -> str:
    return secrets.token_hex(16)


def edit(prompt: str = "", mode: Any = "fill", **fields: Any) -> EditRequest:
    """A small edit that any of the models can do."""
    mask = None if mode in messages.MODES_WITHOUT_MASK else Bounds(1, 1, 2, 1)
    fields = {"mask": mask, **fields}
    return EditRequest(mode, Size(64, 48), Bounds(0, 0, 4, 3), prompt=prompt, **fields)


def buffers_of(request: EditRequest) -> list[messages.Buffer]:
    image = pack("image", request.image.width, request.image.height, "rgba8", bytes(4 * request.image.area))
    if request.mask is None:
        return [image]
    return [image, pack("mask", request.mask.width, request.mask.height, "gray8", b"\xff" * request.mask.area)]


def rows(backend: Backend) -> list[str]:
    with backend.store._lock:
        return [row[0] for row in backend.store._database.execute("SELECT state FROM jobs").fetchall()]


def state(backend: Backend, job: str) -> str | None:
    found = backend.store.find(job)
    return found.state if found else None
