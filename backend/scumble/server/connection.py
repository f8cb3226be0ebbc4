"""uvicorn's websocket connection with the three things that a session must know or do below the level of ASGI."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

STRANGER_BYTES = 1 << 16
"""Longest message of a client that has not shown its token."""


class Connection(WebSocketsSansIOProtocol):
    """Found by the application as ``scope["state"]["connection"]``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn.max_message_size = STRANGER_BYTES

    async def run_asgi(self) -> None:
        self.scope["state"]["connection"] = self
        await super().run_asgi()

    def trust(self) -> None:
        """Lets messages be as long as the server's configuration allows."""
        self.conn.max_message_size = self.config.ws_max_size

    def unsent(self) -> int:
        """Bytes that the client has not taken yet, beyond what the operating system holds for it."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def abort(self) -> None:
        """Ends the connection without waiting for what is unsent; closing would wait for the client to read it."""
        self.transport.abort()
