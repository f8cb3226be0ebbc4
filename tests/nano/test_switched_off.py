"""Each feature that the table of the README names is taken away, and its own test has to fail.

A test that passes all the same would prove nothing. What is taken away is as little as can be: the rest of Scumble works.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scumble.diffusion import engine, picture, samplers, wildcards
from scumble.diffusion.adapters import Loras
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import clip
from scumble.diffusion.picture import Pictures
from scumble.diffusion.prompts import Fragment, Prompt, parse
from scumble.diffusion.upscaler import UpscaleEngine
from scumble.editing import compositor, passes, planner
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels, Plan
from scumble.home import Home
from scumble.protocol.geometry import Size

from . import (
    test_adapters,
    test_control,
    test_edits,
    test_inpaint,
    test_intents,
    test_prompts,
    test_references,
    test_regions,
    test_samplers,
    test_transparent,
    test_upscale,
)
from .painting import MODELS, load

pytestmark = pytest.mark.slow
Off = Callable[[pytest.MonkeyPatch], None]


def instead(owner: Any, name: str, value: Any) -> Off:
    return lambda patch: patch.setattr(owner, name, value)


def texts(positive: str | None = None, negative: str | None = None) -> Off:
    """The request's prompts, with one of them replaced."""
    given = picture.texts_of

    def texts_of(*arguments: Any) -> list[tuple[str, str]]:
        (one, its), (other, others), *regions = given(*arguments)
        return [
            (one if positive is None else positive, its),
            (other if negative is None else negative, others),
            *regions,
        ]

    return instead(picture, "texts_of", texts_of)


def read_as(change: Callable[[Prompt], Prompt]) -> Off:
    return instead(engine, "parse", lambda text: change(parse(text)))


def without_weights(prompt: Prompt) -> Prompt:
    sections = (tuple(replace(each, weight=1.0) for each in section) for section in prompt.sections)
    return replace(prompt, sections=tuple(sections))


def together(*offs: Off) -> Off:
    def off(patch: pytest.MonkeyPatch) -> None:
        for each in offs:
            each(patch)

    return off


def steps(executed: Callable[[int], int]) -> Off:
    """As many of all steps, whatever the strength is."""

    def count(steps: int, strength: float) -> tuple[int, int]:
        return executed(steps), steps

    return together(instead(picture, "divided", count), instead(samplers, "divided", count))


def in_windows_only(patch: pytest.MonkeyPatch) -> None:
    generate = DiffusionEngine.generate

    def without_a_first_pass(self: DiffusionEngine, plan: Plan, *arguments: Any) -> Any:
        second = plan.refinement
        assert second is not None
        large = replace(
            plan, size=second.size, work_image=second.image, work_mask=second.mask, tiles=second.tiles, refinement=None
        )
        return generate(self, large, *arguments)

    patch.setattr(DiffusionEngine, "generate", without_a_first_pass)


def without_clip_skip(patch: pytest.MonkeyPatch) -> None:
    encode = DiffusionEngine.encode_prompts
    patch.setattr(
        DiffusionEngine, "encode_prompts", lambda self, prompts, skip, adapters: encode(self, prompts, 1, adapters)
    )


def loras(change: Callable[[list[tuple[Adapter, float]]], list[tuple[Adapter, float]]]) -> Off:
    """What becomes of those that are wanted, and their weights."""
    use = Loras.use
    return instead(Loras, "use", lambda self, wanted, text: use(self, change(wanted), change(text)))


def keeping_loras(patch: pytest.MonkeyPatch) -> None:
    """Those that are put on first stay on, whatever is wanted afterwards."""
    use = Loras.use
    patch.setattr(Loras, "use", lambda self, *wanted: None if self.active else use(self, *wanted))


def never_without_loras(patch: pytest.MonkeyPatch) -> None:
    use = Loras.use
    patch.setattr(Loras, "use", lambda self, *wanted: use(self, *wanted) if any(wanted) else None)


def loading_the_model(patch: pytest.MonkeyPatch) -> None:
    """Each time that LoRAs are switched."""
    use = Loras.use

    def reload(self: Loras, *wanted: Any) -> None:
        use(self, *wanted)
        for layer in self._layers.values():
            layer.weight.data = layer.weight.data.clone()

    patch.setattr(Loras, "use", reload)


def with_another_prediction(patch: pytest.MonkeyPatch) -> None:
    make = samplers.make_scheduler
    patch.setattr(samplers, "make_scheduler", lambda name, config: make(name, {**config, "prediction_type": "epsilon"}))


