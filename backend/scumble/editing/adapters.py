"""What may be added to a model for an edit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..protocol.errors import BadRequest, ModelMissing
from ..protocol.messages import AdapterInfo, AdapterKind

WORDS: dict[AdapterKind, str] = {
    "lora": "LoRA",
    "control": "ControlNet",
    "embedding": "textual inversion",
    "reference": "IP-Adapter",
    "vision": "image encoder",
    "depth": "depth model",
}


@dataclass(frozen=True)
class Adapter:
    """What is added to a model and where it is: one .safetensors file, that of a folder of diffusers or transformers lies
    beside its config.json. `alias`: what whoever trained a LoRA called it, by which prompts of other programs may name it;
    "" where the file does not say."""

    info: AdapterInfo
    path: Path
    alias: str = ""


def by_id(adapters: Iterable[Adapter], kind: AdapterKind, id: str, family: str) -> Adapter:
    """Raises ModelMissing, and BadRequest where it is made for another family of models."""
    found = next((adapter for adapter in adapters if (adapter.info.kind, adapter.info.id) == (kind, id)), None)
    if found is None:
        raise ModelMissing(f"The chosen {WORDS[kind]} is not here any more.", "Choose another, or none.")
    return _fitting([found], family)


def by_name(adapters: Iterable[Adapter], kind: AdapterKind, name: str, family: str) -> Adapter:
    """The one that is called so (`named`); among several one for this family of models. Raises as `by_id`."""
    found = named(adapters, kind, name)
    if not found:
        raise ModelMissing(
            f"There is no {WORDS[kind]} with the name {name}.",
            "Add its file with: scumble models add, or take it out of the prompt.",
        )
    return _fitting(found, family)


def named(adapters: Iterable[Adapter], kind: AdapterKind, name: str) -> list[Adapter]:
    """Those that are called so, in capitals or not; where none is, those that were so when they were trained. Folders that
    other programs write before a name do not count."""
    wanted = re.split(r"[/\\]", name.removesuffix(".safetensors"))[-1].casefold()
    mine = [each for each in adapters if each.info.kind == kind]
    called = [each for each in mine if each.info.name.casefold() == wanted]
    return called or [each for each in mine if each.alias.casefold() == wanted != ""]


def _fitting(found: Sequence[Adapter], family: str) -> Adapter:
    # Those that say what they are made for come before those that do not.
    for wanted in (family, ""):
        for adapter in found:
            if adapter.info.family == wanted:
                return adapter
    raise other_kind(found[0].info)


def other_kind(adapter: AdapterInfo) -> BadRequest:
    """What is said of an adapter that does not fit the model."""
    what = WORDS[adapter.kind]
    return BadRequest(
        f"The {what} {adapter.name} is made for another kind of model.",
        f"Choose a model that it is made for, or another {what}.",
    )
