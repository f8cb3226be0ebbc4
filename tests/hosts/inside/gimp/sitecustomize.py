"""TEST ONLY. Python reads this at the start of every plug-in process of GIMP (it lies on PYTHONPATH): a running plug-in,
itself unmodified, then serves a test's requests (see scumble_test_session) in its GLib main loop.

The free loopback port is written to NAME-PID.port in the folder that SCUMBLE_TEST_PLUGINS names. Nothing of GTK or GIMP
is imported before a test connects.
"""

import os
import socket
import sys
import threading


def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    from gi.repository import Gimp, GLib, Gtk
    from scumble_test_session import Session, Stalls

    stalls = Stalls()

    def ticks():
        stalls.tick()
        return stalls.last is not None

    def start_stalls():
        stalls.start()
        GLib.timeout_add(10, ticks)

    session = Session(
        {
            "Gimp": Gimp,
            "GLib": GLib,
            "Gtk": Gtk,
            "plugin": sys.modules["__main__"],
            "stalls": stalls,
            "start_stalls": start_stalls,
            "widgets": lambda: [widget for window in Gtk.Window.list_toplevels() for widget in inside(window, Gtk)],
            "later": lambda call: GLib.idle_add(lambda: call() and False),
        }
    )

    def reply(line):
        connection.sendall(session.answer(line))
        return False

    for line in connection.makefile("rb"):
        GLib.idle_add(reply, line)


def inside(widget, gtk):
    """The widget and all that it holds, visible or not."""
    found = [widget]
    if isinstance(widget, gtk.Container):
        widget.forall(lambda child: found.extend(inside(child, gtk)))
    return found


def start():
    # What the plug-in starts, a backend say, is none of our business.
    os.environ.pop("PYTHONPATH", None)
    script = next(argument for argument in sys.orig_argv if argument.endswith(".py"))
    name = os.path.splitext(os.path.basename(script))[0]
    path = os.path.join(os.environ["SCUMBLE_TEST_PLUGINS"], f"{name}-{os.getpid()}.port")
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    with open(path + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(path + ".new", path)


if "SCUMBLE_TEST_PLUGINS" in os.environ and "-run" in sys.orig_argv:
    start()
