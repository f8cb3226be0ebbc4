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
from scumble.protocol.messages import AdapterInfo, ModelInfo, OnDisconnect, Welcome

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


def with_ids(settings: EditSettings, welcome: Welcome) -> EditSettings:
    """The settings with the ids of the model, the control networks and the IP-Adapters, which scripts may give by their
    names too. Raises ModelMissing."""
    model = None if settings.model is None else _id_of(settings.model, welcome.models, "model")
    networks, looks = (
        [adapter for adapter in welcome.adapters if adapter.kind == kind] for kind in ("control", "reference")
    )
    return dataclasses.replace(
        settings,
        model=model,
        controls=tuple(
            dataclasses.replace(control, id=_id_of(control.id, networks, "control network"))
            for control in settings.controls
        ),
        references=tuple(
            dataclasses.replace(reference, id=_id_of(reference.id, looks, "IP-Adapter"))
            for reference in settings.references
        ),
    )


def _id_of(wanted: str, there: Sequence[ModelInfo] | Sequence[AdapterInfo], what: str) -> str:
    for one in there:
        if wanted == one.id or wanted.lower() == one.name.lower():
            return one.id
    raise ModelMissing(f"There is no {what} {wanted}.")
