"""How long the artist waits beside the engine's time: python -m tests.hosts.gimp.bench_latency [gimp-3.0 ...]

A 512 x 384 selection in an opaque picture of 1536 x 1024, an engine that paints at once (tests.fakes.engines), so that
what is measured is all but the engine. Three ways: another script's call, which starts a process for the plug-in; the
click in the open panel; and the longest gap of a 10 ms timer in the panel's main loop, with GIMP's own calls and without.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from scumble.home import Home

from tests.server.process import process

from ..gimp_host import GimpHost
from ..installs import Install, find_install
from .conftest import CALL, build_zip

RUNS = 7
TIMED = """
import time
def timed():
    began = time.monotonic()
    done = call("scumble-fill-selection", image, prompt="quick", steps=1)
    assert "error" not in done, done
    return time.monotonic() - began
"""
PANEL = """
import time
from scumble.client.editor import Editor
plain = Editor.insert
inserted, engine, worker = [], [], []
def insert(self, job, *arguments):
    plain(self, job, *arguments)
    inserted.append(time.monotonic())
    timings = self.result(job).timings
    engine.append(timings["generate"])
    worker.append(sum(timings[name] for name in ("load", "plan", "generate", "composite")))
Editor.insert = insert
def named(name):
    return next(widget for widget in widgets() if widget.get_name() == name)
"""
OWN = """
from gi.repository import Gegl
spent, depth = 0.0, 0
def timed(owner, name):
    call = getattr(owner, name)
    def run(*arguments):
        global spent, depth
        began, depth = time.monotonic(), depth + 1
        try:
            return call(*arguments)
        finally:
            depth -= 1
            if not depth:
                spent += time.monotonic() - began
    setattr(owner, name, run)
for owner, names in (
    (Gegl.Buffer, ("get", "set", "flush")),
    (Gimp.Layer, ("new", "new_from_visible")),
    (Gimp.Image, ("insert_layer", "resize", "get_thumbnail_data", "set_selected_layers", "undo_group_end")),
    (Gimp.Drawable, ("get_buffer",)),
    (Gimp, ("displays_flush",)),
):
    for name in names:
        timed(owner, name)
gaps, last = [], None
def tick():
    global last
    now = time.monotonic()
    if last is not None:
        gaps.append(now - last[0] - (spent - last[1]))
    last = now, spent
    return True
GLib.timeout_add(10, tick)
"""
"""Counts the gaps of a 10 ms timer less the time in GIMP's calls that handle pixels and layers."""


def main() -> int:
    names = sys.argv[1:] or ["gimp-3.0", "gimp-3.2"]
    with tempfile.TemporaryDirectory() as scratch:
        plugin = build_zip(Path(scratch))
        for name in names:
            install = find_install(name)
            if install is None:
                print(f"{name} is not prepared: python tests/hosts/setup_hosts.py --host {name}")
                continue
            measure(install, Path(scratch) / name, plugin)
    return 0


def measure(install: Install, work: Path, plugin: Path) -> None:
    home = Home(work / "home")
    home.root.mkdir(parents=True)
    environment = {"SCUMBLE_HOME": str(home.root)}
    with process(home), GimpHost(install, work / "gimp", plugins=[plugin], environment=environment) as gimp:
        picture = np.random.default_rng(1).integers(0, 255, (1024, 1536, 4), np.uint8)
        picture[..., 3] = 255
        gimp.new_image(picture)
        gimp.select(np.full((384, 512), 255, np.uint8), 400, 300)
        gimp.run(CALL + TIMED)
        report(install.name, "from a fresh process", [gimp.get("timed()") for _ in range(RUNS)])
        gimp.menu("Filters", "Scumble", "Open Panel")
        with gimp.plugin("scumble-gimp") as panel:
            panel.run(PANEL)
            panel.wait_until("not named('notice').get_visible()", 60)
            panel.run("named('prompt').get_buffer().set_text('quick'); named('steps').set_value(1)")
            waits, engine, worker = [], [], []
            panel.run(OWN)
            panel.run("start_stalls()")
            for count in range(1, RUNS + 1):
                panel.run("began = time.monotonic(); named('generate').clicked()")
                panel.wait_until(f"len(inserted) == {count}", 30)
                waits.append(panel.get("inserted[-1] - began"))
                engine.append(waits[-1] - panel.get("engine[-1]"))
                worker.append(waits[-1] - panel.get("worker[-1]"))
            stall, own = panel.get("stalls.stop()"), panel.get("1000 * max(gaps)")
        report(install.name, "from the open panel", waits)
        report(install.name, "  without the engine", engine)
        report(install.name, "  without all that the worker did", worker)
        print(
            f"{install.name:10} the panel's longest gap           {stall:6.0f} ms, without GIMP's own calls {own:.0f}"
        )
        gimp.run("image.clean_all()")


def report(name: str, what: str, seconds: list[float]) -> None:
    milliseconds = sorted(1000 * second for second in seconds)
    median = statistics.median(milliseconds)
    print(f"{name:10} {what:33} {median:6.0f} ms (from {milliseconds[0]:.0f} to {milliseconds[-1]:.0f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
