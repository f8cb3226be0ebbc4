"""Lists that are long are searched by typing, in every real Krita with the real backend."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from scumble.home import Home

from tests.models.files import write_lora

from ..installs import Install
from .conftest import open_real
from .docker import Docker, picture

THINGS = ("boat", "bridge", "cloud", "harbour", "river", "tree")
LONG = "winter_evening_on_the_canal_with_lanterns_and_snow_falling_v3_final_epoch_000012_of_the_second_run"
HYPER = "Hyper-SD15-8steps-lora"
WAYS = ("brush", "chalk", "ink", "oil", "wash")
SHOWN = "part('scumble_lora').completer().popup()"
FOUND = f"[{SHOWN}.model().index(row, 0).data() for row in range({SHOWN}.model().rowCount())]"


@pytest.fixture(scope="module")
def many(
    krita_install: Install,
    plugin_zip: Path,
    fill_model: Path,
    diffusion_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Docker]:
    """Krita with the plug-in, a small random model and 32 LoRAs, one of them of few steps and one with a long name."""
    work = tmp_path_factory.mktemp("many")
    home = Home(work / "scumble")
    shutil.copytree(diffusion_model, home.models / "tiny")
    for number, names in enumerate(itertools.product(THINGS, WAYS)):
        write_lora(home.models / "loras" / f"{'_in_'.join(names)}.safetensors", layers=1 + number)
    write_lora(home.models / "loras" / f"{HYPER}.safetensors", layers=40)
    write_lora(home.models / "loras" / f"{LONG}.safetensors", layers=41)
    with open_real(krita_install, plugin_zip, fill_model, work) as krita:
        docker = Docker(krita)
        docker.ready()
        docker.new_document(picture(128, 96))
        docker.set("a boat", mode="Refine picture")
        krita.run("part('scumble_added').click(); part('scumble_advanced').click()")
        yield docker


@pytest.fixture
def docker(many: Docker) -> Docker:
    """With one row, in which nothing is chosen."""
    many.krita.run(
        "part('scumble_model').setCurrentIndex(0)\n"
        "for cross in dock.findChildren(QtWidgets.QPushButton):\n"
        "    cross.click() if cross.objectName().endswith('_remove') else None\n"
        "part('scumble_lora_add').click(); QtWidgets.QApplication.processEvents()"
    )
    return many


def chosen(docker: Docker) -> list[str]:
    """What the field says, and the name of what is chosen."""
    texts: list[str] = docker.krita.get(
        "[part('scumble_lora').currentText(), part('scumble_lora').itemText(part('scumble_lora').currentIndex())]"
    )
    return texts


def search(docker: Docker, typed: str, found: list[str]) -> None:
    docker.click("scumble_lora")
    docker.krita.wait_until(f"{SHOWN}.isVisible()", 10)
    docker.krita.display.type(typed)
    docker.krita.wait_until(f"{FOUND} == {found}", 10)


def test_a_name_is_found_by_its_words(docker: Docker) -> None:
    krita = docker.krita
    assert krita.get("[part('scumble_lora').isEditable(), part('scumble_model').isEditable()]") == [True, False]
    docker.click("scumble_lora")
    krita.wait_until(f"{SHOWN}.isVisible()", 10)
    assert len(krita.get(FOUND)) == 3 + len(THINGS) * len(WAYS)
    room = krita.get(f"[{SHOWN}.screen().geometry().right() - {SHOWN}.geometry().right(), {SHOWN}.width()]")
    assert room[0] >= 0
    assert room[1] == 480
    krita.screenshot("all")
    krita.display.type("INK b")
    krita.wait_until(f"{FOUND} == ['boat_in_ink (sd1)', 'bridge_in_ink (sd1)', 'harbour_in_ink (sd1)']", 10)
    krita.screenshot("found")
    assert chosen(docker) == ["INK b", "LoRA\u2026"]  # nothing yet
    krita.display.keys("Down", "Down", "Return")
    krita.wait_until("part('scumble_lora').currentIndex() > 0", 10)
    assert chosen(docker) == ["bridge_in_ink (sd1)"] * 2

    search(docker, "wash tr", ["tree_in_wash (sd1)"])
    krita.display.keys("Return")
    krita.wait_until("part('scumble_lora').currentText() == 'tree_in_wash (sd1)'", 10)
    assert chosen(docker) == ["tree_in_wash (sd1)"] * 2

    search(docker, "oil ud", ["cloud_in_oil (sd1)"])
    krita.display.click(
        *krita.run(
            f"row = {SHOWN}.viewport().mapToGlobal({SHOWN}.visualRect({SHOWN}.model().index(0, 0)).center())\n"
            "result = [row.x(), row.y()]"
        )
    )
    krita.wait_until("part('scumble_lora').currentText() == 'cloud_in_oil (sd1)'", 10)
    assert chosen(docker) == ["cloud_in_oil (sd1)"] * 2

    krita.run("pick('scumble_model', 'tiny')")
    search(docker, "hyper", [f"{HYPER} (sd1)"])
    krita.display.keys("Return")
    krita.wait_until("part('scumble_steps').text() == 'Automatic (8)'", 10)  # the edit has it


def test_what_was_chosen_stands_there_again(docker: Docker) -> None:
    krita = docker.krita
    krita.run("pick('scumble_lora', 'river_in_oil (sd1)')")
    for keys in (["Escape"], ["Tab"], ["Return"]):
        search(docker, "zzz", [])
        assert chosen(docker) == ["zzz", "river_in_oil (sd1)"]
        krita.display.keys(*keys)
        krita.wait_until("part('scumble_lora').currentText() == 'river_in_oil (sd1)'", 10)
        assert chosen(docker) == ["river_in_oil (sd1)"] * 2
    search(docker, "boat chalk", ["boat_in_chalk (sd1)"])
    docker.click("scumble_prompt")  # closes the list alone
    docker.click("scumble_prompt")
    krita.wait_until("part('scumble_lora').currentText() == 'river_in_oil (sd1)'", 10)
    assert chosen(docker) == ["river_in_oil (sd1)"] * 2
    assert docker.layers() == ["base"]
    assert not krita.get("shows('scumble_cancel')")


def test_what_is_being_typed_stays_when_others_come(docker: Docker) -> None:
    krita = docker.krita
    search(docker, "ink h", ["harbour_in_ink (sd1)"])
    loras = Home(krita.work.parent / "scumble").models / "loras"
    write_lora(loras / "hills_in_ink.safetensors", layers=50)
    krita.wait_until(f"{FOUND} == ['harbour_in_ink (sd1)', 'hills_in_ink (sd1)']", 20)
    assert krita.get(f"{SHOWN}.isVisible()")
    krita.display.type("i")
    krita.wait_until(f"{FOUND} == ['hills_in_ink (sd1)']", 10)
    krita.display.keys("Return")
    krita.wait_until("part('scumble_lora').currentText() == 'hills_in_ink (sd1)'", 10)
    assert chosen(docker) == ["hills_in_ink (sd1)"] * 2


def test_a_list_that_gets_short_is_a_list_again(docker: Docker) -> None:
    krita = docker.krita
    krita.run("pick('scumble_lora', 'river_in_oil (sd1)')")
    loras = Home(krita.work.parent / "scumble").models / "loras"
    for file in loras.glob("*.safetensors"):
        if not file.name.startswith("river"):
            file.unlink()
    krita.wait_until(f"part('scumble_lora').count() == {1 + len(WAYS)}", 20)
    assert not krita.get("part('scumble_lora').isEditable()")
    assert krita.get("part('scumble_lora').currentText()") == "river_in_oil (sd1)"
    assert krita.dialogs() == []
    assert not list((krita.work.parent / "scumble" / "logs").glob("krita.log"))
