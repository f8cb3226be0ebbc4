"""Long lists of the panel, in which names are found by typing: real keys and clicks."""

from __future__ import annotations

import time

import numpy as np

from ..driver import Driver
from ..gimp_host import GimpHost
from .window import Backend, add, click, open_panel, prepare, settle, write

MANY = """
import dataclasses, gc, time
from scumble.protocol.messages import AdapterInfo
from scumble_gimp.panel.form import Form
form = next(each for each in gc.get_objects() if isinstance(each, Form))
backends = list(form.models.values())
plain = next(model for model in backends if model.name == "Plain")
models = [dataclasses.replace(plain, id=f"many-{number}", name=f"Old masters v{number} by hand") for number in range(40)]
def named_loras(*names):
    return [AdapterInfo(f"many-{number}", name, "lora", "sd1", 1) for number, name in enumerate(names)]
def chosen():
    return form.settings.model
"""
LISTED = """
def lists(name):
    shown = [w for w in Gtk.Window.list_toplevels() if w.get_attached_to() is named(name) and w.get_mapped()]
    return [w for w in widgets() if isinstance(w, Gtk.TreeView) and w.get_toplevel() in shown and w.get_mapped()]
def listed(name):
    return [row[0] for view in lists(name) for row in view.get_model()]
def place(name, number):
    view = lists(name)[0]
    area = view.get_cell_area(Gtk.TreePath(number), view.get_column(0))
    _, left, top = view.get_bin_window().get_origin()
    return [left + area.x + 20, top + area.y + area.height // 2]
def text(name):
    return named(name).get_text()
def focus():
    return named('generate').get_toplevel().get_focus().get_name()
"""
OFFERED = "form.offer(backends, named_loras(*{}), ())"
MEASURED = """
longest, last = [0.0], [time.thread_time()]
def tick():
    now = time.thread_time()
    longest[0], last[0] = max(longest[0], now - last[0]), now
    return True
ticks = GLib.timeout_add(5, tick, priority=GLib.PRIORITY_HIGH)
"""
MODEL = "model-search"
SHOWN = "[named(name).get_mapped() for name in ('model', 'model-search')]"


def begin(gimp: GimpHost, panel: Driver, offer: str) -> None:
    """The panel, with more to choose from than its backend has."""
    panel.run(MANY + LISTED + offer)
    gimp.display.activate(gimp.window("^Scumble$"))


def listed(panel: Driver, name: str, *names: str) -> None:
    panel.wait_until(f"listed({name!r}) == {list(names)}", 5)
    time.sleep(0.2)  # GTK marks none of them once more


def count(panel: Driver, name: str, rows: int) -> None:
    panel.wait_until(f"len(listed({name!r})) == {rows}", 5)
    time.sleep(0.2)


