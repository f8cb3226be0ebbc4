"""What the model that is chosen says: pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args


def rows() -> dict[str, Any]:
    from scumble_krita.added import ControlRow, LoraRow, ReferenceRow, RegionRow

    return {
        "loras": (LoraRow("l"),),
        "controls": (ControlRow("c"),),
        "references": (ReferenceRow("r"),),
        "regions": (RegionRow("a star", "{7}"),),
    }


def test_which_samplers_a_model_leaves_to_choose(flow: Any, able: Any) -> None:
    from scumble_krita.models import samplers_of

    known = ("euler", "euler_a", "lcm")
    assert samplers_of(None, known) == known
    assert samplers_of(flow, known) == ("euler",)
    assert samplers_of(able, known) == able.samplers


def test_what_is_automatic_says_what_it_will_be() -> None:
    from scumble_krita.words import automatic

    said = [automatic(value) for value in (20, 7.0, 4.5, "dpmpp_2m_karras", 0, 0.0, "")]
    assert said == [
        "Automatic (20)", "Automatic (7)", "Automatic (4.5)", "Automatic (DPM++ 2M Karras)", *["Automatic"] * 3,
    ]  # fmt: skip


def test_what_will_be_chosen_is_said_of_the_edit_as_the_model_takes_it(flow: Any, able: Any) -> None:
    from scumble_krita.added import LoraRow
    from scumble_krita.form import Form
    from scumble_krita.lib.scumble.protocol.messages import AdapterInfo
    from scumble_krita.models import settings_of

    hasty = (AdapterInfo("l", "Hyper-SD15-8steps", "lora", "sd1", 1, "", 8, 1.0, "euler_a"),)
    with_lora = Form(loras=(LoraRow(), LoraRow("l")))
    assert settings_of(able, with_lora, hasty) == (8, 1.0, "euler_a")
    assert settings_of(flow, with_lora, hasty) == (4, 1.0, "euler")  # to which it is not sent
    assert settings_of(able, Form(prompt="a cat <lora:Hyper-SD15-8steps:1>"), hasty) == (8, 1.0, "euler_a")
    assert settings_of(able, Form(prompt="a cat <lora:another:1>"), hasty) == (0, 0.0, "")
    assert settings_of(None, with_lora, hasty) == (0, 0.0, "")


def test_every_capability_with_a_field_has_words_for_a_model_without() -> None:
    from scumble_krita.lib.scumble.protocol.messages import Capability
    from scumble_krita.words import TAKES

    assert {*TAKES, "weights"} == set(get_args(Capability))


def test_what_a_model_does_not_take_is_refused_with_a_reason(flow: Any, able: Any) -> None:
    from scumble_krita.models import refusals

    assert refusals(None) == refusals(able) == {}
    assert set(refusals(flow)) == {"clip_skip", "embeddings", "loras", "controls", "references"}
    assert refusals(replace(able, kind="fill")) == {
        "count": "This model makes one image: nothing is left to chance in it."
    }
    assert refusals(flow)["loras"] == "This model takes no LoRAs."


def test_adapters_fit_a_model_of_their_family_or_tell_none(flow: Any, able: Any) -> None:
    from scumble_krita.lib.scumble.protocol.messages import AdapterInfo
    from scumble_krita.models import fits

    adapters = [AdapterInfo("a", "A", "lora", family, 1) for family in ("sd1", "sdxl", "")]
    assert [fits(each, None) for each in adapters] == [True, True, True]
    assert [fits(each, able) for each in adapters] == [True, False, True]
    assert [fits(each, flow) for each in adapters] == [False, False, True]


def test_a_model_is_sent_only_what_it_takes(flow: Any, able: Any) -> None:
    from scumble_krita.form import Form
    from scumble_krita.models import sendable

    form = Form(prompt="a cat", negative="fog", sampler="euler_a", steps=30, clip_skip=2, transparent=True, **rows())
    assert sendable(form, None) == sendable(form, able) == form
    assert sendable(form, flow) == Form(
        prompt="a cat", negative="fog", steps=30, transparent=True, regions=rows()["regions"]
    )
    assert sendable(Form(count=4), replace(able, kind="fill")) == Form()
    assert sendable(Form(sampler="euler"), flow).sampler == "euler"
