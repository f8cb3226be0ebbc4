"""Measures the plug-in in a real Krita: python -m tests.hosts.krita.benchmark [krita-5.1 ...]

Stalls    the longest gap of a 10 ms timer in Krita's event loop while a whole canvas of 4096 x 4096 is sent and comes back
          as a layer, beside the longest gap with nothing going on; and the longest time in one of the plug-in's own slots,
          with and without the calls that copy pixels out of Krita and into it.
Latency   from the click on Generate to the inserted layer, less the engine's time: median and worst of some. Beside it,
          from the same document, what Krita itself takes to add a layer of that size that is filled already.
Import    of the plug-in on the GUI thread, and making its docker.

The engine is a fake that takes no time; the backend, its worker process and the plug-in's zip are real.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scumble.home import Home

from tests.server.process import process

from ..installs import find_install
from ..krita_host import KritaHost, warm_up_krita
from .conftest import build_zip, open_krita
from .docker import Docker, picture, soft_mask

RUNS = 7
PROBE = """
import contextlib, time
import scumble_krita.backstage, scumble_krita.document as d, scumble_krita.turns as t

spent = {"copies": 0.0, "depth": 0}
slots = []
inserted = []

@contextlib.contextmanager
def copying():
    spent["depth"] += 1
    began = time.perf_counter()
    try:
        yield
    finally:
        spent["depth"] -= 1
        if not spent["depth"]:
            spent["copies"] += time.perf_counter() - began

def counted(name):
    original = getattr(d.KritaDocument, name)
    def call(*arguments):
        with copying():
            result = original(*arguments)
        if name == "insert_layer":
            inserted.append(time.perf_counter())
        return result
    setattr(d.KritaDocument, name, call)

for name in ("read", "selection", "insert_layer"):
    counted(name)

fill = d.KritaDocument._fill
def fill_counted(*arguments):
    work, strip = fill(*arguments), True
    while strip:
        with copying():
            strip = next(work, None)
        if strip:
            yield strip
d.KritaDocument._fill = fill_counted

turn = t.Turns._work
def turn_counted(self):
    began, copies = time.perf_counter(), spent["copies"]
    try:
        return turn(self)
    finally:
        whole = time.perf_counter() - began
        slots.append((whole * 1000, (whole - spent["copies"] + copies) * 1000))
t.Turns._work = turn_counted

def clicked():
    started.append(time.perf_counter())
    part("scumble_generate").click()
