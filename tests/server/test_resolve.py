"""Which model and settings an open request gets."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scumble.client.suits import suits
from scumble.diffusion.families.variants import hastened
from scumble.diffusion.samplers import SAMPLERS
from scumble.editing.adapters import Adapter
from scumble.home import Home
from scumble.models.store import ModelFile, ModelStore
from scumble.protocol.errors import BadRequest, ModelMissing
from scumble.protocol.frames import MAX_LISTS, decode, encode
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    PROTOCOL_VERSION,
    AdapterInfo,
    Control,
    Limits,
    LoraUse,
    ModelInfo,
    ModelList,
    Reference,
    Region,
    Welcome,
)
from scumble.server.resolve import DIFFUSION_MODES, complete, draw_seed, listed, modes

from tests.models.files import write_lora

from .harness import CONTROL, FILL, INPAINT, LORA, PLAIN, REFERENCE, edit

ALL = (FILL, PLAIN, INPAINT)
UPSCALER = ModelFile(ModelInfo("up-1", "Upscaler", "upscaler", "esrgan", False, 256, 5), Path("/up.safetensors"), None)


@pytest.mark.parametrize(
    ("mode", "prompt", "models", "chosen"),
    [
        ("remove", "", ALL, FILL),
        ("remove", "left over from before", ALL, FILL),
        ("fill", "", ALL, FILL),
        ("fill", "  ", ALL, FILL),
        ("outpaint", "", ALL, FILL),
        ("fill", "a cat", ALL, INPAINT),
        ("outpaint", "a wood", ALL, INPAINT),
        ("refine", "", ALL, PLAIN),
        ("img2img", "", ALL, PLAIN),
        ("txt2img", "a cat", ALL, PLAIN),
        ("fill", "", (PLAIN,), PLAIN),
        ("remove", "", (PLAIN, INPAINT), INPAINT),
        ("txt2img", "a cat", (INPAINT,), INPAINT),
        ("refine", "", (INPAINT, PLAIN), PLAIN),
        ("upscale", "", (*ALL, UPSCALER), UPSCALER),
        ("upscale", "a cat", (FILL, INPAINT, PLAIN, UPSCALER), PLAIN),
        ("upscale", "", ALL, PLAIN),
        ("upscale", "a cat", (FILL, UPSCALER), UPSCALER),
    ],
)
def test_choice_of_the_model(mode: str, prompt: str, models: tuple[ModelFile, ...], chosen: ModelFile) -> None:
    request, model = complete(edit(prompt, mode), models)
    assert model is chosen
    assert request.model == chosen.info.id


def test_a_named_model_is_taken() -> None:
    assert complete(edit("a cat", model="sd-1"), ALL)[1] is PLAIN
    assert complete(edit("", model="sd-1"), ALL)[1] is PLAIN
    assert complete(edit("", "remove", model="fill-1"), ALL)[1] is FILL


def test_an_upscaler_does_that_alone_and_needs_no_settings() -> None:
    request, _ = complete(edit("", "upscale"), (UPSCALER,))
    assert (request.steps, request.guidance, request.sampler) == (None, None, None)
    with pytest.raises(BadRequest):
        complete(edit("a cat", model="up-1"), (*ALL, UPSCALER))
    with pytest.raises(ModelMissing, match="upscaler"):
        complete(edit("", "upscale"), (FILL,))
    assert modes((FILL.info, UPSCALER.info)) == ("fill", "outpaint", "remove", "upscale")
    assert "upscale" in modes((PLAIN.info,))


def test_what_would_be_the_same_picture_is_made_once() -> None:
    for mode, models, count in (("upscale", (UPSCALER,), 1), ("fill", ALL, 1), ("remove", ALL, 1), ("img2img", ALL, 3)):
        assert complete(edit("", mode, count=3), models)[0].count == count


def test_regions_are_for_models_that_follow_a_prompt() -> None:
    region = (Region("a star", Bounds(0, 0, 4, 4)),)
    assert complete(replace(edit(""), regions=region), ALL)[1] is INPAINT
    with pytest.raises(BadRequest):
        complete(replace(edit("", model="fill-1"), regions=region), ALL)


@pytest.mark.parametrize("mode", ["refine", "img2img", "txt2img"])
def test_only_the_fill_model_cannot_do_this_mode(mode: str) -> None:
    with pytest.raises(ModelMissing, match="This needs a Stable Diffusion model") as missing:
        complete(edit("", mode), (FILL,))
    assert "scumble models add" in missing.value.hint


@pytest.mark.parametrize("mode", ["fill", "outpaint"])
def test_only_the_fill_model_cannot_follow_a_prompt(mode: str) -> None:
    with pytest.raises(ModelMissing, match="prompt") as missing:
        complete(edit("a cat", mode), (FILL,))
    assert "clear the prompt" in missing.value.hint


def test_no_model_at_all() -> None:
    with pytest.raises(ModelMissing, match="No model"):
        complete(edit(""), ())


def test_unknown_model() -> None:
    with pytest.raises(ModelMissing):
        complete(edit("", model="../../etc/passwd"), ALL)


@pytest.mark.parametrize(("mode", "prompt"), [("img2img", ""), ("txt2img", ""), ("refine", ""), ("fill", "a cat")])
def test_a_named_fill_model_that_cannot(mode: str, prompt: str) -> None:
    with pytest.raises(BadRequest):
        complete(edit(prompt, mode, model="fill-1"), ALL)


LARGE = Adapter(AdapterInfo("lora-2", "Oil", "lora", "sdxl", 1 << 20), Path("/nowhere/oil.safetensors"))
SILENT = Adapter(AdapterInfo("lora-3", "Chalk", "lora", "", 1 << 20), Path("/nowhere/chalk.safetensors"))
ADAPTERS = (LORA, LARGE, SILENT, CONTROL, REFERENCE)


def controlled(id: str) -> tuple[Control, ...]:
    return (Control(id, Bounds(0, 0, 4, 3)),)


def test_adapters_that_fit_are_taken() -> None:
    request = edit("a cat", loras=(LoraUse("lora-1"), LoraUse("lora-3")), controls=controlled("control-1"))
    completed, _ = complete(request, ALL, ADAPTERS)
    assert (completed.loras, completed.controls) == (request.loras, request.controls)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"loras": (LoraUse("gone"),)}, ModelMissing, "LoRA is not here"),
        ({"loras": (LoraUse("control-1"),)}, ModelMissing, "LoRA is not here"),
        ({"loras": (LoraUse("lora-2"),)}, BadRequest, "LoRA Oil is made for another kind of model"),
        ({"controls": controlled("gone")}, ModelMissing, "ControlNet is not here"),
        ({"controls": controlled("lora-1")}, ModelMissing, "ControlNet is not here"),
        ({"references": (Reference("lora-1", Size(1, 1)),)}, ModelMissing, "IP-Adapter is not here"),
    ],
)
def test_adapters_that_are_gone_or_do_not_fit_are_named(changes: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        complete(edit("a cat", **changes), ALL, ADAPTERS)


def test_a_control_asks_for_a_model_that_follows_it() -> None:
    assert complete(edit("", controls=controlled("control-1")), ALL, ADAPTERS)[1] is INPAINT
    with pytest.raises(BadRequest, match="no controls"):
        complete(edit("", model="fill-1", controls=controlled("control-1")), ALL, ADAPTERS)
    reference = (Reference("reference-1", Size(1, 1)),)
    assert complete(edit("", references=reference), ALL, ADAPTERS)[1] is INPAINT
    with pytest.raises(BadRequest, match="no references"):
        complete(edit("", model="fill-1", references=reference), ALL, ADAPTERS)
    # As with steps and guidance: what a panel says beside is no trouble.
    assert complete(edit("", "remove", loras=(LoraUse("gone"),)), ALL, ADAPTERS)[1] is FILL


@pytest.mark.parametrize(
    "told",
    [
        {"loras": (LoraUse("lora-1"),)},
        {"controls": controlled("control-1")},
        {"references": (Reference("reference-1", Size(1, 1)),)},
        {"regions": (Region("a star", Bounds(0, 0, 4, 4)),)},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_is_asked_for_counts_like_a_prompt(told: Any) -> None:
    """Neither is it refused, nor passed over without a word."""
    for mode, models, chosen in (
        ("fill", ALL, INPAINT),
        ("outpaint", ALL, INPAINT),
        ("upscale", (*ALL, UPSCALER), PLAIN),
        ("remove", ALL, FILL if "loras" in told else INPAINT),
    ):
        assert complete(edit("", mode, **told), models, ADAPTERS)[1] is chosen
    with pytest.raises(ModelMissing, match="controls, regions and references need") as missing:
        complete(edit("", **told), (FILL,), ADAPTERS)
    assert "take them off" in missing.value.hint


def test_a_lora_at_0_asks_for_nothing() -> None:
    off = (LoraUse("lora-1", 0.0),)
    assert complete(edit("", loras=off), ALL, ADAPTERS)[1] is FILL
    assert complete(edit("", "upscale", loras=off), (*ALL, UPSCALER), ADAPTERS)[1] is UPSCALER


def test_clients_are_told_of_as_many_adapters_as_fit() -> None:
    assert listed([], ADAPTERS).adapters == tuple(adapter.info for adapter in ADAPTERS)
    many = [replace(LORA, info=replace(LORA.info, name="x" * 800))] * 10_000
    told = listed([], many).adapters
    assert 3000 < len(told) < len(many)
    assert len(str(encode(ModelList((), told)))) < MAX_LISTS
    infos = (
        AdapterInfo(f"{number:016x}", f"Style of painting {number}", "lora", "sd1", 151 << 20)
        for number in range(20_000)
    )
    usual = [replace(LORA, info=info) for info in infos]
    assert len(listed([], usual).adapters) == len(usual)


def test_clients_are_told_of_as_many_models_as_fit() -> None:
    models = [replace(PLAIN, info=replace(PLAIN.info, id=f"{number:016x}")) for number in range(20_000)]
    many = [FILL, *models, UPSCALER]
    adapters = [replace(LORA, info=replace(LORA.info, name="x" * 800))] * 10_000
    told = listed(many, adapters)
    assert 8000 < len(told.models) < len(many)
    assert told.models == (FILL.info, *(model.info for model in models[: len(told.models) - 2]), UPSCALER.info)
    infos = told.models, SAMPLERS, DIFFUSION_MODES, told.adapters
    decode(encode(Welcome(PROTOCOL_VERSION, "1" * 20, "5" * 64, Limits(), *infos)), MAX_LISTS)


def test_unknown_sampler_names_the_known_ones() -> None:
    with pytest.raises(BadRequest) as error:
        complete(edit("a cat", sampler="plms"), ALL)
    assert all(name in error.value.hint for name in SAMPLERS)


def test_a_sampler_that_the_model_cannot_take_is_refused_at_once() -> None:
    flow = dataclasses.replace(PLAIN, info=dataclasses.replace(PLAIN.info, samplers=("euler",)))
    with pytest.raises(BadRequest) as error:
        complete(edit("a cat", sampler="euler_a", mode="img2img"), [flow])
    assert "euler" in error.value.hint
    assert complete(edit("a cat", sampler="euler", mode="img2img"), [flow])[1] == flow


def test_open_settings_come_from_the_model() -> None:
    request, _ = complete(edit("a cat"), ALL, new_seed=lambda: 99)
    assert (request.steps, request.guidance, request.sampler, request.seed) == (25, 6.0, "euler", 99)


def test_a_lora_of_few_steps_decides_about_open_settings() -> None:
    fast = replace(LORA, info=replace(LORA.info, id="fast", name="Hyper-SD15-8steps-lora"), alias="Quick")
    adapters = (LORA, fast)
    for asked in (
        edit("a cat", loras=(LoraUse("lora-1"), LoraUse("fast"))),
        edit("a cat <lora:Hyper-SD15-8steps-lora:0.8>", loras=(LoraUse("lora-1"),)),
        edit("a cat <lora:fast/quick:0.8>", loras=(LoraUse("lora-1"),)),
    ):
        request, _ = complete(asked, ALL, adapters)
        assert (request.steps, request.guidance, request.sampler) == (8, 1.0, "euler")
        request, _ = complete(replace(asked, steps=12, guidance=2.0, sampler="ddim"), ALL, adapters)
        assert (request.steps, request.guidance, request.sampler) == (12, 2.0, "ddim")
    for asked in (edit("a cat", loras=(LoraUse("fast", 0.0),)), edit("a cat", loras=(LoraUse("lora-1"),))):
        request, _ = complete(asked, ALL, adapters)
        assert (request.steps, request.guidance) == (25, 6.0)


def test_clients_are_told_what_a_lora_of_few_steps_brings(home: Home, tmp_path: Path) -> None:
    store, told = ModelStore(home), []
    names = ("Hyper-SD15-8steps-lora", "Hyper-SD15-12steps-CFG-lora", "LCM_LoRA_Weights_SD15", "Ink")
    for layers, name in enumerate(names, 1):
        added = store.add(write_lora(tmp_path / f"{name}.safetensors", layers=layers))
        assert isinstance(added, Adapter)
        use = LoraUse(added.info.id, 0.5)
        request, _ = complete(edit("a cat", model="sd-1", loras=(use,)), ALL, (added,))
        known = ModelStore(home).adapters()  # as it was written down
        told.append(suits(PLAIN.info, (use,), "", [each.info for each in known]))
        assert told[-1] == (request.steps, request.guidance, request.sampler)
    assert told == [(8, 1.0, "euler"), (12, 7.0, "euler"), (4, 1.0, "lcm"), (20, 7.0, "dpmpp_2m_karras")]


def test_clients_and_backend_agree_which_lora_of_few_steps_counts() -> None:
    name, models = "Hyper-SD-8steps-lora", ("sd1", "sdxl", "z_image")
    for made_for in ("", *models):
        hasty = hastened(name, 1.0, 0.0, made_for)
        brings = (hasty.steps, hasty.guidance, hasty.sampler) if hasty else ()
        info = AdapterInfo("fast", name, "lora", made_for, 1, "", *brings)
        for family in models:
            model, uses = replace(PLAIN, info=replace(PLAIN.info, family=family)), (LoraUse("fast"),)
            own = (model.info.steps, model.info.guidance, model.info.sampler)
            told = suits(model.info, uses, "", [info])
            asked = edit("a cat", model="sd-1", loras=uses)
            named = f"a cat <lora:{name}:1>"
            if made_for in ("", family):
                request, _ = complete(edit(named, model="sd-1"), [model], [Adapter(info, Path("/fast"))])
                assert suits(model.info, (), named, [info]) == (request.steps, request.guidance, request.sampler)
            if made_for not in ("", family):
                with pytest.raises(BadRequest, match="another kind of model"):
                    complete(asked, [model], [Adapter(info, Path("/fast"))])
                assert told == own, (made_for, family)
            else:
                request, _ = complete(asked, [model], [Adapter(info, Path("/fast"))])
                assert told == (request.steps, request.guidance, request.sampler), (made_for, family)


def test_chosen_settings_stay() -> None:
    chosen: dict[str, Any] = {"steps": 3, "guidance": 1.0, "sampler": "lcm", "seed": 0, "model": "sd-1"}
    asked = edit("a cat", **chosen)
    assert complete(asked, ALL)[0] == asked


@pytest.mark.parametrize("mode", ["fill", "refine", "img2img", "outpaint", "upscale"])
def test_a_strength_of_0_paints_nothing_and_says_so(mode: str) -> None:
    with pytest.raises(BadRequest, match="nothing changes"):
        complete(edit("a cat", mode, strength=0.0), ALL)
    complete(edit("a cat", mode, strength=0.01), ALL)
    # These do not ask for it.
    complete(edit("a cat", "txt2img", strength=0.0), ALL)
    complete(edit("", "upscale", strength=0.0), (*ALL, UPSCALER))
    complete(edit("", "remove", strength=0.0), ALL)


def test_completing_twice_changes_nothing() -> None:
    once, _ = complete(edit(""), ALL)
    assert complete(once, ALL)[0] == once


def test_seeds_differ_and_leave_room_for_more_images() -> None:
    """Also in the fields of GIMP's dialogs, which hold 31 bits."""
    seeds = [draw_seed() for _ in range(200)]
    assert len(set(seeds)) > 190
    assert 0 <= min(seeds) <= max(seeds) <= 2**31 - 1 - 63


