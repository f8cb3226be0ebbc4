"""A screen of its own for each host: Xvfb with a small window manager, real keys and clicks, screenshots."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageGrab

from .driver import HostProblem


class Display:
    """An X server on a free number, which it chooses itself, so that runs side by side cannot clash."""

    def __init__(self, log: Path, size: tuple[int, int] = (1600, 1000)):
        reader, writer = os.pipe()
        screen = ["-screen", "0", f"{size[0]}x{size[1]}x24"]
        self._processes = [
            start(["Xvfb", "-displayfd", str(writer), *screen, "-nolisten", "tcp", "-noreset"], log, pass_fds=(writer,))
        ]
        os.close(writer)
        with os.fdopen(reader) as numbers:
            number = numbers.readline().strip()
        if not number:
            raise HostProblem(f"Xvfb did not start:\n{log.read_text()}")
        self.name = f":{number}"
        self._environment = {**os.environ, "DISPLAY": self.name}
        self._processes.append(start(["openbox"], log, env=self._environment))

    def screenshot(self, path: Path) -> Image.Image:
        """The whole screen once nothing moves on it (marching ants do: then as it is after two seconds), also written to
        `path` (PNG)."""
        end = time.monotonic() + 2
        image, before = self._grab(), None
        while image != before and time.monotonic() < end:
            time.sleep(0.2)
            image, before = self._grab(), image
        image.save(path)
        return image

    def _grab(self) -> Image.Image:
        return ImageGrab.grab(xdisplay=self.name).convert("RGB")

    def windows(self, title: str) -> list[str]:
        """The visible windows whose title matches the regular expression, as xdotool's numbers."""
        done = self._xdotool("search", "--onlyvisible", "--name", title, check=False)
        return done.split()

    def activate(self, window: str) -> None:
        """Brings it to the front and gives it the keyboard."""
        self._xdotool("windowactivate", "--sync", window)

    def resize(self, window: str, width: int, height: int) -> None:
        self._xdotool("windowsize", "--sync", window, str(width), str(height))

    def click(self, x: float, y: float, button: int = 1) -> None:
        """A real click at a place of the screen."""
        self._xdotool("mousemove", str(round(x)), str(round(y)), "click", str(button))

    def drag(self, x: float, y: float, dx: float, dy: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Draws a line of 5 steps with the left button down; `meanwhile` is called after 2 of them."""
        moves = [("mousemove", f"{x + dx * step / 5:.0f}", f"{y + dy * step / 5:.0f}") for step in range(1, 6)]
        self._xdotool("mousemove", f"{x:.0f}", f"{y:.0f}", "mousedown", "1", *moves[0], *moves[1])
        meanwhile()
        self._xdotool(*moves[2], *moves[3], *moves[4], "mouseup", "1")

    def point(self, x: float, y: float) -> None:
        """Moves the mouse there, for instance out of the way."""
        self._xdotool("mousemove", str(round(x)), str(round(y)))

    def keys(self, *keys: str) -> None:
        """Real keys to the active window, one after the other, e.g. "ctrl+Return"."""
        self._xdotool("key", "--delay", "30", *keys)

    def type(self, text: str) -> None:
        self._xdotool("type", "--delay", "20", "--", text)

    def close(self) -> None:
        for process in reversed(self._processes):
            stop(process)

    def _xdotool(self, *arguments: str, check: bool = True) -> str:
        command = ["xdotool", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=30)
        if check and done.returncode:
            raise HostProblem(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()


def start(command: list[str], log: Path, **more: object) -> subprocess.Popen[bytes]:
    """A child in a process group of its own, whose output goes to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **more
        )


def stop(process: subprocess.Popen[bytes], seconds: float = 5) -> None:
    """Ends the child and its whole group, by force when it takes longer."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