"""


def main() -> None:
    for name in sys.argv[1:] or ["krita-5.1"]:
        install = find_install(name)
        if install is None:
            sys.exit(f"{name} is not prepared: python tests/hosts/setup_hosts.py --host {name}")
        warm_up_krita(install)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            home = Home(work / "home")
            home.root.mkdir()
            plugin = build_zip(work)
            with process(home), open_krita(install, plugin, home, work / "krita") as krita:
                docker = Docker(krita)
                docker.ready()
                krita.run(PROBE)
                print(f"{name}: Krita {krita.get('app.version()')}")
                measure_stalls(docker)
                measure_latency(docker, (1024, 768), (512, 384), 150)
                measure_latency(docker, (6000, 4000), (512, 512), 300)
                measure_import(krita)  # last: it leaves a second docker behind, which costs the others their time


def measure_stalls(docker: Docker) -> None:
    krita = docker.krita
    new_document(krita, 4096, 4096)
    docker.set("x", strength=50, steps=2)
    docker.says("Refine picture")
    with krita.stalls() as idle:
        time.sleep(5)
    krita.run("slots.clear()")
    with krita.stalls() as busy:
        krita.run("later(lambda: part('scumble_generate').click())")
        end = time.monotonic() + 120
        while time.monotonic() < end and not krita.get("bool(inserted)"):
            time.sleep(1)
        time.sleep(3)
    whole, own = krita.get("[max(slots, key=lambda slot: slot[which]) for which in (0, 1)]")
    print(f"  4096 x 4096: longest gap {busy.milliseconds:.0f} ms, with nothing going on {idle.milliseconds:.0f} ms")
    print(f"  longest slot with host copies {whole[0]:.0f} ms (goal 250), without them {own[1]:.0f} ms (goal 50)")
    close(krita)


def measure_latency(docker: Docker, canvas: tuple[int, int], size: tuple[int, int], goal: int) -> None:
    krita = docker.krita
    new_document(krita, *canvas)
    krita.select(soft_mask(*size), (canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2)
    docker.set("x", steps=1)
    docker.says("Fill")
    taken, parts = [], []
    for _ in range(RUNS):
        krita.run("inserted.clear(); started = []; document.waitForDone(); later(clicked)")
        end = time.monotonic() + 60
        while time.monotonic() < end and not krita.get("bool(inserted)"):
            time.sleep(0.3)
        time.sleep(0.5)
        timings = krita.run(
            "shop = scumble_krita.backstage.backstage.workshop\n"
            "result = shop._editor.result(shop.outcomes[-1].job).timings"
        )
        taken.append((krita.get("inserted[0] - started[0]") - timings["generate"]) * 1000)
        parts.append({name: timings[name] * 1000 for name in timings if name not in ("encode", "denoise", "decode")})
    median, worst = statistics.median(taken[1:]), max(taken[1:])
    print(
        f"  {size[0]} x {size[1]} in {canvas[0]} x {canvas[1]}: {median:.0f} ms, worst {worst:.0f} ms,"
        f" first {taken[0]:.0f} ms (goal {goal}); in the worker (median): "
        + ", ".join(f"{name} {statistics.median(part.get(name, 0) for part in parts):.0f}" for name in parts[0])
    )
    slots = krita.get("slots[-6:]")
    print("    last slots of the plug-in:", ", ".join(f"{whole:.0f}/{own:.0f}" for whole, own in slots))
    print(f"    Krita's own addChildNode of an equal layer: {statistics.median(krita_alone(krita, size)):.0f} ms")
    close(krita)


def krita_alone(krita: KritaHost, size: tuple[int, int]) -> list[float]:
    """Milliseconds in which Krita adds a layer, some times: nothing of that is the plug-in's."""
    taken: list[float] = krita.run(
        """
result = []
pixels = QtCore.QByteArray(bytes([90, 140, 120, 255]) * (width * height))
for _ in range(runs):
    node = document.createNode("alone", "paintlayer")
    node.setPixelData(pixels, (document.width() - width) // 2, (document.height() - height) // 2, width, height)
    document.waitForDone()
    began = time.perf_counter()
    document.rootNode().addChildNode(node, None)
    result.append((time.perf_counter() - began) * 1000)
    document.waitForDone()
    node.remove()
    document.waitForDone()
""",
        width=size[0],
        height=size[1],
        runs=RUNS,
    )
    return taken


def measure_import(krita: KritaHost) -> None:
    milliseconds = import_again(krita)
    print(f"  import {milliseconds[0]:.0f} ms (goal 50), making the docker {milliseconds[1]:.0f} ms")


def import_again(krita: KritaHost) -> list[float]:
    """Milliseconds of the plug-in's import on the GUI thread, and of making its docker: once more with all modules of the
    plug-in forgotten, as at Krita's start. What Python itself has loaded stays."""
    milliseconds: list[float] = krita.run(
        """
import importlib, sys, time
ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "scumble_krita"}
for name in ours:
    del sys.modules[name]
began = time.perf_counter()
importlib.import_module("scumble_krita.docker"), importlib.import_module("scumble_krita.extension")
imported = time.perf_counter()
sys.modules["scumble_krita.docker"].ScumbleDocker()
made = time.perf_counter()
for name in [name for name in sys.modules if name.split(".")[0] == "scumble_krita"]:
    del sys.modules[name]
sys.modules.update(ours)
result = [(imported - began) * 1000, (made - imported) * 1000]
"""
    )
    return milliseconds


def new_document(krita: KritaHost, width: int, height: int) -> None:
    """A picture that does not compress to nothing, made in the host: it is too large for the test's wire."""
    tile = np.ascontiguousarray(picture(256, 256))
    krita.run(
        """
import math
document = app.createDocument(width, height, "bench", "RGBA", "U8", "", 300.0)
document.setBatchmode(True)
app.activeWindow().addView(document)
layer, = document.rootNode().childNodes()
layer.setOpacity(255)
row = b"".join(tile[start:start + 1024] * math.ceil(width / 256) for start in range(0, len(tile), 1024))
stride = math.ceil(width / 256) * 1024
rows = [row[start:start + width * 4] for start in range(0, len(row), stride)]
layer.setPixelData(QtCore.QByteArray(b"".join(rows[y % 256] for y in range(height))), 0, 0, width, height)
document.setActiveNode(layer)
document.refreshProjection()
document.waitForDone()
""",
        timeout=120,
        width=width,
        height=height,
        tile=tile.tobytes(),
    )


def close(krita: KritaHost) -> None:
    krita.run("document.setModified(False); document.close(); inserted.clear()")


if __name__ == "__main__":
    main()
