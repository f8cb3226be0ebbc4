"""LoRAs: what files say, what they do to a model, and that nothing of them stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from scumble.diffusion.adapters import Loras
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.families.sdxl import SDXL
from scumble.diffusion.lora import read_lora
from scumble.diffusion.lora_changes import Branch
from scumble.diffusion.prompts import parse
from scumble.diffusion.samplers import make_schedule
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.protocol.errors import BadRequest, ModelMissing, ModelUnreadable
from scumble.protocol.messages import LoraUse
from torch import Tensor, nn

from .test_engine import Log, plan
from .tiny import make_sd1_folder, make_sdxl_folder
from .tiny_adapters import RANK, Layout, lora_tensors, write_adapter

SLOW = pytest.mark.slow
CPU = Device("cpu", torch.float32, channels_last=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd1_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def engine(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DiffusionEngine:
    return DiffusionEngine(SD1.load(folder, identify(read_contents(folder)), CPU, tmp_path_factory.mktemp("c")), SD1)


@pytest.fixture(scope="module")
def parts(engine: DiffusionEngine) -> Mapping[str, nn.Module]:
    return engine.model.parts


@pytest.fixture
def loras(parts: Mapping[str, nn.Module]) -> Any:
    """On a model that other tests use too: taken off at the end."""
    loras = Loras(parts)
    yield loras
    loras.use([])


@pytest.fixture
def style(parts: Mapping[str, nn.Module], tmp_path: Path) -> Adapter:
    return write_adapter(tmp_path / "Style.safetensors", lora_tensors(parts))


def answer(parts: Mapping[str, nn.Module]) -> Tensor:
    """What UNet and text encoder make of fixed inputs, in one row of numbers."""
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 512, (1, 77), generator=random)
    latents = torch.randn(1, 4, 8, 8, generator=random)
    with torch.inference_mode():
        states = parts["text_encoder"](ids, position_ids=torch.arange(77)[None]).last_hidden_state
        predicted = parts["unet"](latents, torch.tensor(500), encoder_hidden_states=states).sample
    return torch.cat([states.flatten(), predicted.flatten()])


def paint(engine: DiffusionEngine, adapters: tuple[Adapter, ...] = (), **settings: Any) -> Pixels:
    made = replace(plan(**settings), adapters=adapters)
    return engine.generate(made, Log())[0]


# ---- the same numbers as diffusers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "alpha", "convolutions"),
    [
        ("kohya", 1.0, False),
        pytest.param("kohya", None, False, marks=SLOW),
        pytest.param("kohya", 2.0, True, marks=SLOW),
        ("diffusers", None, False),
        ("early", None, False),
    ],
)
def test_a_lora_does_what_diffusers_does_with_it(
    layout: Layout,
    alpha: float | None,
    convolutions: bool,
    loras: Loras,
    parts: Mapping[str, nn.Module],
    folder: Path,
    tmp_path: Path,
) -> None:
    adapter = write_adapter(tmp_path / "a.safetensors", lora_tensors(parts, layout, alpha, convolutions))
    before = answer(parts)
    loras.use([(adapter, 0.7)])
    ours = answer(parts)
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    theirs_before = answer({"unet": pipe.unet, "text_encoder": pipe.text_encoder})
    torch.testing.assert_close(before, theirs_before)
    pipe.load_lora_weights(str(adapter.path), adapter_name="a")
    pipe.set_adapters("a", 0.7)
    theirs = answer({"unet": pipe.unet, "text_encoder": pipe.text_encoder})
    assert (theirs - theirs_before).abs().max() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@SLOW
@pytest.mark.parametrize("layout", ["original", "kohya", "diffusers"])
def test_a_lora_of_sdxl_does_what_diffusers_does_with_it(layout: Layout, tmp_path: Path) -> None:
    """With both text encoders; kohya's scripts write the UNet's blocks under their original names."""
    folder = make_sdxl_folder(tmp_path / "tiny")
    engine = DiffusionEngine(SDXL.load(folder, identify(read_contents(folder)), CPU, tmp_path / "cache"), SDXL)
    alpha = None if layout == "diffusers" else 2.0
    tensors = lora_tensors(engine.model.parts, layout, alpha)
    assert any("te2" in key or "text_encoder_2" in key for key in tensors)
    adapter = write_adapter(tmp_path / "a.safetensors", tensors)
    engine.use_loras(replace(plan(), adapters=(adapter,)), parse("a boat<lora:a:0.7>"))
    ours = engine.model.encode_prompt(parse("a boat"))
    latents, timestep = torch.ones(1, 4, 8, 8), torch.tensor(500)
    pipe = StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.load_lora_weights(str(adapter.path), adapter_name="a")
    pipe.set_adapters("a", 0.7)
    tokens, _, pooled, _ = pipe.encode_prompt("a boat", do_classifier_free_guidance=False)
    torch.testing.assert_close(ours.tokens, tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.pooled, pooled, rtol=1e-4, atol=1e-4)
    theirs = pipe.unet(latents, timestep, **engine.model.told(latents, ours)).sample
    torch.testing.assert_close(engine.model.predict(latents, timestep, ours), theirs, rtol=1e-4, atol=1e-4)
    engine.use_loras(plan(), parse("a boat"))
    without = engine.model.predict(latents, timestep, ours)
    assert (without - theirs).abs().max() > 0.01


def test_every_layout_holds_the_same_lora(loras: Loras, parts: Mapping[str, nn.Module], tmp_path: Path) -> None:
    unet = {"unet": parts["unet"]}
    answers = [answer(parts)]
    for layout in ("kohya", "original", "diffusers", "early", "peft"):
        tensors = lora_tensors(unet, layout, convolutions=True)
        loras.use([(write_adapter(tmp_path / f"{layout}.safetensors", tensors), 1.0)])
        answers.append(answer(parts))
    alone = {key.replace("lora_unet_", "lycoris_"): t for key, t in lora_tensors(unet, convolutions=True).items()}
    loras.use([(write_adapter(tmp_path / "lycoris.safetensors", alone), 1.0)])
    answers.append(answer(parts))
    without, first, *others = answers
    assert not torch.equal(without, first)
    assert all(torch.equal(other, first) for other in others)


def test_early_names_of_attention_processors_are_known(
    loras: Loras, parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    tensors = lora_tensors({"unet": parts["unet"]}, "diffusers")
    early = {
        key.replace(".to_", ".processor.to_")
        .replace(".to_out.0.", ".to_out.")
        .replace(".lora_A", "_lora.down")
        .replace(".lora_B", "_lora.up"): tensor
        for key, tensor in tensors.items()
    }
    assert "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight" in early
    answers = []
    for name, each in (("new", tensors), ("early", early)):
        loras.use([(write_adapter(tmp_path / f"{name}.safetensors", each), 1.0)])
        answers.append(answer(parts))
    assert torch.equal(*answers)


def test_a_kernel_between_two_matrices_is_their_product(
    loras: Loras, parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    """LoCon's Tucker decomposition: matrix, kernel, matrix, one after the other."""
    name = "lora_unet_mid_block_resnets_0_conv1"
    conv: Any = parts["unet"].get_submodule("mid_block.resnets.0.conv1")
    random = torch.Generator().manual_seed(1)
    down, mid, up = (
        torch.randn(*shape, generator=random)
        for shape in ((RANK, conv.in_channels, 1, 1), (RANK, RANK, 3, 3), (conv.out_channels, RANK, 1, 1))
    )
    tensors = {f"{name}.lora_{part}.weight": t for part, t in (("down", down), ("mid", mid), ("up", up))}
    image = torch.randn(1, conv.in_channels, 8, 8, generator=random)
    before = conv(image)
    loras.use([(write_adapter(tmp_path / "a.safetensors", {**tensors, f"{name}.alpha": torch.tensor(2.0)}), 0.5)])
    added = torch.conv2d(torch.conv2d(torch.conv2d(image, down), mid, padding=1), up) * 0.5 * 2 / RANK
    torch.testing.assert_close(conv(image), before + added, rtol=1e-4, atol=1e-4)


