"""How the families of flow matching are told: folders of diffusers with a transformer and a language model."""

from __future__ import annotations

from ...protocol.errors import ModelUnreadable
from ...protocol.messages import Capability
from .base import Contents, Defaults, Identity
from .latent import classes

SAMPLERS: tuple[str, ...] = ("euler",)
CAPABILITIES: tuple[Capability, ...] = ("negative", "loras", "regions")
"""Their language models take a prompt as it stands."""
_NATIVE = 1024  # px


def identify_transformer(
    contents: Contents, family: str, parts: dict[str, tuple[str, ...]], suits: Defaults | None
) -> Identity | None:
    """The identity of a folder whose components are of these classes, else None.

    Raises ModelUnreadable when a part is missing.
    """
    if contents.layout != "diffusers":
        return None
    kinds = classes(contents)
    if any(kinds.get(part) not in names for part, names in parts.items()):
        return None
    for part in (*parts, "scheduler"):
        if part not in contents.configs:
            raise ModelUnreadable(f"This model has no {part.replace('_', ' ')}.")
    return Identity(family, "diffusers", False, "flow", _NATIVE, suits=suits)