def interpolated(image: Pixels, size: Size) -> Any:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32)


first_chunk = instead(clip, "chunked", lambda *arguments, chunked=clip.chunked: chunked(*arguments)[:1])
first_part = read_as(lambda prompt: replace(prompt, sections=prompt.sections[:1]))
as_it_stands = instead(engine, "parse", lambda text: Prompt(((Fragment(text),),)))
nothing_is_painted = steps(lambda steps: 1)
strength_is_ignored = steps(lambda steps: steps)
always_told = instead(Pictures, "_tells_surroundings", lambda self, work: True)
told_nothing = instead(
    picture,
    "inpaint_condition",
    lambda image, mask, condition=picture.inpaint_condition: condition(image, np.full_like(mask, 255)),
)
without_references = instead(DiffusionEngine, "use_references", lambda *_: nullcontext([]))
without_surroundings = together(
    instead(Pictures, "_held", lambda self, work, noise: None),
    instead(compositor, "match_colours", lambda painted, *_: painted),
    instead(compositor, "fit_seam", lambda painted, *_: painted),
)


def case(feature: str, off: Off, test: Callable[..., None], **given: Any) -> Any:
    return pytest.param(off, test, given, id=feature)


CASES = (
    case("prompt", texts(""), test_prompts.test_colour_and_background_are_those_of_the_prompt, colour="blue"),
    case("prompt: shapes, places", texts(""), test_prompts.test_shapes_and_places_are_those_of_the_prompt),
    case("prompt: two objects", texts(""), test_prompts.test_two_objects_keep_their_colours_apart),
    case(
        "BREAK",
        first_part,
        test_prompts.test_tags_and_parts_say_what_sentences_say,
        text="blue heart\nBREAK\na brick wall",
    ),
    case(
        "more than 75 tokens",
        first_chunk,
        test_prompts.test_what_stands_behind_75_tokens_counts,
        text=f"blue heart, {'and ' * 80}, brick wall",
    ),
    case("weights", read_as(without_weights), test_prompts.test_a_weight_gives_a_colour_more_or_less_of_the_picture),
    case("brackets", as_it_stands, test_prompts.test_brackets_are_weights),
    case(
        "negative prompt",
        texts(negative=""),
        test_prompts.test_a_negative_prompt_takes_away_the_colour_that_it_names,
        negative="a {colour} circle",
        gone=(6, 8),
    ),
    case(
        "wildcards", instead(engine, "draw", lambda text, *_: text), test_prompts.test_wildcards_are_drawn_by_the_seed
    ),
    case(
        "comments",
        together(instead(wildcards, "without_comments", str), as_it_stands),
        test_prompts.test_comments_are_not_read,
    ),
    case(
        "textual inversion",
        instead(engine, "find_embeddings", lambda *_: ()),
        test_prompts.test_a_textual_inversion_means_what_it_was_trained_to_mean,
    ),
    case(
        "fill",
        texts(""),
        test_edits.test_a_blue_star_appears_in_the_selection_of_a_photograph_and_only_there,
        side=128,
        selected=64,
    ),
    case(
        "fill: painted",
        nothing_is_painted,
        test_edits.test_a_blue_star_appears_in_the_selection_of_a_photograph_and_only_there,
        side=900,
        selected=520,
    ),
    case(
        "fill: enlarged",
        instead(planner, "MOST_ZOOM", 1.0),
        test_edits.test_a_small_selection_is_enlarged_for_the_model,
    ),
    case(
        "inpaint weights: prompt",
        texts(""),
        test_inpaint.test_what_the_prompt_says_appears_in_the_hole_and_nothing_changes_outside,
    ),
    case(
        "inpaint weights: takes away",
        nothing_is_painted,
        test_inpaint.test_an_object_is_gone_where_the_prompt_says_its_background,
    ),
    case("inpaint weights: surroundings", told_nothing, test_inpaint.test_it_sees_what_surrounds_the_hole),
    case("strength thresholds", always_told, test_inpaint.test_at_a_low_strength_inpaint_weights_keep_what_is_there),
    case("refine: 30 %", strength_is_ignored, test_edits.test_refining_a_little_keeps_the_composition),
    case("refine: 90 %", nothing_is_painted, test_edits.test_refining_much_takes_up_the_prompt),
    case(
        "outpaint: colours",
        without_surroundings,
        test_edits.test_an_outpainted_background_goes_on_across_the_edge,
        background="sunset",
    ),
    case("outpaint: painted", nothing_is_painted, test_edits.test_what_is_outpainted_is_painted),
    case("outpaint: prompt", texts(""), test_edits.test_outpainting_follows_the_prompt),
    case(
        "add",
        instead(planner, "choose_prefill", lambda request: "blur"),
        test_intents.test_what_is_added_wins_against_its_surroundings,
    ),
    case(
        "regions",
        instead(picture, "prompt_masks", lambda regions, size, masks=picture.prompt_masks: masks((), size)),
        test_regions.test_each_half_shows_what_its_region_says,
        left="red",
        right="blue",
    ),
    case("regions: the rest", texts(""), test_regions.test_the_rest_of_the_picture_is_the_prompts),
    case("two passes: first", in_windows_only, test_regions.test_twice_the_models_side_is_one_composition_and_not_four),
    case(
        "two passes: second", instead(passes, "REFINE_STRENGTH", 0.001), test_regions.test_the_second_pass_adds_detail
    ),
    case("upscale", nothing_is_painted, test_upscale.test_upscaling_paints_detail_and_keeps_what_is_there),
    case(
        "upscale: network",
        instead(UpscaleEngine, "_run", lambda self, image, size: interpolated(image, size)),
        test_upscale.test_a_network_enlarges_better_than_interpolation,
    ),
    case(
        "transparent",
        instead(compositor, "_cut_out", lambda *_: None),
        test_transparent.test_an_object_stands_alone,
        colour="blue",
        words="",
    ),
    case("samplers", with_another_prediction, test_samplers.test_a_sampler_makes_what_the_prompt_says, sampler="euler"),
    case(
        "control",
        instead(DiffusionEngine, "guides", lambda *_: []),
        test_control.test_the_shape_follows_the_edges_and_the_colour_the_prompt,
    ),
    case(
        "references: colour",
        without_references,
        test_references.test_the_colour_that_the_prompt_does_not_say_is_that_of_the_reference,
    ),
    case(
        "references: shape",
        without_references,
        test_references.test_the_shape_that_the_prompt_does_not_say_is_that_of_the_reference,
    ),
    case(
        "clip skip", without_clip_skip, test_prompts.test_with_clip_skip_the_picture_is_another_one_of_the_same_prompt
    ),
    case(
        "LoRA",
        instead(DiffusionEngine, "use_loras", lambda *_: None),
        test_adapters.test_a_style_lora_changes_the_style_as_much_as_it_weighs_and_leaves_no_trace,
    ),
    case(
        "LoRA: written in another way",
        instead(DiffusionEngine, "use_loras", lambda *_: None),
        test_adapters.test_a_style_shows_in_whichever_way_it_is_written,
        written=test_adapters.as_lokr,
    ),
    case(
        "LoRA: from the prompt",
        instead(DiffusionEngine, "use_loras", lambda *_: None),
        test_adapters.test_a_prompt_names_loras,
    ),
    case(
        "LoRA: several at once",
        loras(lambda wanted: wanted[:1]),
        test_adapters.test_a_lora_shows_its_own_style_and_two_at_once_show_both,
    ),
    case(
        "LoRA: weights of their own",
        loras(lambda wanted: [(adapter, wanted[0][1]) for adapter, _ in wanted]),
        test_adapters.test_each_of_two_loras_counts_as_much_as_it_weighs,
    ),
    case("LoRA: switched", keeping_loras, test_adapters.test_loras_are_switched_without_loading_the_model),
    case("LoRA: taken off", never_without_loras, test_adapters.test_loras_are_switched_without_loading_the_model),
    case("LoRA: not loading", loading_the_model, test_adapters.test_loras_are_switched_without_loading_the_model),
)


@pytest.fixture
def nano(nano_home: Home) -> DiffusionEngine:
    """A fresh one: nothing that is remembered goes over to tests in which all works."""
    return load(MODELS / "nano-sd", nano_home)


@pytest.fixture
def nano_inpaint(nano_home: Home) -> DiffusionEngine:
    return load(MODELS / "nano-sd-inpaint", nano_home)


@pytest.mark.parametrize(("off", "test", "given"), CASES)
def test_fails_without(
    off: Off, test: Callable[..., None], given: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    names = {name: "nano" if name == "model" else name for name in inspect.signature(test).parameters}
    fixtures = {name: request.getfixturevalue(fixture) for name, fixture in names.items() if name not in given}
    with pytest.MonkeyPatch.context() as patch:
        off(patch)
        with pytest.raises(AssertionError) as failure:
            test(**fixtures, **given)
    assert str(failure.traceback[-1].path) == inspect.getfile(test)  # it is the test that fails, not Scumble