def test_what_was_trained_on_latents_alone_fits_an_inpaint_denoiser(
    parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    """LyCORIS trains the first convolution too where nobody says otherwise; that of an inpaint denoiser is wider."""
    adapter = write_adapter(tmp_path / "a.safetensors", lora_tensors(parts, convolutions=True))
    folder = make_sd1_folder(tmp_path / "tiny", inpaint=True)
    model = SD1.load(folder, identify(read_contents(folder)), CPU, tmp_path / "cache")
    plain, wide = parts["unet"].get_submodule("conv_in"), model.parts["unet"].get_submodule("conv_in")
    random = torch.Generator().manual_seed(1)
    latents, told = torch.randn(1, 4, 8, 8, generator=random), torch.randn(1, 5, 8, 8, generator=random)
    inputs = torch.cat([latents, told], dim=1)
    before = plain(latents), wide(inputs)
    both = Loras(parts), Loras(model.parts)
    for loras in both:
        loras.use([(adapter, 0.5)])
    added, also = plain(latents) - before[0], wide(inputs) - before[1]
    both[0].use([])
    assert added.abs().max() > 0.01
    torch.testing.assert_close(also, added, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("alphas", "scale"), [({}, 2.0), ({"attn1.to_q": 4}, 1.0)])
def test_the_scale_may_stand_in_the_header_or_beside(
    alphas: dict[str, int], scale: float, parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    tensors = lora_tensors({"unet": parts["unet"]}, "diffusers")
    config = {"unet.r": RANK, "unet.lora_alpha": 8, "unet.alpha_pattern": alphas}
    inside = write_adapter(tmp_path / "a.safetensors", tensors, metadata={"lora_adapter_metadata": config})
    found = read_lora(inside.path, "a")
    assert {low_rank.scale for name, low_rank in found if name.endswith("attn1.to_q")} == {scale}
    assert {low_rank.scale for name, low_rank in found if name.endswith("attn2.to_k")} == {2.0}
    beside = write_adapter(tmp_path / "adapter_model.safetensors", lora_tensors({"unet": parts["unet"]}, "peft"))
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8, "use_rslora": true}')
    assert {low_rank.scale for _, low_rank in read_lora(beside.path, "a")} == {4.0}


# ---- weights, several, none ------------------------------------------------------------------------------------------


def test_taking_off_restores_the_very_model(loras: Loras, parts: Mapping[str, nn.Module], style: Adapter) -> None:
    weights = {name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in parts.items()}
    before = answer(parts)
    loras.use([(style, 0.8)])
    changed = answer(parts)
    assert (changed - before).abs().max() > 0.01
    loras.use([(style, 0.0)])
    assert torch.equal(answer(parts), before)
    loras.use([(style, 0.8)])
    assert torch.equal(answer(parts), changed)
    loras.use([])
    assert torch.equal(answer(parts), before)
    for name, part in parts.items():
        state = part.state_dict()
        assert state.keys() == weights[name].keys()
        assert all(torch.equal(state[key], value) for key, value in weights[name].items())


def test_several_add_up_and_one_twice_counts_twice(
    loras: Loras, parts: Mapping[str, nn.Module], style: Adapter, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other.safetensors", lora_tensors({"unet": parts["unet"]}, "diffusers", seed=1))
    layer = parts["unet"].get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    image = torch.randn(1, 5, layer.in_features, generator=torch.Generator().manual_seed(0))

    def added(*uses: tuple[Adapter, float]) -> Tensor:
        loras.use([])
        before = layer(image)
        loras.use(uses)
        return layer(image) - before

    both = added((style, 0.5), (other, -2.0))
    torch.testing.assert_close(both, added((style, 0.5)) + added((other, -2.0)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(added((style, 0.25), (style, 0.25)), added((style, 0.5)), rtol=1e-3, atol=1e-5)
    assert not added((style, 0.5), (style, -0.5)).any()


def test_switching_reads_nothing_anew(
    loras: Loras, parts: Mapping[str, nn.Module], style: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        "scumble.diffusion.adapters.read_lora", lambda *told, real=read_lora: read.append(told) or real(*told)
    )
    for weight in (0.5, 0.0, 1.0, 0.5):
        loras.use([(style, weight)] if weight else [])
    assert len(read) == 1
    tensors = lora_tensors(parts, seed=9)
    before = answer(parts)
    write_adapter(style.path, tensors)  # trained further, under the same name
    loras.use([(style, 0.5)])
    assert len(read) == 2
    assert not torch.equal(answer(parts), before)


def test_those_before_leave_room_for_others(
    loras: Loras, parts: Mapping[str, nn.Module], style: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device never holds both; where it has no room for the others either, nothing stays on."""
    other = write_adapter(tmp_path / "Other.safetensors", lora_tensors(parts, seed=9))
    plain = answer(parts)
    loras.use([(style, 1.0)])
    held: list[int] = []

    def full(*arguments: Any) -> Branch:
        held.append(loras.bytes)
        if len(held) > 3:
            raise torch.OutOfMemoryError
        return Branch(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("scumble.diffusion.adapters.Branch", full)
        with pytest.raises(torch.OutOfMemoryError):
            loras.use([(other, 1.0)])
    assert held == [0] * 4
    assert (loras.active, loras.bytes) == ((), 0)
    assert torch.equal(answer(parts), plain)
    loras.use([(other, 1.0)])
    assert not torch.equal(answer(parts), plain)


def test_half_precision_layers_get_half_precision_branches(style: Adapter, folder: Path, tmp_path: Path) -> None:
    device = Device("cpu", torch.bfloat16, channels_last=True)
    model = SD1.load(folder, identify(read_contents(folder)), device, tmp_path / "cache")
    loras = Loras(model.parts)
    layer = model.parts["unet"].get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    image = torch.ones(1, 5, layer.in_features, dtype=torch.bfloat16)
    before = layer(image)
    loras.use([(style, 1.0)])
    assert layer(image).dtype == torch.bfloat16
    assert not torch.equal(layer(image), before)


# ---- what cannot be --------------------------------------------------------------------------------------------------


def wider(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.cat([t, t], dim=1) if "lora_down" in key else t for key, t in tensors.items()}


def elsewhere(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.replace("lora_unet_", "lora_unet_double_blocks_"): t for key, t in tensors.items()}


@pytest.mark.parametrize("change", [wider, elsewhere])
def test_one_for_another_model_is_refused_and_changes_nothing(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    loras: Loras,
    parts: Mapping[str, nn.Module],
    style: Adapter,
    tmp_path: Path,
) -> None:
    loras.use([(style, 1.0)])
    before = answer(parts)
    foreign = write_adapter(tmp_path / "foreign.safetensors", change(lora_tensors(parts)))
    with pytest.raises(BadRequest, match="foreign is made for another kind of model"):
        loras.use([(style, 1.0), (foreign, 1.0)])
    assert torch.equal(answer(parts), before)


def without_up(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: t for key, t in tensors.items() if "mid_block" not in key or "up" not in key}


def of_two_ranks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: t[:, :2] if "up" in key else t for key, t in tensors.items()}


def oft(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "lora_unet_mid_block_attentions_0_proj_in.oft_blocks": torch.ones(4)}


def without_a_rank(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    alphas = {key.replace("lora_down.weight", "alpha"): torch.ones(()) for key in tensors if "lora_down" in key}
    return {**{key: t[:0] if "down.w" in key else t[:, :0] for key, t in tensors.items()}, **alphas}


def half_loha(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.replace("lora_down.weight", "hada_w1_a"): t for key, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_up, "damaged"),
        (of_two_ranks, "damaged"),
        (oft, "kind"),
        (half_loha, "damaged"),
        (without_a_rank, "damaged"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    words: str,
    loras: Loras,
    parts: Mapping[str, nn.Module],
    tmp_path: Path,
) -> None:
    adapter = write_adapter(tmp_path / "broken.safetensors", change(lora_tensors(parts)))
    with pytest.raises(ModelUnreadable, match=f"LoRA broken .*{words}"):
        loras.use([(adapter, 1.0)])


def test_one_that_is_gone_is_missing(loras: Loras, style: Adapter) -> None:
    style.path.unlink()
    with pytest.raises(ModelMissing, match="Style"):
        loras.use([(style, 1.0)])


# ---- from prompt and request to the picture --------------------------------------------------------------------------


def test_prompt_and_request_put_the_same_lora_on(engine: DiffusionEngine, style: Adapter) -> None:
    plain = paint(engine)
    named = paint(engine, (style,), prompt="a boat<lora:STYLE:0.8>")
    chosen = paint(engine, (style,), loras=(LoraUse(style.info.id, 0.8),))
    assert np.abs(named.astype(int) - plain).max() > 8
    np.testing.assert_array_equal(named, chosen)
    np.testing.assert_array_equal(paint(engine, (style,), prompt="a boat<lora:style.safetensors:0>"), plain)
    np.testing.assert_array_equal(paint(engine, (style,)), plain)  # and the next picture knows nothing of it


def test_the_part_for_the_text_encoder_changes_the_picture(
    engine: DiffusionEngine, parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    words = write_adapter(tmp_path / "words.safetensors", lora_tensors({"text_encoder": parts["text_encoder"]}))
    plain = paint(engine)
    use = (LoraUse(words.info.id),)
    changed = paint(engine, (words,), loras=use)
    assert not np.array_equal(changed, plain)
    # What was encoded with it is not taken for what is encoded without it, be it the same prompt.
    np.testing.assert_array_equal(paint(engine), plain)
    np.testing.assert_array_equal(paint(engine, (words,), loras=use), changed)


def test_words_that_were_trained_with_a_lora_come_with_it(
    engine: DiffusionEngine, parts: Mapping[str, nn.Module], tmp_path: Path
) -> None:
    """As OneTrainer bundles them; what it puts behind the text encoder is passed over."""
    encoder: Any = parts["text_encoder"]
    vectors = torch.randn(2, encoder.config.hidden_size, generator=torch.Generator().manual_seed(2))
    bundled = {"bundle_emb.<Dog>.clip_l": vectors, "bundle_emb.<Dog>.clip_l_out": vectors + 1}
    unet = {"unet": parts["unet"]}
    adapter = write_adapter(tmp_path / "pet.safetensors", {**lora_tensors(unet), **bundled})
    alone = write_adapter(tmp_path / "alone.safetensors", lora_tensors(unet))
    word = write_adapter(tmp_path / "<dog>.safetensors", {"emb_params": vectors}, "embedding")
    ours = paint(engine, (adapter,), prompt="a <dog> <lora:pet:0.5>")
    theirs = paint(engine, (alone, word), prompt="a <dog> <lora:alone:0.5>")
    np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(ours, paint(engine, (adapter,), prompt="a dog <lora:pet:0.5>"))
    without = paint(engine, (adapter,), prompt="a <dog>")
    np.testing.assert_array_equal(without, paint(engine, prompt="a <dog>"))


def test_text_encoders_and_denoiser_may_have_weights_of_their_own(
    engine: DiffusionEngine, parts: Mapping[str, nn.Module], style: Adapter, tmp_path: Path
) -> None:
    halves = [
        write_adapter(tmp_path / f"{part}.safetensors", {k: v for k, v in lora_tensors(parts).items() if mark in k})
        for part, mark in (("unet", "lora_unet_"), ("text", "lora_te"))
    ]
    both = paint(engine, (style,), prompt="a boat<lora:style:0.3:0.7>")
    apart = paint(engine, tuple(halves), prompt="a boat<lora:unet:0.7><lora:text:0.3>")
    np.testing.assert_array_equal(both, apart)
    for text, half in (("0:0.7", "<lora:unet:0.7>"), ("0.3:0", "<lora:text:0.3>")):
        alone = paint(engine, tuple(halves), prompt=f"a boat{half}")
        assert not np.array_equal(alone, both)
        np.testing.assert_array_equal(paint(engine, (style,), prompt=f"a boat<lora:style:{text}>"), alone)


def test_one_of_few_steps_is_given_the_noisiest_first(
    engine: DiffusionEngine, style: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was distilled to see these timesteps; the model's own are others."""
    seen = []
    monkeypatch.setattr(
        "scumble.diffusion.picture.make_schedule",
        lambda *told, real=make_schedule: seen.append(made := real(*told)) or made,
    )
    fast = replace(style, info=replace(style.info, name="Hyper-SD15-4steps-lora"))
    settings = {"mode": "txt2img", "sampler": "euler", "steps": 4, "guidance": 1.0}
    paint(engine, (fast,), loras=(LoraUse(fast.info.id),), **settings)
    paint(engine, (style,), loras=(LoraUse(style.info.id),), **settings)
    paint(engine, (fast,), prompt="a boat<lora:hyper-sd15-4steps-lora:0.2>", **settings)
    timesteps = [schedule.timesteps.round().tolist() for schedule in seen]
    assert timesteps == [[999, 749, 499, 249], [999, 666, 333, 0], [999, 666, 333, 0]]


def test_a_lora_is_never_passed_over(engine: DiffusionEngine, style: Adapter) -> None:
    sdxl = replace(style, info=replace(style.info, name="Large", family="sdxl"))
    for wanted, error, words in (
        ({"prompt": "a <lora:Other:0.8> boat"}, ModelMissing, "no LoRA with the name Other"),
        ({"prompt": "a <lora:large> boat"}, BadRequest, "Large is made for another kind"),
        ({"loras": (LoraUse("nowhere"),)}, ModelMissing, "not here"),
        ({"loras": (LoraUse(sdxl.info.id),)}, BadRequest, "Large is made for another kind"),
        ({"negative": "fog <lora:style>"}, BadRequest, "whole picture"),
    ):
        adapters = (sdxl,) if "arge" in words or "here" in words else (style,)
        with pytest.raises(error, match=words):
            paint(engine, adapters, **wanted)


def test_among_several_of_one_name_the_fitting_one_is_taken(engine: DiffusionEngine, style: Adapter) -> None:
    foreign = replace(style, info=replace(style.info, id="foreign", family="sdxl"), path=style.path.with_name("no"))
    ours = replace(style, info=replace(style.info, family="sd1"))
    silent = replace(foreign, info=replace(foreign.info, family=""))
    expected = paint(engine, (style,), prompt="a boat<lora:style>")
    np.testing.assert_array_equal(paint(engine, (foreign, silent, ours), prompt="a boat<lora:style>"), expected)
