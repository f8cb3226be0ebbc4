"""The test's end of the line to the code that runs inside a host (tests/hosts/inside)."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class HostProblem(Exception):
    """The host ended, hung or raised: in its own words where it has any."""


def wait_for(condition: Callable[[], T | None], seconds: float, what: str, every: float = 0.03) -> T:
    """The condition's value as soon as it is true. Raises HostProblem when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise HostProblem(f"Waited {seconds:g} s in vain for {what}.")
        time.sleep(every)


class Driver:
    """Runs Python in the process that wrote its port to `port_file`."""

    def __init__(self, port_file: Path):
        self._socket = socket.create_connection(("127.0.0.1", int(port_file.read_text())), timeout=30)
        self._lines = self._socket.makefile("rb")

    def run(self, code: str, timeout: float = 60, **values: Any) -> Any:
        """Executes `code` in the host's GUI thread and returns what it assigns to `result` (JSON or bytes). All names
        last until the host ends; `values` (JSON or bytes) become names first.

        Raises HostProblem with the host's traceback, or where no answer comes in `timeout` seconds.
        """
        request = {"code": code, "values": values}
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(json.dumps(request, default=_from_bytes).encode() + b"\n")
            line = self._lines.readline()
        except TimeoutError as error:
            raise HostProblem(f"No answer from the host in {timeout:g} s to:\n{code}") from error
        except ConnectionError as error:
            raise HostProblem(f"The host ended while it ran:\n{code}") from error
        if not line:
            raise HostProblem(f"The host ended while it ran:\n{code}")
        answer = json.loads(line, object_hook=_to_bytes)
        if "error" in answer:
            raise HostProblem(f"In the host:\n{answer['error']}")
        return answer["result"]

    def get(self, expression: str, timeout: float = 60, **values: Any) -> Any:
        """The value of a Python expression in the host."""
        return self.run(f"result = {expression}", timeout, **values)

    def wait_until(self, expression: str, seconds: float = 30, every: float = 0.05) -> Any:
        """Waits until the Python expression is true in the host, and returns its value."""
        return wait_for(lambda: self.get(expression), seconds, expression, every)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Stalls:
    """milliseconds: the event loop's longest gap, once the measurement has ended."""

    milliseconds: float


def _to_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["bytes in base64"]) if set(value) == {"bytes in base64"} else value


def _from_bytes(value: Any) -> dict[str, str]:
    return {"bytes in base64": base64.b64encode(memoryview(value).cast("B")).decode()}
