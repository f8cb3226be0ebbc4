"""The plug-in's parts that need no GIMP are imported from the checkout."""

from __future__ import annotations

import sys

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "gimp_plugin"))
