"""What tests of pulling share."""

from __future__ import annotations

import pytest
from scumble.home import Home
from scumble.models.hub import Hub
from scumble.models.pull import find_offer, pull
from scumble.models.store import ModelStore
from scumble.protocol.errors import ScumbleError

TINY = "someone/tiny-sd"
"""The repository on the stand-in of the hub."""


def visible(home: Home) -> list[str]:
    """What a list of Scumble's own folder can see."""
    store = ModelStore(home)
    return [model.info.name for model in store.list()] + [str(other) for other in store.others()]


def fails(wanted: str, hub: Hub, home: Home, kind: type[ScumbleError]) -> ScumbleError:
    with pytest.raises(kind) as caught:
        pull(find_offer(wanted, hub), home, hub)
    assert caught.value.hint
    assert visible(home) == []
    return caught.value
