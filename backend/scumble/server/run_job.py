"""The product in three lines."""

from __future__ import annotations

from ..editing.compositor import CompositedLayer, composite
from ..editing.plan import Engine, Report, Source
from ..editing.planner import plan_edit
from ..protocol.geometry import Bounds
from ..protocol.messages import EditRequest


def run_job(
    request: EditRequest, source: Source, engine: Engine, report: Report, thrifty: bool = False
) -> tuple[Bounds, list[CompositedLayer]]:
    """The crop that the model saw (canvas px) and the layers to return.

    Raises BadRequest (nothing is selected, ...), OutOfMemory, Cancelled.
    """
    report("planning")
    plan = plan_edit(request, source, engine.traits)
    report("encoding")
    images = engine.generate(plan, report, thrifty)
    report("compositing")
    layers = composite(plan, images)
    return plan.crop, layers
