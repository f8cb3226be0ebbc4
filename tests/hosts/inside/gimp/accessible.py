"""TEST ONLY. Runs beside GIMP, in the same session: reads and presses widgets of GIMP's own windows by their accessible
names, wherever on the screen they are.

    accessible.py tree WINDOW             prints [[depth, role, name], ...] of the window whose title matches WINDOW
    accessible.py press WINDOW ROLE NAME  presses the first showing widget of that role and name
    accessible.py menu WINDOW NAME...     activates a menu item, e.g. Filters Blur "Gaussian Blur..."
"""

import json
import re
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


def find_window(title):
    Atspi.set_timeout(6000, 6000)  # a plug-in that waits for something does not answer, GIMP itself does
    others = []
    for program in children(Atspi.get_desktop(0)):
        for window in children(program):
            if re.search(title, window.get_name() or ""):
                return window
            others.append(window.get_name())
    sys.exit(f"no window {title!r}, but {others}")


def tree(window):
    print(json.dumps([[depth, widget.get_role_name(), widget.get_name()] for depth, widget in walk(window)]))


def press(window, role, name):
    for _, widget in walk(window):
        showing = widget.get_state_set().contains(Atspi.StateType.SHOWING)
        if showing and widget.get_role_name() == role and widget.get_name() == name:
            widget.get_action_iface().do_action(0)
            return
    sys.exit(f"no {role} {name!r} in {window.get_name()!r}")


def menu(window, *names):
    item = next(widget for _, widget in walk(window) if widget.get_role_name() == "menu bar")
    for name in names:
        offered = {child.get_name(): child for child in children(item)}
        if name not in offered:
            sys.exit(f"no menu item {name!r}, but {sorted(offered)}")
        item = offered[name]
    if not item.get_state_set().contains(Atspi.StateType.SENSITIVE):
        sys.exit(f"the menu item {names[-1]!r} is greyed out")
    item.get_action_iface().do_action(0)


action, title, *names = sys.argv[1:]
{"tree": tree, "press": press, "menu": menu}[action](find_window(title), *names)
