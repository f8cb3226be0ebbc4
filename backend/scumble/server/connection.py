"""uvicorn's websocket connection with what a session must know or do below the level of ASGI."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

STRANGER_BYTES = 1 << 16
"""Longest message of a client that has not shown its token."""
PIECE = 1 << 20
"""Bytes of a message that are sent in one go. Pings and pongs pass between two pieces: behind a whole result on its way
over a slow network they would come too late, and both sides would give the connection up, each time anew."""


class Connection(WebSocketsSansIOProtocol):
    """Found by the application as ``scope["state"]["connection"]``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn.max_message_size = STRANGER_BYTES
        self._given = 0

    async def run_asgi(self) -> None:
        self.scope["state"]["connection"] = self
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        data: bytes = message.get("bytes") or b""
        if len(data) > PIECE:
            await self._send_pieces(data)
        else:
            await super().send(message)
            self._given += len(data or (message.get("text") or "").encode())

    async def _send_pieces(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            await self.writable.wait()
            if self.disconnected or self.close_sent:
                raise ClientDisconnected
            piece = data[start : start + PIECE]
            try:
                if start == 0:
                    self.conn.send_binary(piece, fin=False)
                else:
                    self.conn.send_continuation(piece, fin=start + PIECE >= len(data))
            except InvalidState:  # a close is on its way
                raise ClientDisconnected from None
            self.transport.write(b"".join(self.conn.data_to_send()))
            self._given += len(piece)

    def trust(self) -> None:
        """Lets messages be as long as the server's configuration allows."""
        self.conn.max_message_size = self.config.ws_max_size

    def unsent(self) -> int:
        """Bytes that the client has not taken yet, beyond what the operating system holds for it."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def taken(self) -> int:
        """Bytes of messages that the client, or the operating system for it, has taken so far."""
        return self._given - self.unsent()

    def abort(self) -> None:
        """Ends the connection without waiting for what is unsent; closing would wait for the client to read it."""
        self.transport.abort()
