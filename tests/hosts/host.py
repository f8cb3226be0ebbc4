"""What all hosts have in common: a fresh HOME, a process, a driver inside it, logs, and an end without orphans."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from .display import Display, start
from .driver import Driver, HostProblem, wait_for
from .installs import Install, clean_environment, warm_home

INSIDE = Path(__file__).resolve().parent / "inside"
START_SECONDS = 120
QUIT_SECONDS = 40

started: list[Host] = []
"""The hosts of the running test, for the report of its failure."""


class Host:
    """One running host. A context manager: starts on entry, quits as a user would on exit.

    install      which host
    work         an empty folder of the test for everything this host writes
    plugins      plug-ins to put in place before the start: folders or zips
    environment  variables that the host gets besides a clean set, e.g. SCUMBLE_HOME
    settings     lines to add to the host's own settings file
    visible      further paths that must exist inside (/tmp, the repository and `work` always do)
    """

    program: str
    has_window = True
    display: Display
    process: subprocess.Popen[bytes]

    def __init__(
        self,
        install: Install,
        work: Path,
        plugins: Sequence[Path] = (),
        environment: Mapping[str, str] = {},
        settings: str = "",
        visible: Sequence[Path] = (),
    ):
        self.install = install
        self.work = work
        self.home = work / "host-home"
        self.log = work / "host.log"
        self.mark = f"SCUMBLE_TEST_HOST={uuid.uuid4().hex}"
        self._visible = [work, *visible]
        self._port = work / "driver.port"
        self._extra = dict(environment)
        self._crashed = False
        work.mkdir(parents=True, exist_ok=True)
        template = warm_home(install)
        if template.is_dir():
            shutil.copytree(template, self.home, symlinks=True)
        self.home.mkdir(exist_ok=True)
        self.prepare(settings)
        for plugin in plugins:
            self.add_plugin(plugin)

    # What each host does in its own way

    def prepare(self, settings: str) -> None:
        """Writes the host's settings and the test's driver into the fresh HOME."""
        raise NotImplementedError

    def add_plugin(self, plugin: Path) -> None:
        """Puts a plug-in, a folder or a zip, where this host looks for it, and switches it on."""
        raise NotImplementedError

    def arguments(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def ask_to_quit(self) -> None:
        """As a user would, without saving anything."""
        raise NotImplementedError

    # Life

    def __enter__(self) -> Self:
        started.append(self)
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._crashed:
            self.quit()
            return
        if kind is not None:
            self.keep_evidence()
        self.kill()

    def start(self) -> None:
        """Returns when the driver answers in the host's GUI thread."""
        if self.has_window:
            self.display = Display(self.work / "display.log")
        self._port.unlink(missing_ok=True)
        self.process = start(self.command(self.arguments()), self.log, env=self.environment())
        wait_for(self._port_or_end, START_SECONDS, f"{self.install.name} to start")
        self.driver = Driver(self._port)
        self.driver.run("")

    def quit(self) -> None:
        """Raises HostProblem where the host hangs or does not end with 0."""
        try:
            if self.process.poll() is None:
                self.ask_to_quit()
            try:
                code = self.process.wait(QUIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.keep_evidence()
                raise HostProblem(f"{self.install.name} did not quit in {QUIT_SECONDS} s.") from None
            if code:
                raise HostProblem(f"{self.install.name} ended with {code}:\n{tail(self.log)}")
        finally:
            self.kill()

    def crash(self) -> None:
        """The program itself, nothing else, is killed; what it started outlives it until the end of the test."""
        self._crashed = True
        os.kill(self.program_pid(), signal.SIGKILL)
        self.process.wait(QUIT_SECONDS)

    def kill(self) -> None:
        """Ends everything at once, also what the host started. Harmless where it has ended."""
        if hasattr(self, "process"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pid in self.leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if hasattr(self, "driver"):
            self.driver.close()
        if hasattr(self, "display"):
            self.display.close()

    def program_pid(self) -> int:
        """The process of the program itself, within all that it takes to start it. Raises HostProblem."""
        for pid in self.leftovers():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == self.program:
                    return pid
        raise HostProblem(f"{self.install.name} does not run.")

    def leftovers(self) -> dict[int, str]:
        """The living processes that descend from this host (number: command line), however they detached themselves:
        they all inherit a mark in their environment."""
        found = {}
        for entry in Path("/proc").iterdir():
            # A process may end while we look at it.
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
        return found

    # Talking to it

    def run(self, code: str, timeout: float = 60, **values: Any) -> Any:
        """See Driver.run."""
        return self.driver.run(code, timeout, **values)

    def get(self, expression: str, timeout: float = 60, **values: Any) -> Any:
        """See Driver.get."""
        return self.driver.get(expression, timeout, **values)

    def wait_until(self, expression: str, seconds: float = 30, every: float = 0.05) -> Any:
        """See Driver.wait_until."""
        return self.driver.wait_until(expression, seconds, every)

    def screenshot(self, name: str) -> Image.Image:
        """The whole screen, kept as `name`.png in the work folder."""
        return self.display.screenshot(self.work / f"{name}.png")

    # Under the bonnet

    def environment(self) -> dict[str, str]:
        name, value = self.mark.split("=")
        extra = {"SCUMBLE_TEST_PORT": str(self._port), name: value, **self._extra}
        if hasattr(self, "display"):
            extra["DISPLAY"] = self.display.name
        return clean_environment(self.home, extra)

    def command(self, arguments: Sequence[str]) -> list[str]:
        return self.install.command(arguments, self._visible)

    def _port_or_end(self) -> bool:
        code = self.process.poll()
        if code is not None:
            raise HostProblem(f"{self.install.name} ended with {code} while starting:\n{tail(self.log)}")
        return self._port.exists()

    def keep_evidence(self) -> None:
        """A screenshot of how it looked when it went wrong; its path is in the report."""
        if hasattr(self, "display") and hasattr(self, "process") and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.screenshot("failure")

    def report(self) -> Iterator[tuple[str, str]]:
        """Title and text of everything that tells what happened."""
        yield f"{self.install.name}: files", "\n".join(str(path) for path in sorted(self.work.glob("*.*")))
        yield f"{self.install.name}: output", tail(self.log)
        folders = [Path(self._extra[name]) for name in ("SCUMBLE_HOME",) if name in self._extra]
        for log in sorted(log for folder in folders for log in folder.glob("logs/*.log")):
            yield str(log), tail(log)


def make_warm_home(install: Install, launch: Callable[[Path], None]) -> None:
    """Makes the template of this host's HOME, once: `launch` starts and quits the host in the given work folder."""
    template = warm_home(install)
    template.parent.mkdir(parents=True, exist_ok=True)
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.is_dir():
            return
        for outdated in template.parent.glob(f"{install.name}.home-*/"):
            shutil.rmtree(outdated)
        work = template.with_name(f"{template.name}.unfinished")
        launch(work)
        shutil.rmtree(work / "host-home" / "run", ignore_errors=True)
        (work / "host-home").rename(template)
        shutil.rmtree(work)


def unpack(plugin: Path, into: Path) -> Path:
    """A folder with the plug-in's files: the plug-in itself or what its zip holds, with the files' modes."""
    if plugin.is_dir():
        return plugin
    with zipfile.ZipFile(plugin) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, into))
            mode = entry.external_attr >> 16 & 0o777
            if mode and not entry.is_dir():
                path.chmod(mode)
    return into


def tail(log: Path, characters: int = 6000) -> str:
    return log.read_text(errors="replace")[-characters:] if log.is_file() else ""
