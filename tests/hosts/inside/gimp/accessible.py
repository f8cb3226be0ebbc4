"""TEST ONLY. Runs beside GIMP, in the same session: reads and presses widgets of GIMP's own windows by their accessible
names, wherever on the screen they are.

    accessible.py WINDOW            prints [[depth, role, name], ...] of the window whose title contains WINDOW
    accessible.py WINDOW ROLE NAME  presses the first showing widget of that role and name
"""

import json
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi  # noqa: E402


def children(widget):
    return [child for i in range(widget.get_child_count()) if (child := widget.get_child_at_index(i)) is not None]


def walk(widget, depth=0):
    yield depth, widget
    for child in children(widget):
        yield from walk(child, depth + 1)


def main(title, role=None, name=None):
    windows = [window for program in children(Atspi.get_desktop(0)) for window in children(program)]
    chosen = [window for window in windows if title in (window.get_name() or "")]
    if not chosen:
        sys.exit(f"no window {title!r}, but {[window.get_name() for window in windows]}")
    if role is None:
        print(json.dumps([[depth, widget.get_role_name(), widget.get_name()] for depth, widget in walk(chosen[0])]))
        return
    for _, widget in walk(chosen[0]):
        showing = widget.get_state_set().contains(Atspi.StateType.SHOWING)
        if showing and widget.get_role_name() == role and widget.get_name() == name:
            widget.get_action_iface().do_action(0)
            return
    sys.exit(f"no {role} {name!r} in {chosen[0].get_name()!r}")


main(*sys.argv[1:])
