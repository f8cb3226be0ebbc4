"""Which of a repository's files a model needs: no pickles, no duplicates in another precision, nothing that Scumble does
not load (the safety checker alone is 1.2 GB)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..protocol.errors import BadRequest, ModelMissing, ModelUnreadable
from .download import Published

_WEIGHED = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_WEIGHTLESS = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3")
_TEXTS = (".json", ".txt", ".model")
_VARIANTS = ("fp16", "", "bf16", "fp32")
"""Best first: half the size, with nothing lost that shows."""
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?(?P<shard>-\d+-of-\d+)?(?:\.(?P<late>\w+))?\.safetensors"
)
_INDEX = re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")


def choose(files: Sequence[Published], file: str = "") -> tuple[Published, ...]:
    """The files to fetch, small ones first: what describes a model comes before its weights. `file` names the only one.

    Raises BadRequest (several single files, and none is named), ModelMissing (no such file), ModelUnreadable (pickles).
    """
    if file:
        chosen = [_named(files, file)]
    elif any(published.name == "model_index.json" for published in files):
        chosen = _folder(files)
    elif any(published.name == "config.json" for published in files) and _best(files, ""):
        chosen = [*_texts(files, "", ("config.json", "preprocessor_config.json")), *_best(files, "")]
    else:
        chosen = [_only(files)]
    return tuple(sorted(chosen, key=lambda published: (published.name.endswith(".safetensors"), published.size)))


def _named(files: Sequence[Published], file: str) -> Published:
    if not file.lower().endswith(".safetensors"):
        raise ModelUnreadable(
            f"{file} is no .safetensors file.", "Scumble fetches no other weights: they can run code."
        )
    for published in files:
        if published.name == file:
            return published
    raise ModelMissing(f"The repository has no {file}.", "Check the name; it is the one in the list of its files.")


def _only(files: Sequence[Published]) -> Published:
    single = [published for published in files if published.name.endswith(".safetensors")]
    if not single:
        raise ModelUnreadable(
            "This repository holds no model that Scumble can read.",
            "Choose one in diffusers' layout, or one with a .safetensors file.",
        )
    if len(single) > 1:
        few = ", ".join(published.name for published in single[:5]) + (", ..." if len(single) > 5 else "")
        raise BadRequest("This repository holds several models.", f"Name one as owner/name:FILE: {few}")
    return single[0]


def _folder(files: Sequence[Published]) -> list[Published]:
    chosen = _texts(files, "", ("model_index.json",))
    present = {published.name.partition("/")[0] for published in files if "/" in published.name}
    for component in (*_WEIGHED, *_WEIGHTLESS):
        if component not in present:
            continue
        chosen += _texts(files, component)
        weights = _best(files, component)
        if component in _WEIGHED and not weights:
            raise ModelUnreadable(
                f"This model's {component.replace('_', ' ')} is there as a pickle only, which can run code.",
                "Choose a repository with .safetensors files.",
            )
        chosen += weights
    return chosen


def _texts(files: Sequence[Published], folder: str, names: Sequence[str] = ()) -> list[Published]:
    """What describes a component: all small files of its folder but the lists of shards, or only those of `names`."""
    inside = [(published, name) for published, name in _inside(files, folder) if name.endswith(_TEXTS)]
    return [published for published, name in inside if (name in names if names else not _INDEX.fullmatch(name))]


def _best(files: Sequence[Published], folder: str) -> list[Published]:
    """The weights of a component in the best variant that is there; whole rather than in shards."""
    found: dict[tuple[str, bool], list[Published]] = {}
    lists: dict[str, Published] = {}
    for published, name in _inside(files, folder):
        if match := _WEIGHTS.fullmatch(name):
            variant = match["variant"] or match["late"] or ""
            found.setdefault((variant, match["shard"] is not None), []).append(published)
        elif match := _INDEX.fullmatch(name):
            lists[match["variant"] or ""] = published
    for variant in _VARIANTS:
        if whole := found.get((variant, False)):
            return whole[:1]
        if (shards := found.get((variant, True))) and variant in lists:
            return [lists[variant], *shards]
    return []


def _inside(files: Sequence[Published], folder: str) -> list[tuple[Published, str]]:
    """The files directly in a folder ("" the top one), with their names there."""
    parted = ((published, *published.name.rpartition("/")) for published in files)
    return [(published, name) for published, parent, _, name in parted if parent == folder]
