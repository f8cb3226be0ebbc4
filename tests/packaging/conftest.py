"""The scripts in packaging/ import each other by their bare names; so do their tests."""

from __future__ import annotations

import sys

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "packaging"))
