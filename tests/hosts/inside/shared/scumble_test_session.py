"""TEST ONLY, runs inside the hosts: executes the Python that a test sends and answers with what it left in `result`."""

from __future__ import annotations

import base64
import json
import time
import traceback


class Session:
    """One namespace that lasts as long as the host.

    A request is a line of JSON, {"code": text, "values": {name: value}}; the answer is {"result": value} or
    {"error": traceback}. Bytes travel both ways as {"bytes in base64": text}.
    """

    def __init__(self, namespace):
        self.namespace = namespace

    def answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line, object_hook=_to_bytes)
            self.namespace.update(request["values"], result=None)
            exec(compile(request["code"], "<test>", "exec"), self.namespace)
            answer = json.dumps({"result": self.namespace["result"]}, default=_from_bytes)
        except BaseException:  # also SystemExit and KeyboardInterrupt: the test shall see them, the host shall not
            answer = json.dumps({"error": traceback.format_exc()})
        return answer.encode() + b"\n"


class Stalls:
    """The event loop's longest gap: `tick` is to be called every 10 ms by a timer of that loop."""

    def __init__(self):
        self.longest = 0.0
        self.last = None

    def start(self):
        self.longest, self.last = 0.0, time.perf_counter()

    def tick(self):
        if self.last is not None:
            now = time.perf_counter()
            self.longest, self.last = max(self.longest, now - self.last), now

    def stop(self) -> float:
        """Milliseconds."""
        self.tick()
        self.last = None
        return self.longest * 1000


def _to_bytes(value):
    return base64.b64decode(value["bytes in base64"]) if set(value) == {"bytes in base64"} else value


def _from_bytes(value):
    try:
        return {"bytes in base64": base64.b64encode(bytes(memoryview(value))).decode()}
    except TypeError:
        data = getattr(value, "data", None)  # QByteArray
        if not callable(data):
            raise TypeError(f"{type(value).__name__} cannot be sent to the test") from None
        return {"bytes in base64": base64.b64encode(data()).decode()}
