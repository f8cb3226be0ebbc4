"""What is added to the model: LoRAs with their weights, words that it has learnt (textual inversions), layers that it is to
follow or to take up, and prompts for where a layer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import models
from ..qt import QtWidgets, Signal
from . import widgets
from .rows import ControlLine, LoraLine, ReferenceLine, RegionLine, Rows

EMBEDDING = "Textual inversion\u2026"
ADAPTERS = {"loras": "lora", "controls": "control", "references": "reference"}
"""The kind of AdapterInfo that each list needs."""


class AddedPanel(QtWidgets.QWidget):
    """`changed`: the artist changed something. `picked`: a textual inversion's word is to go into the prompt. `prompted`: a
    region's prompt (a PromptEdit) has come."""

    changed = Signal()
    picked = Signal(str)
    prompted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._embeddings = widgets.search_box(
            "scumble_embedding", "A word that a model has learnt: it goes where the cursor is in the prompt."
        )
        self._embeddings.currentIndexChanged.connect(self._pick)
        self._embeddings.hide()
        self._lists = {
            "loras": Rows("scumble_lora", "Add a LoRA", LoraLine),
            "controls": Rows("scumble_control", "Add a control", ControlLine),
            "references": Rows("scumble_reference", "Add a reference", ReferenceLine),
            "regions": Rows("scumble_region", "Add a region", RegionLine),
        }
        loras, *others = self._lists.values()
        widgets.vertical(self, loras, self._embeddings, *others)
        for rows in self._lists.values():
            rows.changed.connect(self.changed)
        self._lists["regions"].prompted.connect(self.prompted)

    @property
    def values(self) -> dict[str, tuple[Any, ...]]:
        """The rows by the name of their field in a Form."""
        return {name: rows.values for name, rows in self._lists.items()}

    @values.setter
    def values(self, values: Mapping[str, Sequence[Any]]) -> None:
        for name, rows in self._lists.items():
            rows.values = values[name]

    def set_adapters(self, adapters: Sequence[Any], model: Any) -> None:
        """Those of the backend's AdapterInfos that fit the model (a ModelInfo; None: any), and only what it takes."""
        why_not = models.refusals(model)
        for name, rows in self._lists.items():
            rows.allow(why_not.get(name, ""))
        for name, kind in ADAPTERS.items():
            mine = [each for each in adapters if each.kind == kind]
            fitting = [each for each in mine if models.fits(each, model)]
            self._lists[name].offer(adapters=_named(fitting), others=_named(mine))
        families: dict[str, list[str]] = {}
        for each in adapters:
            if each.kind == "embedding" and models.fits(each, model):
                families.setdefault(each.name, []).extend([each.family] if each.family else [])
        listed = [(name, f"{name} ({', '.join(of)})" if of else name) for name, of in families.items()]
        widgets.fill(self._embeddings, [("", EMBEDDING), *listed])
        widgets.allow(self._embeddings, why_not.get("embeddings", ""))
        self._embeddings.setVisible(any(each.kind == "embedding" for each in adapters))

    def _pick(self, index: int) -> None:
        if index > 0:
            from ..lib.scumble.client.names import in_prompt

            self.picked.emit(in_prompt(self._embeddings.currentData()))
            self._embeddings.setCurrentIndex(0)

    def set_layers(self, layers: Sequence[tuple[str, str]]) -> None:
        """Ids and names of the document's layers, the topmost first."""
        for rows in self._lists.values():
            rows.offer(layers=layers)


def _named(adapters: Sequence[Any]) -> list[tuple[str, str]]:
    return [(each.id, f"{each.name} ({each.family})" if each.family else each.name) for each in adapters]