def test_modes_of_what_is_installed() -> None:
    assert modes(()) == ()
    assert set(modes((FILL.info,))) == {"fill", "outpaint", "remove"}
    everything = {"fill", "refine", "img2img", "txt2img", "outpaint", "remove", "upscale"}
    assert set(modes([model.info for model in ALL])) == everything


def test_the_model_is_chosen_among_those_that_fit_what_is_named() -> None:
    def other(family: str, **changes: Any) -> ModelFile:
        return replace(PLAIN, info=dataclasses.replace(PLAIN.info, id=family, family=family, **changes))

    large, flow = other("sdxl"), other("flux2", samplers=("euler",))
    adapters = (
        LORA, CONTROL, REFERENCE,
        *(Adapter(dataclasses.replace(each.info, id=f"{each.info.id} large", family="sdxl"), each.path)
          for each in (LORA, CONTROL, REFERENCE)),
    )  # fmt: skip
    models = [FILL, flow, PLAIN, large]

    def chosen(prompt: str = "a cat", **settings: Any) -> str:
        return complete(edit(prompt, mode="txt2img", **settings), models, adapters)[1].info.id

    assert chosen() == "flux2"
    assert chosen(sampler="euler_a") == "sd-1"
    whole = Bounds(0, 0, 1, 1)
    for use, large_use in (
        ({"loras": (LoraUse("lora-1", 1.0),)}, {"loras": (LoraUse("lora-1 large", 1.0),)}),
        ({"controls": (Control("control-1", whole),)}, {"controls": (Control("control-1 large", whole),)}),
        ({"references": (Reference("reference-1", Size(1, 1)),)},
         {"references": (Reference("reference-1 large", Size(1, 1)),)}),
    ):  # fmt: skip
        assert (chosen(**use), chosen(**large_use)) == ("sd-1", "sdxl")
    assert chosen("a cat <lora:ink:1>") == "sd-1", "the first that one of that name is made for"
    with pytest.raises(BadRequest, match="made for another"):  # there is none that fits both
        chosen(loras=(LoraUse("lora-1", 1.0), LoraUse("lora-1 large", 1.0)))


def test_a_guidance_of_0_is_a_choice() -> None:
    request, _ = complete(edit("a cat", guidance=0.0), (PLAIN,))
    assert request.guidance == 0.0
