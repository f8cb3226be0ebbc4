"""What was done before: to look at, to take the settings from, to get again."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from gi.repository import Gtk, Pango
from scumble.protocol.messages import HistoryEntry

from ..words import DEEDS
from .widgets import fold

STATES = {"failed": "failed", "cancelled": "cancelled", "queued": "waiting", "running": "running"}


class History:
    """`opened` is called when it is unfolded, `reuse` and `again` with the chosen entry."""

    def __init__(
        self,
        opened: Callable[[], None],
        reuse: Callable[[HistoryEntry], None],
        again: Callable[[HistoryEntry], None],
    ) -> None:
        self._list = Gtk.ListBox()
        self._list.set_name("history-list")
        self._list.connect("row-selected", lambda box, row: self._update())
        scrolled = Gtk.ScrolledWindow(shadow_type=Gtk.ShadowType.IN, min_content_height=120)
        scrolled.set_policy(Gtk.PolicyType.NEVER, Gtk.PolicyType.AUTOMATIC)
        scrolled.add(self._list)
        buttons = Gtk.Box(spacing=6, halign=Gtk.Align.END)
        self._reuse = Gtk.Button(label="Use Settings")
        self._reuse.set_name("reuse")
        self._reuse.connect("clicked", lambda button: self._with_chosen(reuse))
        self._again = Gtk.Button(label="_Bring Back", use_underline=True)
        self._again.set_name("again")
        self._again.set_tooltip_text("Shows its pictures again")
        self._again.connect("clicked", lambda button: self._with_chosen(again))
        for button in (self._reuse, self._again):
            buttons.pack_start(button, False, False, 0)
        column = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        column.set_margin_top(6)
        column.pack_start(scrolled, True, True, 0)
        column.pack_start(buttons, False, False, 0)
        self.box = fold("history", "_History", column)
        self.box.connect("notify::expanded", lambda box, _: box.get_expanded() and opened())
        self.box.show_all()
        self._update()

    @property
    def is_open(self) -> bool:
        return bool(self.box.get_expanded())

    def show(self, entries: Sequence[HistoryEntry]) -> None:
        chosen = self._chosen
        for row in self._list.get_children():
            row.destroy()
        for entry in entries:
            row = Gtk.ListBoxRow()
            row.entry = entry
            row.add(_row(entry))
            self._list.add(row)
            if chosen is not None and entry.job == chosen.job:
                self._list.select_row(row)
        self._list.show_all()
        self._update()

    @property
    def _chosen(self) -> HistoryEntry | None:
        row = self._list.get_selected_row()
        return row.entry if row is not None else None

    def _with_chosen(self, call: Callable[[HistoryEntry], None]) -> None:
        if self._chosen is not None:
            call(self._chosen)

    def _update(self) -> None:
        entry = self._chosen
        self._reuse.set_sensitive(entry is not None)
        self._again.set_sensitive(entry is not None and entry.state in ("done", "delivered"))


def _row(entry: HistoryEntry) -> Any:
    when = datetime.datetime.fromtimestamp(entry.created)
    state = STATES.get(entry.state, "")
    words = " ".join(entry.request.prompt.split()) or DEEDS[entry.request.mode]
    row = Gtk.Box(spacing=6, margin=3, tooltip_text=f"{words}\n{when:%Y-%m-%d %H:%M}")
    label = Gtk.Label(label=words, xalign=0, ellipsize=Pango.EllipsizeMode.END)
    row.pack_start(label, True, True, 0)
    for note in (state, f"{when:%H:%M}"):
        if note:
            faint = Gtk.Label(label=note)
            faint.get_style_context().add_class("dim-label")
            row.pack_start(faint, False, False, 0)
    return row
