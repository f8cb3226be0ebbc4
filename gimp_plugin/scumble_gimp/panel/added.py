"""What is added to the model: LoRAs with their weights, words that it has learnt (textual inversions), layers that a
control network follows, pictures that it takes up, and regions that have a prompt of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scumble.client.names import in_prompt
from scumble.protocol.messages import AdapterInfo, AdapterKind, Capability, ModelInfo

from ..models import fits, why_not
from .choice import Choice
from .lines import ControlLine, LoraLine, ReferenceLine, RegionLine
from .rows import Rows
from .widgets import GAP, column_of, fold

EMBEDDING = "Textual inversion\u2026"
EMBEDDING_TIP = "A word that a model has learnt: it goes where the cursor is in the prompt"
ADAPTERS: dict[Capability, AdapterKind] = {"loras": "lora", "controls": "control", "references": "reference"}
"""The kind of AdapterInfo that each list needs."""


class AddedFold:
    """`box` is an expander; `changed` is called after each change, `picked` with a textual inversion's word, which is to go
    into the prompt."""

    def __init__(self, changed: Callable[[], None], picked: Callable[[str], None]) -> None:
        self._lists: dict[Capability, Rows] = {
            "loras": Rows("lora", "Add a LoRA", LoraLine, changed),
            "controls": Rows("control", "Add a control", ControlLine, changed),
            "references": Rows("reference", "Add a reference", ReferenceLine, changed),
            "regions": Rows("region", "Add a region", RegionLine, changed),
        }
        loras, *self._of_layers = self._lists.values()
        self._embeddings = Choice("embedding", EMBEDDING_TIP, lambda: self._pick(picked))
        self._embeddings.box.set_no_show_all(True)
        column = column_of(loras.box, self._embeddings.box, *(rows.box for rows in self._of_layers))
        column.set_margin_start(12)
        column.set_margin_top(GAP)
        self.box = fold("added", "LoRAs, controls, regions", column)

    @property
    def values(self) -> dict[str, tuple[Any, ...]]:
        """By their fields in EditSettings; only what is complete."""
        return {name: rows.values for name, rows in self._lists.items()}

    @property
    def rows(self) -> dict[str, tuple[Any, ...]]:
        """As `values`, also those in which something is missing."""
        return {name: rows.rows for name, rows in self._lists.items()}

    @property
    def follows_layers(self) -> bool:
        return any(rows.lines for rows in self._of_layers)

    def show(self, values: Mapping[str, Any]) -> None:
        """Shows these rows, by their fields in EditSettings; of what is missing they stay as they are."""
        for name, rows in self._lists.items():
            if name in values:
                rows.rows = values[name]
        if any(rows.lines for rows in self._lists.values()):
            self.box.set_expanded(True)

    def offer_adapters(self, adapters: Sequence[AdapterInfo], model: ModelInfo | None) -> None:
        """Those that fit the model; and nothing of what it takes nothing of. None: any."""
        for name, rows in self._lists.items():
            rows.allow(why_not(model, name))
        for name, kind in ADAPTERS.items():
            others = [adapter for adapter in adapters if adapter.kind == kind]
            fitting = _named(each for each in others if fits(each, model))
            self._lists[name].offer(adapters=fitting, others=_named(others))
        self._embeddings.allow(why_not(model, "embeddings"))
        families: dict[str, list[str]] = {}
        for adapter in adapters:
            if adapter.kind == "embedding" and fits(adapter, model):
                families.setdefault(adapter.name, []).extend([adapter.family] if adapter.family else [])
        named = {word: f"{word} ({', '.join(of)})" if of else word for word, of in families.items()}
        self._embeddings.offer({"": EMBEDDING, **named})
        self._embeddings.box.set_visible(any(adapter.kind == "embedding" for adapter in adapters))

    def offer_layers(self, layers: Mapping[str, str]) -> None:
        """Ids and names of the layers of the image that is worked on, topmost first."""
        for rows in self._of_layers:
            rows.offer(layers=layers)

    def _pick(self, picked: Callable[[str], None]) -> None:
        word = self._embeddings.chosen
        if word:
            picked(in_prompt(word))
            self._embeddings.chosen = ""


def _named(adapters: Iterable[AdapterInfo]) -> dict[str, str]:
    return {
        adapter.id: f"{adapter.name} ({adapter.family})" if adapter.family else adapter.name for adapter in adapters
    }
