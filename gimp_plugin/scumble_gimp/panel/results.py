"""The variants that have come back, as thumbnails to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gi.repository import Gdk, Gtk, Pango
from scumble.protocol.geometry import Size

from .pictures import picture

SIDE = 96
Variant = tuple[str, int]
"""A job's id and which of its pictures."""


class Results:
    """`box` is hidden as long as there is nothing; newest first. `apply` and `discard` are called with what is chosen,
    `chosen` with its seed when that is another one."""

    def __init__(
        self, apply: Callable[[Variant], None], discard: Callable[[Variant], None], chosen: Callable[[int], None]
    ) -> None:
        self._tell = chosen
        self._variants: dict[Variant, Any] = {}
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6, margin=12, no_show_all=True)
        self.box.set_margin_bottom(0)
        title = Gtk.Label(xalign=0)
        title.set_markup("<b>Variants</b>")
        self._flow = Gtk.FlowBox(max_children_per_line=12, column_spacing=6, row_spacing=6, homogeneous=True)
        self._flow.set_name("variants")
        self._flow.set_valign(Gtk.Align.START)
        self._flow.set_activate_on_single_click(False)
        self._flow.connect("child-activated", lambda flow, child: apply(child.variant))
        self._flow.connect("selected-children-changed", lambda flow: self._update())
        self._flow.connect("key-press-event", lambda flow, event: self._key(event, discard))
        scrolled = Gtk.ScrolledWindow(shadow_type=Gtk.ShadowType.IN, min_content_height=SIDE + 40)
        scrolled.set_policy(Gtk.PolicyType.NEVER, Gtk.PolicyType.AUTOMATIC)
        scrolled.add(self._flow)
        buttons = Gtk.Box(spacing=6, halign=Gtk.Align.END)
        self._discard = Gtk.Button(label="Discard")
        self._discard.set_name("discard")
        self._discard.connect("clicked", lambda button: self._with_chosen(discard))
        self._discard.set_tooltip_text("Forget this picture and those made with it (Delete)")
        self._apply = Gtk.Button(label="_Insert as Layer", use_underline=True)
        self._apply.set_name("apply")
        self._apply.connect("clicked", lambda button: self._with_chosen(apply))
        for button in (self._discard, self._apply):
            buttons.pack_start(button, False, False, 0)
        for widget, grows in ((title, False), (scrolled, True), (buttons, False)):
            self.box.pack_start(widget, grows, grows, 0)
            widget.show_all()
        self._update()

    @property
    def chosen(self) -> Variant | None:
        selected = self._flow.get_selected_children()
        return selected[0].variant if selected else None

    def show(self, variant: Variant, size: Size, rgba: bytes, seed: int) -> None:
        if variant in self._variants:  # brought back while it is here
            if variant[1] == 0:
                self._flow.select_child(self._variants[variant])
            return
        child = Gtk.FlowBoxChild()
        child.variant, child.seed = variant, seed
        column = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=2, margin=3)
        image = Gtk.Image.new_from_pixbuf(picture(size, rgba, SIDE))
        image.set_size_request(SIDE, SIDE)
        # Without a word before it there is room for all digits: seeds of one edit differ in the last ones.
        child.label = Gtk.Label(label=str(seed), ellipsize=Pango.EllipsizeMode.START, max_width_chars=12)
        child.label.get_style_context().add_class("dim-label")
        child.set_tooltip_text(f"Seed {seed}")
        column.pack_start(image, True, True, 0)
        column.pack_start(child.label, False, False, 0)
        child.add(column)
        self._variants[variant] = child
        self._flow.insert(child, variant[1])
        child.show_all()
        self.box.show()
        if variant[1] == 0:
            self._flow.select_child(child)

    def mark_inserted(self, variant: Variant) -> None:
        child = self._variants.get(variant)
        if child is not None:
            child.label.set_text("\u2713 inserted")

    def remove(self, job: str) -> None:
        """Takes all variants of a job away."""
        for variant in [variant for variant in self._variants if variant[0] == job]:
            self._variants.pop(variant).destroy()
        self.box.set_visible(bool(self._variants))
        self._update()

    def _key(self, event: Any, discard: Callable[[Variant], None]) -> bool:
        if event.keyval not in (Gdk.KEY_Delete, Gdk.KEY_KP_Delete):
            return False
        self._with_chosen(discard)
        return True

    def _with_chosen(self, call: Callable[[Variant], None]) -> None:
        if self.chosen is not None:
            call(self.chosen)

    def _update(self) -> None:
        for button in (self._apply, self._discard):
            button.set_sensitive(self.chosen is not None)
        for child in self._flow.get_selected_children():
            self._tell(child.seed)
