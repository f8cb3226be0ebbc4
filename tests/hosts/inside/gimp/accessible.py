"""TEST ONLY. Runs beside GIMP, in the same session: reads and presses widgets of GIMP's own windows by their accessible
names, wherever on the screen they are.

    accessible.py tree WINDOW             prints [[depth, role, name], ...] of the window whose title matches WINDOW
    accessible.py press WINDOW ROLE NAME  presses the first showing widget of that role and name
    accessible.py menu WINDOW NAME...     activates a menu item, e.g. Filters Blur "Gaussian Blur..."
"""

import json
import re
import sys
import time

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
    items = [next(widget for _, widget in walk(window) if widget.get_role_name() == "menu bar")]
    for name in names:
        offered = {child.get_name(): child for child in children(items[-1])}
        if name not in offered:
            sys.exit(f"no menu item {name!r}, but {sorted(offered)}")
        items.append(offered[name])
    if not items[-1].get_state_set().contains(Atspi.StateType.SENSITIVE):
        sys.exit(f"the menu item {names[-1]!r} is greyed out")
    # One after the other, as a user opens them: GTK 3 lets an item that is not in sight act, too, but with critical
    # warnings, as it has a menu grab the keyboard that is in no window.
    for item in items[1:]:
        wait_until_in_sight(item)
        item.get_action_iface().do_action(0)


def wait_until_in_sight(item):
    end = time.monotonic() + 10
    while not item.get_state_set().contains(Atspi.StateType.SHOWING):
        if time.monotonic() > end:
            sys.exit(f"the menu item {item.get_name()!r} does not come into sight")
        time.sleep(0.02)
        item.clear_cache()


action, title, *names = sys.argv[1:]
{"tree": tree, "press": press, "menu": menu}[action](find_window(title), *names)
