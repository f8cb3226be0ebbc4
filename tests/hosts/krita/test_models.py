"""What the docker shows of the model that is chosen, and of models that come and go, in the real Krita with the real
backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from scumble.home import Home

from tests.models.files import write_control, write_embedding, write_flux2_lora, write_lora

from ..installs import Install
from .conftest import open_real
from .docker import Docker, picture

pytestmark = pytest.mark.only("newest")

HYPER = "Hyper-SD15-8steps-lora"
LISTED = "[part({0!r}).itemText(i) for i in range(part({0!r}).count())]"
AUTOMATIC = ["Automatic"] * 3
OF_SD, OF_KLEIN = ["Automatic (20)", "Automatic (7)", "Automatic (DPM++ 2M Karras)"], ["Automatic (4)", "Automatic (1)"]
TAKEN_BY_SD_ALONE = {
    "clip_skip": "clip skip",
    "embedding": "textual inversions",
    "control_add": "controls",
    "control": "controls",
    "reference_add": "references",
}
"""Parts of the docker, and what they are for."""


@pytest.fixture(scope="module")
def choice(
    krita_install: Install,
    plugin_zip: Path,
    fill_model: Path,
    diffusion_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Docker]:
    """Krita with the plug-in; MI-GAN, and small random models of Stable Diffusion and of flow matching; a LoRA for each of
    two versions, one that does not say for which and one of few steps, a network to follow, a textual inversion."""
    from tests.diffusion.tiny_flow import make_flux2_folder  # imports torch

    work = tmp_path_factory.mktemp("choice")
    home = Home(work / "scumble")
    shutil.copytree(diffusion_model, home.models / "tiny")
    make_flux2_folder(home.models / "klein")
    for name, width in (("Ink", 768), ("Gloss", 2048), ("Any", 77)):
        write_lora(home.models / "loras" / f"{name}.safetensors", width)
    write_lora(home.models / "loras" / f"{HYPER}.safetensors", layers=3)
    write_flux2_lora(home.models / "loras" / "Pastel.safetensors")
    write_control(home.models / "edges" / "diffusion_pytorch_model.safetensors")
    write_embedding(home.embeddings / "Oil.safetensors", emb_params=768)
    with open_real(krita_install, plugin_zip, fill_model, work) as krita:
        docker = Docker(krita)
        docker.ready()
        krita.run("part('scumble_added').click(); part('scumble_advanced').click()")
        yield docker


@pytest.fixture
def docker(choice: Docker) -> Docker:
    """With a new document, and without rows."""
    open_document(choice, 128, 96)
    choice.krita.run(
        "part('scumble_model').setCurrentIndex(0)\n"
        "for cross in dock.findChildren(QtWidgets.QPushButton):\n"
        "    cross.click() if cross.objectName().endswith('_remove') else None\n"
        "part('scumble_sampler').setCurrentIndex(0)\n"
        "part('scumble_negative').setPlainText(''); part('scumble_clip_skip').setValue(1)\n"
        "part('scumble_resolution').setValue(128)"
    )
    choice.set("a boat", mode="Refine picture")
    return choice


def open_document(docker: Docker, width: int, height: int) -> None:
    """A new one, to which the docker has turned."""
    docker.new_document(picture(width, height))
    wait_turned(docker, width, height)


def wait_turned(docker: Docker, width: int, height: int) -> None:
    said = f"{2 * width} \u00d7 {2 * height} px"
    docker.krita.wait_until(f"part('scumble_upscale_size').text() == {said!r}", 20)


def models(docker: Docker) -> Path:
    return Home(docker.krita.work.parent / "scumble").models


def listed(docker: Docker, name: str) -> list[str]:
    texts: list[str] = docker.krita.get(LISTED.format(name))
    return texts


def open_choices(docker: Docker) -> list[str]:
    """What steps, guidance and sampler say while they are left open."""
    said: list[str] = docker.krita.get(
        "[part('scumble_steps').text(), part('scumble_guidance').text(), part('scumble_sampler').currentText()]"
    )
    return said


def add_lora(docker: Docker, name: str) -> None:
    docker.press("scumble_lora_add")
    docker.krita.run(f"pick('scumble_lora', {name!r})")


def test_the_model_says_what_there_is_to_choose(docker: Docker) -> None:
    krita = docker.krita
    assert open_choices(docker) == AUTOMATIC
    every = listed(docker, "scumble_sampler")
    assert len(every) > 5
    krita.run("pick('scumble_model', 'tiny')")
    assert open_choices(docker) == OF_SD
    assert listed(docker, "scumble_sampler")[1:] == every[1:]
    krita.run("pick('scumble_sampler', 'Euler a'); part('scumble_clip_skip').setValue(2)")
    add_lora(docker, f"{HYPER} (sd1)")
    assert open_choices(docker)[:2] == ["Automatic (8)", "Automatic (1)"]
    krita.run("part('scumble_lora_weight').setValue(0.4)")  # in use for something else
    assert open_choices(docker)[:2] == OF_SD[:2]
    krita.run("part('scumble_lora_weight').setValue(1); pick('scumble_lora', 'Ink (sd1)')")
    assert open_choices(docker)[:2] == OF_SD[:2]
    docker.press("scumble_control_add")
    krita.run("pick('scumble_control', 'edges (sd1)'); part('scumble_negative').setPlainText('fog')")
    before = krita.get(f"[part('scumble_' + name).toolTip() for name in {list(TAKEN_BY_SD_ALONE)}]")

    krita.run("pick('scumble_model', 'klein')")
    assert listed(docker, "scumble_sampler") == ["Automatic (Euler)", "Euler"]
    assert open_choices(docker) == [*OF_KLEIN, "Automatic (Euler)"]
    for name, what in TAKEN_BY_SD_ALONE.items():
        state = krita.get(f"[part('scumble_{name}').isEnabled(), part('scumble_{name}').toolTip()]")
        assert state == [False, f"This model takes no {what}."], name
    for name in ("negative", "region_add", "steps", "sampler"):
        assert krita.get(f"part('scumble_{name}').isEnabled()"), name
    assert listed(docker, "scumble_lora") == ["LoRA\u2026", "Any", "Pastel (flux2)", "Ink (sd1)"]
    krita.run("pick('scumble_lora', 'Pastel (flux2)')")
    docker.generate()
    docker.wait_layers(2)
    request = docker.request_of_last_layer()
    assert (request["sampler"], request["steps"], request["clip_skip"], request["negative"]) == ("euler", 4, 1, "fog")
    assert ([use["weight"] for use in request["loras"]], request["controls"]) == ([1.0], [])

    krita.run("pick('scumble_model', 'tiny')")  # nothing is forgotten
    assert krita.get("[part('scumble_' + name).currentText() for name in ('sampler', 'lora', 'control')]") == [
        "Euler a",
        "Pastel (flux2)",
        "edges (sd1)",
    ]
    assert krita.get("part('scumble_clip_skip').value()") == 2
    assert all(krita.get(f"[part('scumble_' + name).isEnabled() for name in {list(TAKEN_BY_SD_ALONE)}]"))
    assert krita.get(f"[part('scumble_' + name).toolTip() for name in {list(TAKEN_BY_SD_ALONE)}]") == before


def test_a_sampler_is_remembered_for_models_that_have_it(docker: Docker) -> None:
    krita = docker.krita
    krita.run("pick('scumble_model', 'tiny'); pick('scumble_sampler', 'Euler a'); pick('scumble_model', 'klein')")
    open_document(docker, 64, 48)  # takes what is common to all documents
    assert krita.get("part('scumble_sampler').currentText()") == "Automatic (Euler)"
    krita.run("part('scumble_steps').setValue(2); pick('scumble_model', 'tiny')")
    assert krita.get("part('scumble_sampler').currentText()") == "Euler a"
    docker.generate()
    docker.wait_layers(2)
    assert docker.request_of_last_layer()["sampler"] == "euler_a"
    krita.run("pick('scumble_model', 'klein'); pick('scumble_sampler', 'Euler'); pick('scumble_model', 'tiny')")
    assert krita.get("part('scumble_sampler').currentText()") == "Euler"  # chosen last


def test_an_upscale_takes_nothing_that_is_grey(docker: Docker) -> None:
    docker.krita.run("pick('scumble_model', 'tiny'); pick('scumble_sampler', 'Euler a')")
    docker.krita.run("part('scumble_clip_skip').setValue(2)")
    docker.krita.run("pick('scumble_model', 'klein'); part('scumble_steps').setValue(1)")
    docker.upscale(2)  # by whichever model
    docker.wait_layers(2)
    request = docker.request_of_last_layer()
    assert (request["mode"], request["prompt"], request["clip_skip"]) == ("upscale", "a boat", 1)
    assert request["sampler"] != "euler_a"


def test_a_model_is_described_where_it_is_chosen(docker: Docker) -> None:
    krita = docker.krita
    tip = "part('scumble_model').toolTip()"
    assert krita.get(tip) == "The model that paints."
    krita.run("pick('scumble_model', 'klein')")
    described = krita.get(tip)
    assert described.startswith("FLUX.2 klein, ")
    assert described.endswith(("kB", "MB"))
    role = "QtCore.Qt.ItemDataRole.ToolTipRole"
    tips = krita.get(f"[part('scumble_model').itemData(i, {role}) for i in range(part('scumble_model').count())]")
    assert described in tips
    assert [each for each in tips if each and each.startswith("MI-GAN, 28 MB")]
    krita.run("pick('scumble_model', 'MI-GAN')")
    assert listed(docker, "scumble_sampler") == ["Automatic"]
    assert not krita.get("part('scumble_negative').isEnabled()")
    assert krita.get("part('scumble_negative').toolTip()") == "This model takes no negative prompt."


def test_adapters_are_those_that_fit_the_model(docker: Docker) -> None:
    krita = docker.krita
    add_lora(docker, "Gloss (sdxl)")
    every = ["LoRA\u2026", "Any", "Gloss (sdxl)", f"{HYPER} (sd1)", "Ink (sd1)", "Pastel (flux2)"]
    assert listed(docker, "scumble_lora") == every
    krita.run("pick('scumble_model', 'tiny')")
    offered = listed(docker, "scumble_lora")
    assert offered == [
        "LoRA\u2026",
        "Any",
        f"{HYPER} (sd1)",
        "Ink (sd1)",
        "Gloss (sdxl)",
    ]  # what is chosen comes last
    assert krita.get("part('scumble_lora').currentText()") == "Gloss (sdxl)"
    krita.run("first = document")
    open_document(docker, 64, 48)
    krita.run("part('scumble_lora_remove').click(); app.activeWindow().addView(first)")
    wait_turned(docker, 128, 96)  # the row is made anew
    assert krita.get("part('scumble_lora').currentText()") == "Gloss (sdxl)"
    krita.run("part('scumble_lora_remove').click()")
    docker.press("scumble_lora_add")
    assert listed(docker, "scumble_lora") == ["LoRA\u2026", "Any", f"{HYPER} (sd1)", "Ink (sd1)"]
    assert listed(docker, "scumble_embedding")[1:] == ["Oil (sd1)"]
    krita.run("pick('scumble_model', 'klein')")
    assert listed(docker, "scumble_lora") == ["LoRA\u2026", "Any", "Pastel (flux2)"]
    assert listed(docker, "scumble_embedding")[1:] == []
    assert krita.get("shows('scumble_embedding')")


def test_what_is_grey_can_be_taken_away(docker: Docker) -> None:
    """By the mouse and by keys; nothing else of it can be touched, and its tooltips say why."""
    krita = docker.krita
    for name, text in (("lora", "Ink (sd1)"), ("control", "edges (sd1)")):
        docker.press(f"scumble_{name}_add")
        krita.run(f"pick('scumble_{name}', {text!r})")
    krita.run("pick('scumble_model', 'MI-GAN')")
    for name, what in (("lora", "LoRAs"), ("lora_weight", "LoRAs"), ("control_layer", "controls")):
        state = krita.get(f"[part('scumble_{name}').isEnabled(), part('scumble_{name}').toolTip()]")
        assert state == [False, f"This model takes no {what}."], name
    docker.set(count=3)
    assert krita.get("[part('scumble_count').isEnabled(), part('scumble_count').toolTip()]") == [
        False,
        "This model makes one image: nothing is left to chance in it.",
    ]
    crosses = "[[part(f'scumble_{name}_remove').isEnabled(), part(f'scumble_{name}_remove').toolTip()]"
    assert krita.get(crosses + " for name in ('lora', 'control')]") == [[True, "Take it away."]] * 2
    docker.krita.run("arrange('scumble_control_add')")
    krita.screenshot("grey")
    docker.click("scumble_lora_remove")
    left = "[name for name in ('lora', 'control') if dock.findChild(QtWidgets.QWidget, f'scumble_{name}_remove')]"
    krita.wait_until(f"{left} == ['control']", 10)
    krita.run("arrange('scumble_control_remove'); part('scumble_control_remove').setFocus()")
    krita.display.keys("space")
    krita.wait_until(f"{left} == []", 10)
    krita.run("pick('scumble_model', 'tiny')")
    assert krita.get(left) == []
    assert krita.get("part('scumble_lora_add').isEnabled()")
    assert krita.get("[part('scumble_count').isEnabled(), part('scumble_count').value()]") == [True, 3]


def test_models_and_loras_come_and_go_by_themselves(docker: Docker) -> None:
    krita = docker.krita
    krita.run("pick('scumble_model', 'tiny')")
    add_lora(docker, "Ink (sd1)")
    krita.run("part('scumble_lora_weight').setValue(0.35)")
    new = write_lora(docker.krita.work / "Wash.safetensors", layers=2)
    shutil.copy(new, models(docker) / "loras")
    krita.wait_until("part('scumble_lora').findText('Wash (sd1)') > 0", 10)
    assert krita.get("[part('scumble_lora').currentText(), part('scumble_lora_weight').value()]") == ["Ink (sd1)", 0.35]
    (models(docker) / "loras" / "Wash.safetensors").unlink()
    krita.wait_until("part('scumble_lora').findText('Wash (sd1)') < 0", 10)
    assert krita.get("[part('scumble_lora').currentText(), part('scumble_lora_weight').value()]") == ["Ink (sd1)", 0.35]

    write_control(models(docker) / "depths" / "diffusion_pytorch_model.safetensors", 1024)
    krita.run("part('scumble_model').setCurrentIndex(0); part('scumble_control_add').click()")
    krita.wait_until("part('scumble_control').findText('depths (sd2)') > 0", 10)
    krita.run("pick('scumble_control', 'depths (sd2)')")
    shutil.rmtree(models(docker) / "depths")
    krita.wait_until("part('scumble_control').currentText() == 'Not found'", 10)

    krita.run("pick('scumble_model', 'tiny')")
    shutil.copytree(models(docker) / "klein", docker.krita.work / "klein")
    shutil.rmtree(models(docker) / "klein")
    krita.wait_until("part('scumble_model').findText('klein') < 0", 10)
    shutil.copytree(docker.krita.work / "klein", models(docker) / "klein")
    krita.wait_until("part('scumble_model').findText('klein') > 0", 10)
    assert krita.get("part('scumble_model').currentText()") == "tiny"
    krita.run("part('scumble_lora_weight').setValue(0)")
    assert open_choices(docker) == OF_SD


def test_nothing_raised_into_krita(choice: Docker) -> None:
    assert choice.krita.dialogs() == []
    assert not list((choice.krita.work.parent / "scumble" / "logs").glob("krita.log"))
