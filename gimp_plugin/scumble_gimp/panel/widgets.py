"""Widgets of the panel that are made in more than one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gi.repository import GLib, GObject, Gtk, Pango

GAP = 6


def combo_box(name: str, tip: str, changed: Callable[[], None]) -> Any:
    """A list that is as wide as there is room, whatever the names in it."""
    combo = Gtk.ComboBoxText(hexpand=True)
    combo.set_name(name)
    for cell in combo.get_cells():
        cell.set_property("ellipsize", Pango.EllipsizeMode.MIDDLE)
    combo.set_tooltip_text(tip or None)
    combo.connect("changed", lambda combo: changed())
    return unwheeled(combo)


def fill(combo: Any, choices: Mapping[str, str], chosen: str) -> None:
    """By keys and what they are called; the first one is chosen where `chosen` is not among them."""
    # A list apart: one that is on show is laid out anew with each entry, which takes seconds for thousands of LoRAs.
    entries = Gtk.ListStore(str, str)
    for key, label in choices.items():
        entries.insert_with_values(-1, (0, 1), (label, key))
    combo.set_model(entries)
    combo.set_active_id(chosen if chosen in choices else next(iter(choices), ""))


class OpenSpinButton(Gtk.SpinButton):
    """Its lowest number, by which it is left to the model, shows as nothing, and nothing stands for it: the placeholder
    says what that comes to."""

    def do_output(self) -> bool:
        is_open = bool(self.get_value() == self.get_range()[0])
        if is_open:
            self.set_text("")
        return is_open

    def do_input(self, *number: Any) -> tuple[int, float]:
        if not self.get_text():
            self.set_text(f"{self.get_range()[0]:g}")
        return 0, 0.0  # GTK reads the text


def spin_button(
    name: str, tip: str, low: float, high: float, step: float = 1, width: int = 5, left_open: bool = False
) -> Any:
    """As wide as `width` digits: GTK makes room for the highest number, which nobody enters. `left_open`: its lowest number
    leaves it so."""
    made = OpenSpinButton if left_open else Gtk.SpinButton
    numbers = Gtk.Adjustment(value=low, lower=low, upper=high, step_increment=step, page_increment=10 * step)
    spin = made(adjustment=numbers, digits=int(step < 1), numeric=True, width_chars=width)
    spin.set_name(name)
    spin.set_tooltip_text(tip or None)
    return unwheeled(spin)


def unwheeled(widget: Any) -> Any:
    """In a panel that scrolls the wheel must not change what it passes over, but scroll on; only a number with the
    keyboard on it is turned."""

    def pass_on(widget: Any, event: Any) -> bool:
        if not (isinstance(widget, Gtk.SpinButton) and widget.has_focus()):
            widget.stop_emission_by_name("scroll-event")  # GTK's own handler would turn it
        return False

    widget.connect("scroll-event", pass_on)
    return widget


def allow(widget: Any, why_not: str, tip: str = "") -> None:
    """Insensitive as long as there is a reason against it, which then is its tooltip."""
    widget.set_sensitive(not why_not)
    widget.set_tooltip_text(why_not or tip or None)


def allow_parts(box: Any, parts: Iterable[Any], why_not: str) -> None:
    """As `allow`, of some parts of a box; all else in it stays usable."""
    box.set_tooltip_text(why_not or None)  # shows wherever a part has no tooltip of its own
    for part in parts:
        part.set_sensitive(not why_not)
        for widget in (part, *_inside(part)):
            widget.set_has_tooltip(not why_not and bool(widget.get_tooltip_text()))


def _inside(widget: Any) -> Iterator[Any]:
    for part in widget.get_children() if isinstance(widget, Gtk.Box) else ():
        yield part
        yield from _inside(part)


def cross(name: str) -> Any:
    button = Gtk.Button(label="\u00d7", valign=Gtk.Align.CENTER)
    button.set_name(name)
    button.set_tooltip_text("Take it away")
    return button


def row_of(*widgets: Any) -> Any:
    """Side by side; lists take the room that there is."""
    row = Gtk.Box(spacing=GAP)
    for widget in widgets:
        row.pack_start(widget, False, True, 0)
    return row


def column_of(*widgets: Any, spacing: int = GAP, margin: int = 0, growing: Any = None) -> Any:
    """One below the other; one of them may take the room that is left."""
    column = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=spacing, margin=margin)
    for widget in widgets:
        column.pack_start(widget, widget is growing, widget is growing, 0)
    return column


def fold(name: str, label: str, content: Any) -> Any:
    """Shows its content once it is unfolded. Until then GTK lets Tab go there, where nobody sees what is typed: so the
    content, which must be complete, is hidden."""
    expander = Gtk.Expander(label=label, use_underline=True)
    expander.set_name(name)
    expander.add(content)
    content.show_all()
    content.set_no_show_all(True)
    expander.bind_property("expanded", content, "visible", GObject.BindingFlags.SYNC_CREATE)
    expander.connect("notify::expanded", lambda expander, _: _reach(expander))
    return expander


def _reach(expander: Any) -> None:
    """Scrolls to what has been unfolded below the edge, once it has its place; its heading stays in sight."""

    def scroll() -> None:
        page = expander.get_ancestor(Gtk.Viewport)
        if page is not None and expander.get_expanded():
            reached = page.get_vadjustment()
            _, top = expander.translate_coordinates(page, 0, round(reached.get_value()))
            reached.clamp_page(top, top + expander.get_allocated_height())

    def placed(expander: Any, area: Any) -> None:
        expander.disconnect(handler)
        GLib.idle_add(scroll)

    handler = expander.connect("size-allocate", placed)


def scrolled(content: Any) -> Any:
    """Up and down only; what has the focus is in sight."""
    window = Gtk.ScrolledWindow(hscrollbar_policy=Gtk.PolicyType.NEVER)
    window.add(content)
    content.set_focus_vadjustment(window.get_vadjustment())
    return window


def new_grid(left: int = 0) -> Any:
    made = Gtk.Grid(column_spacing=GAP, row_spacing=GAP)
    made.set_margin_start(left)
    made.set_margin_top(GAP if left else 0)
    return made
