"""What is added to the model: LoRAs with their weights, words that it has learnt (textual inversions), layers that a
control network follows, pictures that it takes up, and regions that have a prompt of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gi.repository import Gtk
from scumble.client.editor import ControlLayer, ReferenceLayer, RegionLayer
from scumble.protocol.messages import AdapterInfo, AdapterKind, Capability, LoraUse, ModelInfo

from ..models import fits, why_not
from .lines import ControlLine, LoraLine, ReferenceLine, RegionLine
from .rows import Rows
from .widgets import GAP, allow, column_of, combo_box, fill

EMBEDDING = "Textual inversion\u2026"
EMBEDDING_TIP = "A word that a model has learnt: it goes where the cursor is in the prompt"


class AddedFold:
    """`box` is an expander; `changed` is called after each change, `picked` with a textual inversion's word, which is to go
    into the prompt."""

    def __init__(self, changed: Callable[[], None], picked: Callable[[str], None]) -> None:
        self.box = Gtk.Expander(label="LoRAs, controls, regions")
        self.box.set_name("added")
        self._loras = Rows("lora", "Add a LoRA", LoraLine, changed)
        self._embeddings = combo_box("embedding", EMBEDDING_TIP, lambda: self._pick(picked))
        self._embeddings.set_no_show_all(True)
        self._controls = Rows("control", "Add a control", ControlLine, changed)
        self._references = Rows("reference", "Add a reference", ReferenceLine, changed)
        self._regions = Rows("region", "Add a region", RegionLine, changed)
        self._of_adapters: tuple[tuple[Rows, Capability, AdapterKind], ...] = (
            (self._loras, "loras", "lora"),
            (self._controls, "controls", "control"),
            (self._references, "references", "reference"),
        )
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

    def offer_adapters(self, adapters: Sequence[AdapterInfo], model: ModelInfo | None) -> None:
        """Those that fit the model; and nothing of what it takes nothing of. None: any."""
        for rows, capability, kind in self._of_adapters:
            rows.allow(why_not(model, capability))
            others = [adapter for adapter in adapters if adapter.kind == kind]
            rows.offer(adapters=_named(each for each in others if fits(each, model)), others=_named(others))
        self._regions.allow(why_not(model, "regions"))
        allow(self._embeddings, why_not(model, "embeddings"), EMBEDDING_TIP)
        families: dict[str, list[str]] = {}
        for adapter in adapters:
            if adapter.kind == "embedding" and fits(adapter, model):
                families.setdefault(adapter.name, []).extend([adapter.family] if adapter.family else [])
        named = {word: f"{word} ({', '.join(of)})" if of else word for word, of in families.items()}
        fill(self._embeddings, {"": EMBEDDING, **named}, "")
        self._embeddings.set_visible(any(adapter.kind == "embedding" for adapter in adapters))

    def offer_layers(self, layers: Mapping[str, str]) -> None:
        """Ids and names of the layers of the image that is worked on, topmost first."""
        for rows in self._of_layers:
            rows.offer(layers=layers)

    def _pick(self, picked: Callable[[str], None]) -> None:
        word = self._embeddings.get_active_id()
        if word:
            picked(word)
            self._embeddings.set_active_id("")


def _named(adapters: Iterable[AdapterInfo]) -> dict[str, str]:
    return {
        adapter.id: f"{adapter.name} ({adapter.family})" if adapter.family else adapter.name for adapter in adapters
    }
