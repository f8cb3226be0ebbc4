"""What the panel does under the artist's hands: wheel, folds, what stays chosen."""

from __future__ import annotations

import numpy as np
import pytest

from ..driver import wait_for
from ..gimp_host import IMAGE_WINDOW, GimpHost
from .window import click, layers, open_panel, prepare, settle, write

STATE = """
page, = [w for w in widgets() if isinstance(w, Gtk.Viewport) and named('prompt').is_ancestor(w)
         and named('history').is_ancestor(w)]
def said():
    texts = [named(name).get_active_id() for name in ('model', 'intent', 'sampler')]
    return texts + [named(name).get_value() for name in ('strength', 'count', 'seed', 'steps', 'grow')]
def scrolled():
    return page.get_vadjustment().get_value()
def wheel(widget, direction=4):
    area = widget.get_allocation()
    x, y = widget.translate_coordinates(widget.get_toplevel(), area.width // 2, area.height // 2)
    _, left, top = widget.get_toplevel().get_window().get_origin()
    return [left + x, top + y, direction]
"""


@pytest.mark.only("newest")
def test_the_wheel_scrolls_and_changes_nothing(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.run(STATE)
        panel.run("page.get_toplevel().resize(400, 600); named('advanced').set_expanded(True)")
        settle(panel, "named('advanced')")
        before = panel.get("said()")
        for name in ("model", "strength", "intent", "count", "sampler", "grow"):
            panel.run(f"named({name!r}).grab_focus()")  # so that it is in sight
            settle(panel, f"named({name!r})")
            panel.run("named('generate').grab_focus()")
            start = panel.get("scrolled()")
            gimp.display.click(*panel.get(f"wheel(named({name!r}), {4 if start > 60 else 5})"))
            panel.wait_until(f"scrolled() != {start}", 10)
            assert panel.get("said()") == before, name
        panel.run("named('grow').grab_focus()")
        settle(panel, "named('grow')")
        gimp.display.click(*panel.get("wheel(named('grow'))"))
        panel.wait_until("named('grow').get_value() == 1", 10)  # on purpose
        panel.run("named('grow').set_value(0)")


@pytest.mark.only("newest")
def test_history_by_hand(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.run(STATE)
        write(panel, "a gate\nof iron", count=2)
        click(gimp, panel, "named('generate')")
        variants = "[child.variant for child in named('variants').get_children()]"
        panel.wait_until(f"len({variants}) >= 2 and not named('cancel').get_mapped()", 60)
        ids = panel.get(variants)
        # The seed of the one that is chosen can be kept.
        seed = panel.get("named('seed').get_value()")
        assert panel.get("[child.label.get_text() for child in named('variants').get_children()][0]") == f"{seed:.0f}"
        panel.run("named('variants').select_child(named('variants').get_child_at_index(1))")
        assert panel.get("named('seed').get_value()") == seed + 1
        # What is unfolded comes into sight.
        panel.run("window = page.get_toplevel(); window.resize(400, 600); named('extend').set_expanded(True)")
        settle(panel, "named('generate')")
        panel.run("named('history').set_expanded(True)")
        in_sight = "named('again').translate_coordinates(page, 0, 0)[1] + 30 <= page.get_allocated_height() + 6"
        panel.wait_until(in_sight, 10)
        row = "named('history-list').get_row_at_index(0)"
        panel.wait_until(f"{row} is not None and {row}.entry.request.prompt.startswith('a gate')", 30)
        assert panel.get(f"{row}.get_child().get_children()[0].get_text()") == "a gate of iron"  # in one line
        # What is still here does not come twice.
        panel.run(f"named('history-list').select_row({row})")
        panel.run("named('again').clicked()")
        write(panel, "a wall", count=1)
        click(gimp, panel, "named('generate')")
        panel.wait_until(f"len({variants}) > {len(ids)} and not named('cancel').get_mapped()", 60)
        assert panel.get(variants)[-len(ids) :] == ids
        assert len(layers(gimp)) == 2
        # Edit says what would be undone, not "Open Panel".
        wait_for(lambda: "Undo Scumble: Fill" in [name for _, _, name in gimp.tree(IMAGE_WINDOW)], 10, "a name to undo")
        # What is chosen stays so when another edit joins the list.
        panel.wait_until(f"{row}.entry.request.prompt == 'a wall'", 30)
        chosen = "named('history-list').get_selected_row()"
        panel.wait_until(f"{chosen} is not None and {chosen}.entry.request.prompt.startswith('a gate')", 10)
        # Old results leave the memory; the history has them.
        panel.run("import scumble.client.editor; scumble.client.editor.KEPT_RESULTS = 1")
        write(panel, "a bridge", count=1)
        click(gimp, panel, "named('generate')")
        panel.wait_until(f"len({variants}) == 1 and not named('cancel').get_mapped()", 60)
        panel.wait_until(
            "[row.entry.request.prompt for row in named('history-list').get_children()][1] == 'a wall'", 30
        )
