"""Panel and dialogs of the plug-in in GIMP's window, as tests of both reach them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scumble.client.client import Client
from scumble.client.launcher import find_backend
from scumble.home import Home
from scumble.protocol.frames import decode, unpack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest, Submit

from tests.server.process import Process

from ..driver import Driver, HostProblem, wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost

PLUGIN = "scumble-gimp"
MASK = np.full((60, 80), 255, np.uint8)
NAMED = """
def named(name):
    found = [widget for widget in widgets() if widget.get_name() == name]
    assert len(found) == 1, (name, found)
    return found[0]
def labelled(label):
    found = [w for w in widgets() if isinstance(w, Gtk.Button) and w.get_label() == label]
    assert len(found) == 1, (label, found)
    return found[0]
def pick(name, text):
    combo = named(name)
    texts = [row[0] for row in combo.get_model()]
    combo.set_active(texts.index(text))
def says(words):
    return any(isinstance(w, Gtk.Label) and words in w.get_text() for w in widgets())
"""
REQUEST_OF = """
import json
def request_of(layer):
    note = layer.get_parasite("scumble")
    return json.loads(bytes(note.get_data()).decode())["request"] if note else {}
def mode_of(layer):
    return request_of(layer).get("mode", "")
"""
CLOSE_ALL = """
for number in range(1, 100):
    if Gimp.Display.id_is_valid(number):
        view = Gimp.Display.get_by_id(number)
        view.delete()
for image in Gimp.get_images():
    image.delete()
"""


class Backend:
    """Of a home, with engines that are as slow as the prompt says (tests.fakes.engines)."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.start()

    def start(self, **environment: str) -> None:
        """`environment`: see tests.server.process."""
        self._process = Process(self.home, **environment)

    def kill(self) -> None:
        self._process.end(signal.SIGKILL)

    def wait_for_job(self) -> Path:
        """Until an edit has been accepted: from there on nothing may be lost. Its file."""
        return wait_for(lambda: list(self.home.jobs.glob("*.submit")), 30, "an edit to be accepted")[0]

    def sent(self) -> tuple[EditRequest, dict[str, list[np.ndarray]]]:
        """The edit that is running, and the pictures that came with it by their roles: height x width (x RGBA)."""
        submit, buffers = decode(self.wait_for_job().read_bytes())
        assert isinstance(submit, Submit)
        pictures: dict[str, list[np.ndarray]] = {}
        for buffer in buffers:
            shape = (buffer.height, buffer.width, *((4,) if buffer.format == "rgba8" else ()))
            pictures.setdefault(buffer.role, []).append(np.frombuffer(unpack(buffer), np.uint8).reshape(shape))
        return submit.request, pictures


def prepare(gimp: GimpHost, picture: np.ndarray) -> None:
    gimp.new_image(picture)
    gimp.select(MASK, 100, 70)
    gimp.run("image.set_selected_layers([layer])")  # GIMP 3.2 has none selected after `select`


@contextlib.contextmanager
def open_panel(gimp: GimpHost) -> Iterator[Driver]:
    """The panel, once it is connected; closed at the end."""
    gimp.menu("Filters", "Scumble", "Open Panel")
    gimp.window("^Scumble$")
    with gimp.plugin(PLUGIN) as panel:
        panel.run(NAMED)
        panel.wait_until("not named('notice').get_visible()", 60)
        panel.run("named('count').set_value(1)")  # it remembers the last ones
        yield panel
        panel.run("later(named('apply').get_toplevel().close)")
    wait_for(lambda: not runs(gimp), 30, "the panel's process to end")


@contextlib.contextmanager
def open_dialog(gimp: GimpHost, title: str) -> Iterator[Driver]:
    """A menu item's dialog, once it is connected."""
    gimp.menu("Filters", "Scumble", f"{title}...")
    gimp.window(f"Scumble: {title}")
    with gimp.plugin(PLUGIN) as dialog:
        dialog.run(NAMED + "entries = [w for w in widgets() if isinstance(w, Gtk.Entry) and w.get_mapped()]")
        dialog.wait_until("says('Ready.')", 60)
        yield dialog


def layers(gimp: GimpHost) -> list[str]:
    return gimp.get("[layer.get_name() for layer in image.get_layers()]")


def runs(gimp: GimpHost) -> list[int]:
    """The processes of our plug-in."""
    return [pid for pid, command in gimp.leftovers().items() if f"{PLUGIN}.py" in command]


def write(panel: Driver, prompt: str, **numbers: float) -> None:
    panel.run("named('prompt').get_buffer().set_text(prompt)", prompt=prompt)
    for name, value in numbers.items():
        panel.run(f"named({name!r}).set_value(value)", value=value)


def click(gimp: GimpHost, plugin: Driver, widget: str) -> None:
    """A click once the widget has stopped moving."""
    gimp.display.point(5, 990)  # a tool tip of what was clicked before may lie over it, and would take the click
    settle(plugin, widget)
    gimp.click(plugin, widget)


def settle(plugin: Driver, widget: str) -> None:
    """Until a widget stays where it is: what has just been shown or unfolded pushes others around."""
    place = f"list({widget}.translate_coordinates({widget}.get_toplevel(), 0, 0) or [])"
    places: list[object] = []
    while len(places) < 3 or places[-1] == [] or any(other != places[-1] for other in places[-3:]):
        places.append(plugin.get(place))
        time.sleep(0.1)
        assert len(places) < 100, places


def reach(gimp: GimpHost, plugin: Driver, widget: str) -> None:
    """A click on what may have to be scrolled to."""
    settle(plugin, widget)
    plugin.run(f"{widget}.grab_focus()")
    click(gimp, plugin, widget)


def add(gimp: GimpHost, panel: Driver, kind: str) -> None:
    """A line in the panel for one more LoRA, control, reference or region."""
    reach(gimp, panel, f"named('{kind}-add')")
    panel.wait_until(f"any(widget.get_name() == '{kind}-remove' for widget in widgets())", 10)


def said(gimp: GimpHost) -> str:
    """What GIMP shows in message boxes and, where a picture is on view, for some seconds in its status bar."""
    names: list[str] = []
    for window in ("GIMP Message", IMAGE_WINDOW):
        with contextlib.suppress(HostProblem):
            names += [name for _, _, name in gimp.tree(window)]
    return " ".join(names)


def pressed(gimp: GimpHost) -> bool:
    with contextlib.suppress(HostProblem):
        gimp.press("GIMP$", "button", "Cancel")
        return True
    return False


def edit_elsewhere(home: Home) -> None:
    """An edit by another client: the backend has only one place for one."""
    client = Client("test", lambda: find_backend(home))
    client.connect()
    request = EditRequest("txt2img", Size(64, 64), Bounds(0, 0, 1, 1), prompt="quick")
    client.wait(client.submit(request, bytes(4)))
    client.close(5)
