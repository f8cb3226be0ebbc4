"""`scumble serve` as its own process, as users have it, but with engines that tests can steer and a model that is not
there. Run with: python -m tests.server.process HOME [PORT]

SCUMBLE_TEST_KILLED kills it: "before NAME" or "after NAME" of a method of the job store. SCUMBLE_TEST_LOOK names a file: as
long as it is not there, the backend looks through its models. SCUMBLE_TEST_HOST: where it listens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scumble.home import Home

from .harness import CONTROL, EMBEDDING, LORA, PLAIN, REFERENCE, FixedModels, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


class Process:
    def __init__(self, home: Home, port: int = 0, **environment: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.process", str(home.root), str(port)],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines = [self.process.stdout.readline()]
        while self.lines[-1] and "listens" not in self.lines[-1] and "already" not in self.lines[-1]:
            self.lines.append(self.process.stdout.readline())

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.home.record.read_text())
        return record

    @property
    def port(self) -> int:
        return int(self.record["port"])

    @property
    def token(self) -> str:
        return self.home.token.read_text()

    def end(self, number: int | None = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code and what it said on stderr. None: it ends by itself."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@contextlib.contextmanager
def process(home: Home, port: int = 0, **environment: str) -> Iterator[Process]:
    started = Process(home, port, **environment)
    try:
        yield started
    finally:
        started.end(signal.SIGKILL)


def kill_at(moment: str) -> None:
    from scumble.server.jobs import JobStore

    when, name = moment.split()
    method = getattr(JobStore, name)

    def deadly(*arguments: Any) -> None:
        if when == "after":
            method(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(JobStore, name, deadly)


def look_until(file: Path, models: FixedModels) -> None:
    def wait() -> None:
        wait_until(file.exists, 120)
        models.is_there.set()

    models.is_there.clear()
    models.looked = 1234, 3000
    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    import faulthandler

    from scumble.server import serve as module
    from scumble.server.executor import LocalExecutor

    from tests.fakes.engines import ENGINES

    faulthandler.register(signal.SIGUSR1)
    if moment := os.environ.get("SCUMBLE_TEST_KILLED"):
        kill_at(moment)
    models = FixedModels(PLAIN, adapters=(LORA, CONTROL, EMBEDDING, REFERENCE))
    if file := os.environ.get("SCUMBLE_TEST_LOOK"):
        look_until(Path(file), models)
    module.ModelStore = lambda home: models  # type: ignore[assignment, misc]
    host = os.environ.get("SCUMBLE_TEST_HOST", "127.0.0.1")
    home, port = Home(Path(sys.argv[1])), int(sys.argv[2])
    return module.serve(home, host, port, allow_remote=True, executor=lambda: LocalExecutor(ENGINES))


if __name__ == "__main__":
    sys.exit(main())
