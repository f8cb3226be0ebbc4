"""`python -m tests.cli.backend`: a real server in its own process, with a fake engine behind it (tests/fakes)."""

from __future__ import annotations

import sys

from scumble.home import find_home
from scumble.server import serve as serving
from scumble.server.executor import LocalExecutor

from tests.fakes.engines import ENGINES
from tests.server.harness import CONTROL, EMBEDDING, FILL, LORA, PLAIN, REFERENCE, FixedModels


def main() -> int:
    models = FixedModels(FILL, PLAIN, adapters=(LORA, CONTROL, EMBEDDING, REFERENCE))
    serving.ModelStore = lambda home: models  # type: ignore[assignment, misc]
    return serving.serve(find_home(), port=0, executor=lambda: LocalExecutor(ENGINES))


if __name__ == "__main__":
    sys.exit(main())
