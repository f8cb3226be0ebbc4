"""What is added to the model: LoRAs with their weights, words that it has learnt (textual inversions), layers that a
control network follows, pictures that it takes up, and regions that have a prompt of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gi.repository import Gtk
from scumble.client.editor import ControlLayer, ReferenceLayer, RegionLayer
from scumble.protocol.messages import AdapterInfo, AdapterKind, LoraUse

from .lines import ControlLine, LoraLine, ReferenceLine, RegionLine
from .rows import Rows
from .widgets import GAP, column_of, combo_box, fill

EMBEDDING = "Textual inversion\u2026"


class AddedFold:
    """`box` is an expander; `changed` is called after each change, `picked` with a textual inversion's word, which is to go
    into the prompt."""

    def __init__(self, changed: Callable[[], None], picked: Callable[[str], None]) -> None:
        self.box = Gtk.Expander(label="LoRAs, controls, regions")
        self.box.set_name("added")
        self._loras = Rows("lora", "Add a LoRA", LoraLine, changed)
        tip = "A word that a model has learnt: it goes where the cursor is in the prompt"
        self._embeddings = combo_box("embedding", tip, lambda: self._pick(picked))
        self._embeddings.set_no_show_all(True)
        self._controls = Rows("control", "Add a control", ControlLine, changed)
        self._references = Rows("reference", "Add a reference", ReferenceLine, changed)
        self._regions = Rows("region", "Add a region", RegionLine, changed)
        self._of_layers = (self._controls, self._references, self._regions)
        column = column_of(self._loras.box, self._embeddings, *(rows.box for rows in self._of_layers))
        column.set_margin_start(12)
        column.set_margin_top(GAP)
        self.box.add(column)

    @property
    def loras(self) -> tuple[LoraUse, ...]:
        return self._loras.values

    @property
    def controls(self) -> tuple[ControlLayer, ...]:
        return self._controls.values

    @property
    def references(self) -> tuple[ReferenceLayer, ...]:
        return self._references.values

    @property
    def regions(self) -> tuple[RegionLayer, ...]:
        return self._regions.values

    @property
    def follows_layers(self) -> bool:
        return any(rows.lines for rows in self._of_layers)

    def show_loras(self, loras: Sequence[LoraUse]) -> None:
        if tuple(loras) != self.loras:
            self._loras.show(loras)
            self.box.set_expanded(bool(loras) or self.follows_layers)

    def offer_adapters(self, adapters: Sequence[AdapterInfo]) -> None:
        self._loras.offer(adapters=_named(adapters, "lora"))
        self._controls.offer(adapters=_named(adapters, "control"))
        self._references.offer(adapters=_named(adapters, "reference"))
        families: dict[str, list[str]] = {}
        for adapter in adapters:
            if adapter.kind == "embedding":
                families.setdefault(adapter.name, []).extend([adapter.family] if adapter.family else [])
        named = {word: f"{word} ({', '.join(of)})" if of else word for word, of in families.items()}
        fill(self._embeddings, {"": EMBEDDING, **named}, "")
        self._embeddings.set_visible(bool(named))

    def offer_layers(self, layers: Mapping[str, str]) -> None:
        """Ids and names of the layers of the image that is worked on, topmost first."""
        for rows in self._of_layers:
            rows.offer(layers=layers)

    def _pick(self, picked: Callable[[str], None]) -> None:
        word = self._embeddings.get_active_id()
        if word:
            picked(word)
            self._embeddings.set_active_id("")


def _named(adapters: Sequence[AdapterInfo], kind: AdapterKind) -> dict[str, str]:
    return {
        adapter.id: f"{adapter.name} ({adapter.family})" if adapter.family else adapter.name
        for adapter in adapters
        if adapter.kind == kind
    }
