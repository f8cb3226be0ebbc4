"""GIMP's way to the backend: where it is, and what an edit needs of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from scumble.client.client import Client
from scumble.client.connection import Address
from scumble.client.editor import EditSettings
from scumble.client.events import Connected, Event, Lost
from scumble.client.launcher import start_backend
from scumble.home import Home
from scumble.protocol.errors import ModelMissing
from scumble.protocol.messages import ModelInfo, OnDisconnect, Welcome

CONNECT_SECONDS = 60.0


def make_client(
    home: Home,
    on_disconnect: OnDisconnect,
    session: str | None = None,
    wake: Callable[[], None] | None = None,
) -> Client:
    def locate() -> Address:
        return start_backend(home)

    return Client("gimp", locate, session, on_disconnect, wake)


def welcomed(client: Client) -> Welcome:
    """Connects and waits for the backend's welcome. Raises what the first attempt fails with."""

    def pick(event: Event) -> Welcome | None:
        if isinstance(event, Lost):
            raise event.error
        return event.welcome if isinstance(event, Connected) else None

    client.connect()
    return client.welcome or client.wait_for(pick, CONNECT_SECONDS)


def with_model_id(settings: EditSettings, models: Sequence[ModelInfo]) -> EditSettings:
    """The settings with the id of the model, which scripts may give by its name too. Raises ModelMissing."""
    wanted = settings.model
    if wanted is None:
        return settings
    for model in models:
        if wanted == model.id or wanted.lower() == model.name.lower():
            return dataclasses.replace(settings, model=model.id)
    raise ModelMissing(f"There is no model {wanted}.")
