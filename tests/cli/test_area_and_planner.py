"""What the client sends is what the backend's planner looks at: two pieces of code that must not drift apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scumble.client.area import bounds_to_send
from scumble.editing.plan import Traits
from scumble.editing.planner import at_resolution, choose_crop
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

sides = st.integers(1, 9000)


@st.composite
def selections(draw: st.DrawFn) -> tuple[Bounds, Size]:
    canvas = Size(draw(sides), draw(sides))
    x, y = draw(st.integers(0, canvas.width - 1)), draw(st.integers(0, canvas.height - 1))
    inside = Bounds(x, y, draw(st.integers(1, canvas.width - x)), draw(st.integers(1, canvas.height - y)))
    beyond = Bounds(canvas.width, 0, draw(st.integers(1, 3000)), canvas.height)
    return draw(st.sampled_from([inside, beyond])), canvas


traits = st.builds(
    lambda native, multiple, factor, prompt: Traits(native, multiple, native * native * factor, prompt, native // 2),
    st.sampled_from([512, 768, 1024]),
    st.sampled_from([8, 16, 64]),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
)


@given(
    selections(),
    traits,
    st.sampled_from([0, 40]),
    st.sampled_from([None, 0, 100, 3000]),
    st.sampled_from([None, 200, 1500]),
)
def test_the_model_sees_the_same_as_if_the_whole_document_had_been_sent(
    selection: tuple[Bounds, Size], traits: Traits, grow: int, context: int | None, resolution: int | None
) -> None:
    mask, canvas = selection
    frame = Bounds.of_size(canvas)
    sent = bounds_to_send(mask, canvas, grow, context or 0, resolution or 0)
    selected = mask.pad(grow).intersect(frame.union(mask))
    traits = at_resolution(traits, resolution)
    crops = [
        choose_crop(EditRequest("fill", canvas, image, mask, grow=grow, context=context), selected, traits)
        for image in (sent, frame)
    ]
    assert crops[0] == crops[1]