def test_a_name_is_found_by_typing(gimp: GimpHost, backend: Backend, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    with open_panel(gimp) as panel:
        panel.run("pick('model', 'Automatic')")
        assert panel.get(SHOWN) == [True, False]
        begin(gimp, panel, "form.offer([*backends, *models], [], ())")
        assert panel.get(SHOWN) == [False, True]
        assert panel.get(f"text({MODEL!r})") == "Automatic"
        write(panel, "slow gate", steps=15)
        gimp.screenshot("search-closed")

        # A click opens the list. Enter takes the first name, and begins nothing.
        click(gimp, panel, f"named({MODEL!r})")
        count(panel, MODEL, 42)
        gimp.screenshot("search-open")
        gimp.display.type("HAND v17")
        listed(panel, MODEL, "Old masters v17 by hand")
        gimp.display.keys("Return")
        panel.wait_until("chosen() == 'many-17'", 5)
        assert panel.get(f"[text({MODEL!r}), lists({MODEL!r})]") == ["Old masters v17 by hand", []]
        assert panel.get(f"named({MODEL!r}).get_tooltip_text()").startswith("Stable Diffusion 1, ")
        assert not panel.get("named('cancel').get_mapped()")

        # So does typing without a click: what was chosen is marked. Others are reached by arrows and by the mouse.
        gimp.display.type("v2")
        named = [f"Old masters v{number} by hand" for number in (2, *range(20, 30))]
        listed(panel, MODEL, *named)
        gimp.screenshot("search-typed")
        gimp.display.keys("Down", "Down", "Return")
        panel.wait_until("chosen() == 'many-20'", 5)
        gimp.display.type("v2")
        listed(panel, MODEL, *named)
        gimp.display.click(*panel.get(f"place({MODEL!r}, 4)"))
        panel.wait_until("chosen() == 'many-23'", 5)
        assert panel.get(f"[text({MODEL!r}), lists({MODEL!r})]") == ["Old masters v23 by hand", []]
        gimp.display.keys("Down")
        count(panel, MODEL, 42)

        # Escape and leaving it change nothing.
        gimp.display.type("v42")
        listed(panel, MODEL, "Nothing is called that")
        gimp.screenshot("search-nothing")
        gimp.display.keys("Return")
        gimp.display.keys("Escape")
        panel.wait_until(f"[text({MODEL!r}), lists({MODEL!r})] == ['Old masters v23 by hand', []]", 5)
        gimp.display.type("v4")
        count(panel, MODEL, 1)
        gimp.display.keys("Tab")
        panel.wait_until("focus() == 'strength' or focus() == 'GtkScale'", 5)
        assert panel.get(f"[text({MODEL!r}), lists({MODEL!r}), chosen()]") == ["Old masters v23 by hand", [], "many-23"]
        gimp.display.keys("alt+m")
        panel.wait_until(f"focus() == {MODEL!r}", 5)
        assert panel.get(f"[label.get_text() for label in named({MODEL!r}).list_mnemonic_labels()]") == ["Model:"]

        # The panel's own keys work while a list is open.
        gimp.display.type("plain")
        listed(panel, MODEL, "Plain")
        gimp.display.keys("Return")
        panel.wait_until("chosen() == plain.id", 5)
        gimp.display.type("hand")
        count(panel, MODEL, 16)
        gimp.display.keys("ctrl+Return")
        request, _ = backend.sent()
        assert request.model == panel.get("plain.id")
        assert panel.get(f"[text({MODEL!r}), lists({MODEL!r})]") == ["Plain", []]
        gimp.wait_until("len(image.get_layers()) == 2", 30)

        # What is found with nothing typed is that which leaves it open.
        gimp.display.keys("ctrl+a", "BackSpace", "Return")
        panel.wait_until(f"[chosen(), text({MODEL!r})] == [None, 'Automatic']", 5)


def test_a_list_that_changes_while_the_artist_types(gimp: GimpHost, picture: np.ndarray) -> None:
    """What is typed stays; and of two with one name that is taken which was meant."""
    prepare(gimp, picture)
    names = ["Ink", "Wool", "Ink", *(f"Other {number}" for number in range(20))]
    with open_panel(gimp) as panel:
        begin(gimp, panel, OFFERED.format(names))
        panel.run("named('added').set_expanded(True)")
        add(gimp, panel, "lora")
        settle(panel, "named('lora-search')")
        click(gimp, panel, "named('lora-search')")
        gimp.display.type("ink")
        listed(panel, "lora-search", "Ink (sd1)", "Ink (sd1)")
        gimp.screenshot("search-lora")
        panel.run(OFFERED.format([*names, "Pink"]))
        listed(panel, "lora-search", "Ink (sd1)", "Ink (sd1)", "Pink (sd1)")
        assert panel.get("text('lora-search')") == "ink"
        gimp.display.keys("Down", "Down", "Return")
        panel.wait_until("[use.id for use in form.settings.loras] == ['many-2']", 5)

        # A list that has become short is one to click again.
        gimp.display.type("oth")
        count(panel, "lora-search", 16)
        panel.run(OFFERED.format(names[:3]))
        panel.wait_until("named('lora').get_mapped() and not named('lora-search').get_mapped()", 5)
        assert panel.get("[named('lora').get_active_id(), lists('lora-search')]") == ["many-2", []]

        # What its model takes nothing of is grey, and says so, in a long one too.
        state = "[named('lora-search').is_sensitive(), named('lora-search').get_has_tooltip()]"
        panel.run("bare = dataclasses.replace(plain, id='bare', name='Bare', capabilities=())")
        panel.run("form.offer([*backends, bare], named_loras(*(f'Other {n}' for n in range(20))), ())")
        assert panel.get(state) == [True, True]
        panel.run("pick('model', 'Bare')")
        panel.run("form.offer([*backends, bare], named_loras(*(f'Other {n}' for n in range(30))), ())")
        assert panel.get(state) == [False, False]
        panel.run("pick('model', 'Plain')")
        assert panel.get(state) == [True, True]
        panel.run("named('lora-remove').clicked(); named('added').set_expanded(False)")


def test_words_and_layers_are_found_too(gimp: GimpHost, picture: np.ndarray) -> None:
    prepare(gimp, picture)
    gimp.run(
        "for name in (*'abcdefghijklm', 'Old barn'):\n"
        "    made = Gimp.Layer.new(image, name, 8, 8, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)\n"
        "    image.insert_layer(made, None, 0)\n"
        "image.set_selected_layers([layer])"
    )
    with open_panel(gimp) as panel:
        words = "[AdapterInfo(f'word-{number}', f'style{number}', 'embedding', 'sd1', 1) for number in range(20)]"
        begin(gimp, panel, f"form.offer(backends, {words}, ()); named('added').set_expanded(True)")
        write(panel, "a cat")
        click(gimp, panel, "named('embedding-search')")
        gimp.display.type("style1")
        count(panel, "embedding-search", 11)
        gimp.display.keys("Down", "Down", "Return")
        panel.wait_until("form.prompt.text == 'a cat style10'", 5)
        assert panel.get("text('embedding-search')") == "Textual inversion\u2026"

        add(gimp, panel, "region")
        settle(panel, "named('region-search')")
        click(gimp, panel, "named('region-search')")
        gimp.display.type("barn")
        listed(panel, "region-search", "Old barn")
        time.sleep(1)  # the panel looks at the layers twice a second
        assert panel.get("[text('region-search'), *listed('region-search')]") == ["barn", "Old barn"]
        gimp.display.keys("Return")
        barn = gimp.get("str(image.get_layers()[0].get_id())")
        panel.wait_until(f"form.all_settings.regions[0].layer == {barn!r}", 5)
        gimp.run("image.get_layers()[0].set_name('New barn')")
        panel.wait_until("text('region-search') == 'New barn'", 5)
        panel.run("named('region-remove').clicked(); named('added').set_expanded(False)")


def test_ten_thousand_names(gimp: GimpHost) -> None:
    """C6, in seconds of the processor, so that a busy machine does not count: to offer them, and what each key does."""
    with open_panel(gimp) as panel:
        begin(
            gimp,
            panel,
            "loras = named_loras(*(f'{n} of the old masters, by someone-{n % 97} xl' for n in range(10000)))",
        )
        panel.run("named('added').set_expanded(True)")
        add(gimp, panel, "lora")
        panel.run(MEASURED + "form.offer(backends, loras, ())")
        click(gimp, panel, "named('lora-search')")
        count(panel, "lora-search", 201)
        assert panel.get("listed('lora-search')[-1]") == "9,801 more"
        gimp.screenshot("search-many")
        gimp.display.type("some old")
        count(panel, "lora-search", 16)
        assert panel.get("listed('lora-search')[-1]") == "9,985 more"
        gimp.screenshot("search-many-found")
        gimp.display.type(" 9876")
        listed(panel, "lora-search", "9876 of the old masters, by someone-79 xl (sd1)")
        gimp.display.keys("Return")
        panel.wait_until("[use.id for use in form.settings.loras] == ['many-9876']", 5)
        panel.run("GLib.source_remove(ticks)")
        assert panel.get("longest[0]") < 0.05
        panel.run("named('lora-remove').clicked(); named('added').set_expanded(False)")
