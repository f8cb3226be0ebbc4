"""Which image the artist is working on. GIMP does not tell plug-ins, so it is the one that last changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scumble.protocol.geometry import Bounds, Size

Look = tuple[Size, Bounds | None, bool]
"""What of an image shows that somebody works on it: its size, its selection, whether it has unsaved changes."""


def followed(current: int | None, before: Mapping[int, Look], now: Mapping[int, Look]) -> int | None:
    """The id of the image to follow: a new one, else the one that changed, else the same as long as it is open."""
    new = [image for image in now if image not in before]
    if new and before:
        return new[-1]
    changed = [image for image in now if image in before and now[image] != before[image]]
    if changed and current not in changed:
        return changed[-1]
    if current in now:
        return current
    return next(reversed(list(now)), None)
