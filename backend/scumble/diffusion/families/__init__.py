"""One file for each model architecture. Importing this does not import torch."""

from __future__ import annotations

from ...protocol.errors import ModelUnreadable
from .base import Contents, Family, Identity
from .flux2 import FLUX2
from .sd1 import SD1
from .sd2 import SD2
from .sdxl import SDXL
from .z_image import Z_IMAGE

FAMILIES: tuple[Family, ...] = (SD1, SD2, SDXL, FLUX2, Z_IMAGE)


def identify(contents: Contents) -> Identity | None:
    """What the model is, by its content; None when no family knows it.

    Raises ModelUnreadable when a family knows it and it is incomplete.
    """
    identities = (family.identify(contents) for family in FAMILIES)
    return next((identity for identity in identities if identity is not None), None)


def find_family(name: str) -> Family:
    """The family of that name. Raises ModelUnreadable (an identity written down by a newer Scumble)."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise ModelUnreadable("Scumble does not know this kind of model.", "Update Scumble.")
