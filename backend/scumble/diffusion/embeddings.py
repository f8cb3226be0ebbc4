"""Textual inversions (Gal et al., 2022, An Image is Worth One Word): files that teach a text encoder a new word.

A file's name, in capitals or not, is the word. A LoRA may hold some that were trained with it, each by its word. Importing
this does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..editing.adapters import Adapter
from ..protocol.errors import ModelMissing, ModelUnreadable
from .contents import read_contents, read_header
from .kinds import adapter
from .prompts import Prompt

if TYPE_CHECKING:
    from torch import Tensor

_SUFFIXES = (".safetensors", ".pt", ".bin")
"""The last two are pickles: known by name, so that whoever uses one is told why it cannot be."""
_ENDINGS = "|".join(map(re.escape, _SUFFIXES))

MAX_BYTES = 1 << 24
BUNDLED = "bundle_emb."
"""So begin the names of tensors of textual inversions in a LoRA (OneTrainer, web UI): `bundle_emb.WORD.clip_l`, ..."""
_AFTERWARDS = "_out"
"""So end those that OneTrainer puts into what a text encoder says, which nobody else does."""


@dataclass(frozen=True)
class Embedding:
    """A word's file as it is now: equal as long as nobody touches it. `within`: where its tensors are in a LoRA."""

    word: str
    path: Path
    size: int
    modified: int
    within: str = ""


def find_embeddings(
    folder: Path | None, prompt: Prompt, adapters: Iterable[Adapter] = (), family: str = "", loras: Iterable[Path] = ()
) -> tuple[Embedding, ...]:
    """The files whose words the prompt uses, by word: those in the folder, and what there is elsewhere among the adapters.
    The name of one that is made for another family of models is a word like others. Where several have one name, one that
    says that it is made for this family counts. Before them all come those that the LoRAs in use bring.

    Raises ModelMissing.
    """
    listed = [each for each in adapters if each.info.kind == "embedding"]
    families = {each.path: each.info.family for each in listed}
    named = [(each.info.name, each.path) for each in listed]
    named += [(path.stem, path) for path in _files(folder.resolve())] if folder else []
    found: dict[str, Path] = {}
    for wanted in (family, ""):
        for name, path in named:
            if path not in families:
                families[path] = _family_of(path)
            if families[path] == wanted:
                found.setdefault(name.lower(), path)
    within = {word.lower(): (path, f"{BUNDLED}{word}.") for path in loras for word in _bundled(path)}
    texts = [fragment.text for section in prompt.sections for fragment in section]
    used = {name for text in texts for _, name in split_words(text, found.keys() | within.keys()) if name}
    places = {word: within[word] if word in within else (found[word], "") for word in used}
    return tuple(_as_it_is(word, *places[word]) for word in sorted(used))


def _bundled(lora: Path) -> set[str]:
    names = (name for name in read_header(lora).tensors if name.startswith(BUNDLED))
    return {name.split(".")[1] for name in names if not name.endswith(_AFTERWARDS)}


def _files(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.is_file()]
    return sorted(files, key=lambda path: path.suffix.lower() != ".safetensors")


def _family_of(path: Path) -> str:
    """The name of the family of models that a file is made for; "" where it does not say it. Of one that is no textual
    inversion, too: whoever uses it is told so when it is read."""
    try:
        found = adapter(read_contents(path))
    except ModelUnreadable:
        return ""
    return found[1] if found and found[0] == "embedding" else ""


def _as_it_is(word: str, path: Path, within: str) -> Embedding:
    try:
        stat = path.stat()
    except OSError as error:
        raise ModelMissing(
            f"The textual inversion {word} is not here any more.", "Take it out of the prompt, or add it again."
        ) from error
    return Embedding(word, path, stat.st_size, stat.st_mtime_ns, within)


def split_words(text: str, names: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """The text in pieces, in order: (the piece, which of the lower-case `names` it is, else None).

    Only whole words are names: "cat" is neither in "category" nor in "cat-like". Of two names the longer one counts.
    Prompts of ComfyUI say "embedding:cat", also with the file's folder and ending: "embedding:animals/cat.pt".
    """
    end = 0
    if names:
        longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        word = rf"(?:embedding:(?:[^\s,:]*[\\/])?)?({longest_first})(?:{_ENDINGS})?"
        for match in re.finditer(rf"(?<![\w-]){word}(?![\w-])", text, re.IGNORECASE):
            name = match[1].lower()
            if name not in names:  # letters that are equal but for capitals, and have no lower case
                continue
            if end < match.start():
                yield text[end : match.start()], None
            yield match[0], name
            end = match.end()
    if end < len(text):
        yield text[end:], None


def read_embedding(path: Path, within: str = "") -> Mapping[str, Tensor]:
    """Its tensors by name, each (n, width) float32: `emb_params` (web UI), `clip_l` and `clip_g` (SDXL), or one of any
    other name (`*`, `<word>`: diffusers). Of those in a LoRA the ones whose names begin with `within`.

    Raises ModelUnreadable: a pickle, damaged, or no textual inversion.
    """
    if path.suffix.lower() != ".safetensors":
        raise ModelUnreadable(
            f"The embedding {path.name} is a pickle, which can run code when it is opened, so Scumble does not open it.",
            "Get it as a .safetensors file from where it came from.",
        )
    from safetensors import safe_open
    from safetensors.torch import load_file

    shapes = read_header(path).tensors
    if within:
        names = [name for name, shape in shapes.items() if name.startswith(within) and len(shape) in (1, 2)]
        names = [name for name in names if not name.endswith(_AFTERWARDS)]
        with safe_open(path, "pt") as file:
            return {name.removeprefix(within): _vectors(file.get_tensor(name)) for name in names}
    if not shapes or path.stat().st_size > MAX_BYTES or any(len(shape) not in (1, 2) for shape in shapes.values()):
        raise ModelUnreadable(f"{path.name} is no textual inversion.", "Take it out of the folder of embeddings.")
    return {name: _vectors(tensor) for name, tensor in load_file(path).items()}


def _vectors(tensor: Tensor) -> Tensor:
    return tensor.float().reshape(-1, tensor.shape[-1])
