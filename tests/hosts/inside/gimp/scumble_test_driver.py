"""TEST ONLY. Serves a test's requests (see scumble_test_session) from GIMP's batch interpreter: a plug-in process of its
own beside GIMP, whose Gimp.* calls are carried out by GIMP's main loop.

It listens on a free loopback port, whose number it writes to the file that SCUMBLE_TEST_PORT names. It ends, and GIMP
with it, when `end()` is called.
"""

import os
import select
import socket

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
from gi.repository import Gegl, Gimp, Gio, GLib, GObject  # noqa: E402
from scumble_test_session import Session, Stalls  # noqa: E402


def serve():
    ended = []
    stalls = Stalls()
    names = {module.__name__.split(".")[-1]: module for module in (Gegl, Gimp, Gio, GLib, GObject)}
    session = Session({**names, "stalls": stalls, "end": lambda: ended.append(True)})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = os.environ["SCUMBLE_TEST_PORT"]
        with open(path + ".new", "w") as file:
            file.write(str(listener.getsockname()[1]))
        os.rename(path + ".new", path)
        connection, _ = listener.accept()
    # Buffered, as otherwise each byte is asked for; `select` still tells the truth, as one request comes at a time.
    with connection, connection.makefile("rb") as lines:
        while not ended:
            if stalls.last is not None and not select.select([connection], [], [], 0.01)[0]:
                # GIMP's main loop answers this: so its gaps are seen from here.
                Gimp.get_images()
                stalls.tick()
                continue
            line = lines.readline()
            if not line:
                return
            connection.sendall(session.answer(line))


serve()
