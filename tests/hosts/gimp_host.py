"""A real GIMP 3: with a window, as a console, or for one batch command."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .driver import Driver, HostProblem, Stalls, wait_for
from .host import INSIDE, Host, make_warm_home, unpack
from .installs import Install

Pixels = NDArray[np.uint8]
BATCH_SECONDS = 180
PYTHON, SCHEME = "python-fu-eval", "plug-in-script-fu-eval"
"""GIMP's interpreters for scripts."""
IMAGE_WINDOW = "GIMP$"
MAIN_WINDOW = f"GNU Image Manipulation Program$|{IMAGE_WINDOW}"
"""With no image open it has the longer title."""


class GimpHost(Host):
    """See Host. The code given to `run` is executed in a plug-in process of the test, where `Gimp`, `Gegl`, `Gio`, `GLib`
    and `GObject` exist; `plugin` reaches into the process of the plug-in under test."""

    program = "gimp"

    def prepare(self, settings: str) -> None:
        (self._profile / "plug-ins").mkdir(parents=True, exist_ok=True)
        self._ports.mkdir()
        gimprc = self._profile / "gimprc"
        if not gimprc.exists():
            # Without the running version in it GIMP welcomes the user with a window on top of everything.
            gimprc.write_text(
                f'(config-version "{self._exact_version()}")\n'
                "(show-welcome-dialog no)\n(check-updates no)\n(save-session-info no)\n"
            )
        with gimprc.open("a") as file:
            file.write(settings + "\n")

    def add_plugin(self, plugin: Path) -> None:
        """A folder NAME with NAME.py, or a zip that holds such folders; the executable bits stay as they are."""
        if plugin.is_dir():
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(plugin, self._profile / "plug-ins" / plugin.name, ignore=no_caches)
        else:
            unpack(plugin, self._profile / "plug-ins")

    def arguments(self) -> list[str]:
        return ["dbus-run-session", "--", self.program, "--no-splash", "--new-instance", *self._batch(DRIVER)]

    def start(self) -> None:
        super().start()
        if self.has_window:
            window = self.window(MAIN_WINDOW)
            self.display.activate(window)
            self.display.resize(window, 1500, 900)

    def ask_to_quit(self) -> None:
        self.run("end()")

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "GIMP3_DIRECTORY": str(self._profile),
            "GDK_BACKEND": "x11",
            "NO_AT_BRIDGE": "0",
            "PYTHONPATH": f"{INSIDE / 'gimp'}:{INSIDE / 'shared'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SCUMBLE_TEST_PLUGINS": str(self._ports),
        }

    # What tests of a plug-in need again and again

    def new_image(self, pixels: Pixels) -> None:
        """An 8-bit RGB image with one layer, on view where there is a window. `pixels`: height x width x RGBA. In `run`
        it is then `image`, the layer is `layer`."""
        height, width = pixels.shape[:2]
        self.run(
            """
image = Gimp.Image.new(width, height, Gimp.ImageBaseType.RGB)
layer = Gimp.Layer.new(image, "base", width, height, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
buffer = layer.get_buffer()
buffer.set(Gegl.Rectangle.new(0, 0, width, height), "R'G'B'A u8", pixels)
buffer.flush()
image.insert_layer(layer, None, 0)
image.undo_disable(); image.undo_enable()
image.clean_all()
if show:
    display = Gimp.Display.new(image)
    Gimp.displays_flush()
""",
            width=width,
            height=height,
            pixels=np.ascontiguousarray(pixels).tobytes(),
            show=self.has_window,
        )
        if self.has_window:
            self.display.activate(self.window(IMAGE_WINDOW))

    def select(self, mask: Pixels, x: int = 0, y: int = 0) -> None:
        """Makes `mask` (height x width, 255 = selected) the selection of `image`, with its corner at x, y."""
        height, width = mask.shape
        self.run(
            """
# A channel's numbers become the selection's as they are, but stand for other greys where the image is not linear.
kind = image.get_precision().value_nick.split("-", 1)[1]
format = "Y u8" if kind == "linear" else "Y' u8"
channel = Gimp.Channel.new(image, "mask", image.get_width(), image.get_height(), 100, Gegl.Color.new("black"))
image.undo_group_start()
image.insert_channel(channel, None, 0)
buffer = channel.get_buffer()
buffer.set(Gegl.Rectangle.new(0, 0, image.get_width(), image.get_height()), format,
           bytes(image.get_width() * image.get_height()))
buffer.set(Gegl.Rectangle.new(x, y, width, height), format, mask)
buffer.flush()
channel.update(0, 0, image.get_width(), image.get_height())
image.select_item(Gimp.ChannelOps.REPLACE, channel)
image.remove_channel(channel)
image.undo_group_end()
""",
            x=x,
            y=y,
            width=width,
            height=height,
            mask=np.ascontiguousarray(mask).tobytes(),
        )

    def pixels(self, drawable: str, x: int, y: int, width: int, height: int) -> Pixels:
        """What a drawable (a Python expression, e.g. "layer") holds in this rectangle of its own: height x width x RGBA,
        sRGB."""
        data = self.raw(drawable, "R'G'B'A u8", x, y, width, height)
        return np.frombuffer(data, np.uint8).reshape(height, width, 4)

    def raw(self, drawable: str, babl_format: str, x: int, y: int, width: int, height: int) -> bytes:
        """The same in any format of babl, e.g. "RGBA float" or "Y u8" (for the selection)."""
        data: bytes = self.run(
            f"buffer = ({drawable}).get_buffer()\n"
            "result = buffer.get(Gegl.Rectangle.new(x, y, width, height), 1.0, format, Gegl.AbyssPolicy.NONE)",
            format=babl_format,
            x=x,
            y=y,
            width=width,
            height=height,
        )
        return data

    def window(self, title: str, seconds: float = 30) -> str:
        """xdotool's number of the visible window whose title matches."""
        return wait_for(lambda: self.display.windows(title), seconds, f"a window {title!r}")[-1]

    def undo(self) -> None:
        """A real Ctrl+Z in the image's window."""
        self.display.activate(self.window(IMAGE_WINDOW))
        self.display.keys("ctrl+z")

    def menu(self, *names: str) -> None:
        """Activates an item of the image window's menu, e.g. menu("Filters", "Blur", "Gaussian Blur..."). Raises
        HostProblem where it is missing or greyed out."""
        self._accessible("menu", MAIN_WINDOW, *names)

    def click(self, plugin: Driver, widget: str) -> None:
        """A real click of the mouse at the middle of a visible widget (a Python expression in the plug-in)."""
        x, y = plugin.run(
            f"widget = {widget}\n"
            "assert widget.get_mapped(), 'not visible'\n"
            "area = widget.get_allocation()\n"
            "x, y = widget.translate_coordinates(widget.get_toplevel(), area.width // 2, area.height // 2)\n"
            "_, left, top = widget.get_toplevel().get_window().get_origin()\n"
            "result = [left + x, top + y]"
        )
        self.display.click(x, y)

    def tree(self, window: str) -> list[tuple[int, str, str]]:
        """Depth, role and name of every widget of GIMP's own window whose title matches `window`."""
        return [(depth, role, name) for depth, role, name in json.loads(self._accessible("tree", window))]

    def press(self, window: str, role: str, name: str) -> None:
        """Presses a widget of GIMP's own windows, e.g. press("GIMP", "button", "Cancel") for its progress bar."""
        self._accessible("press", window, role, name)

    @contextlib.contextmanager
    def stalls(self) -> Iterator[Stalls]:
        """Measures the longest time that GIMP's own main loop takes to answer, asked every 10 ms. The driver is busy
        with it: what the test runs meanwhile counts as well."""
        stalls = Stalls()
        self.run("stalls.start()")
        yield stalls
        stalls.milliseconds = self.get("stalls.stop()")

    @contextlib.contextmanager
    def plugin(self, name: str, seconds: float = 30) -> Iterator[Driver]:
        """The running process of the plug-in NAME.py: its `run` executes code in the plug-in's own GLib main loop, with
        `Gimp`, `GLib`, `Gtk`, `plugin` (its main module), `widgets()` (all widgets of all its windows) and `later(call)`
        for what blocks. Raises HostProblem where it does not run, or runs no main loop."""
        port = wait_for(lambda: self._newest_port(name), seconds, f"the plug-in {name} to run")
        driver = Driver(port)
        try:
            yield driver
        finally:
            driver.close()

    # Under the bonnet

    def _accessible(self, *arguments: str) -> str:
        """Runs inside/gimp/accessible.py on GIMP's own session bus, whose address its environment tells."""
        variables = Path(f"/proc/{self.program_pid()}/environ").read_text().split("\0")
        bus = next(variable for variable in variables if variable.startswith("DBUS_SESSION_BUS_ADDRESS="))
        script = str(INSIDE / "gimp" / "accessible.py")
        command = self.command(["env", bus, "python3", script, *arguments])
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise HostProblem(done.stderr.strip())
        return done.stdout

    @property
    def _profile(self) -> Path:
        return self.home / "gimp"

    @property
    def _ports(self) -> Path:
        return self.work / "plugins"

    def _newest_port(self, name: str) -> Path | None:
        living = [
            path for path in self._ports.glob(f"{name}-*.port") if Path("/proc", path.stem.rsplit("-", 1)[1]).exists()
        ]
        return max(living, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _exact_version(self) -> str:
        command = self.install.command(["gimp-console", "--version"], [self.work])
        done = subprocess.run(command, capture_output=True, text=True, timeout=BATCH_SECONDS)
        if done.returncode:
            raise HostProblem(f"{self.install.name} does not start: {done.stderr}")
        return done.stdout.split()[-1]

    def _batch(self, code: str, interpreter: str = PYTHON) -> list[str]:
        return [f"--batch-interpreter={interpreter}", "--batch", code, "--quit"]


class GimpConsole(GimpHost):
    """GIMP without any window; `run` and the rest work the same way."""

    program = "gimp-console"
    has_window = False

    def arguments(self) -> list[str]:
        return [self.program, "--no-interface", "--no-data", "--no-fonts", *self._batch(DRIVER)]

    def batch(self, code: str, interpreter: str = PYTHON) -> subprocess.CompletedProcess[str]:
        """One command line as a user's script has it: GIMP runs the code and ends. returncode: 0, 64 = Python raised,
        70 = a procedure failed that SCHEME called; stdout and stderr as they came. Not for a host that has been
        started."""
        arguments = [*self.arguments()[:4], *self._batch(code, interpreter)]
        environment = {key: value for key, value in self.environment().items() if key != "PYTHONPATH"}
        return subprocess.run(
            self.command(arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BATCH_SECONDS,
        )


DRIVER = f"exec(open({str(INSIDE / 'gimp' / 'scumble_test_driver.py')!r}).read())"


def warm_up_gimp(install: Install) -> None:
    def launch(work: Path) -> None:
        with GimpHost(install, work):
            pass

    make_warm_home(install, launch)
