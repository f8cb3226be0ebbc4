"""The fields of an edit: from a Form into the widgets and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from .. import models, words
from ..form import Form
from ..qt import QtCore, QtWidgets, Signal, is_deleted
from ..words import AUTOMATIC, MODES
from . import widgets
from .added import AddedPanel
from .prompt import PromptEdit
from .upscale import UpscalePanel

PAINTS = "The model that paints."


class SettingsPanel(QtWidgets.QWidget):
    """`changed`: the artist changed something. `submitted`: Ctrl+Enter in a prompt. `below` comes right below the prompts,
    so that it is in sight in a low docker too. `upscale` has some of the form's fields and is not a part of this panel."""

    changed = Signal()
    submitted = Signal()

    def __init__(self, below: QtWidgets.QWidget) -> None:
        super().__init__()
        self._filling = False
        self._models: Sequence[Any] = ()
        self._adapters: Sequence[Any] = ()
        self._samplers: Sequence[str] = ()
        self._wanted_sampler = ""
        self._prompt = PromptEdit("scumble_prompt", "What shall be there? (empty: what fits)", 4)
        self._negative = PromptEdit("scumble_negative", "What shall not be there?", 2)
        self._written = self._prompt
        self._mode = widgets.combo(
            "scumble_mode",
            "What to do. Automatic: what fits the selection and the strength.\n"
            "Add: what is not like its surroundings, from grey instead of these (at 100 %).\n"
            "Remove: what is selected goes, whatever the prompt says.",
        )
        self._mode.addItem(AUTOMATIC, "")
        for mode, text in MODES.items():
            if mode != "upscale":  # has its own panel
                self._mode.addItem(text, mode)
        self._model = widgets.search_box("scumble_model", PAINTS)
        self._strength = widgets.unwheeled(QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal))
        self._strength.setObjectName("scumble_strength_slider")
        self._strength.setRange(1, 100)
        self._percent = widgets.spin(
            "scumble_strength", "How far to go from what is there; 100 %: start from nothing.", 1, 100, " %"
        )
        self._count = widgets.spin("scumble_count", "How many images to choose from.", 1, 16)
        self._seed = widgets.unwheeled(QtWidgets.QLineEdit())
        self._seed.setObjectName("scumble_seed")
        self._seed.setToolTip("The same seed and settings give the same image.")
        self._lock = QtWidgets.QCheckBox("Seed")
        self._lock.setObjectName("scumble_seed_locked")
        self._lock.setToolTip("Locked: always this seed. Else a random one each time.")

        self._transparent = QtWidgets.QCheckBox("Cut out of its background")
        self._transparent.setObjectName("scumble_transparent")
        self._transparent.setToolTip(
            "What is painted is cut out of its plain background. Name one in the prompt, or it asks for white."
        )

        fields = QtWidgets.QWidget()
        form = widgets.form(fields)
        form.addRow("Mode", self._mode)
        form.addRow("Model", self._model)
        form.addRow("Strength", widgets.row(self._strength, self._percent))
        form.addRow("Images", widgets.row(self._count, self._lock, self._seed, stretch=2))
        page = QtWidgets.QWidget()
        widgets.align(form, self._make_advanced(page))
        advanced = widgets.Fold("scumble_advanced", "Advanced", page)
        self._added = AddedPanel()
        self.upscale = UpscalePanel()
        added = widgets.Fold("scumble_added", "LoRAs, controls, regions", self._added)
        widgets.vertical(self, self._prompt, self._negative, below, fields, self._transparent, added, advanced)
        self._connect()
        self.set_models((), (), ())
        self.form = Form()

    def _make_advanced(self, page: QtWidgets.QWidget) -> QtWidgets.QFormLayout:
        self._sampler = widgets.combo("scumble_sampler", "How the image is denoised.")
        self._steps = widgets.spin("scumble_steps", "More steps take longer.", 0, 200, special=AUTOMATIC)
        self._guidance = widgets.double_spin(
            "scumble_guidance", "How closely to follow the prompt.", 0.0, 30.0, special=AUTOMATIC
        )
        self._grow = widgets.spin("scumble_grow", "Paint this far beyond the selection.", 0, 512, " px")
        self._feather = widgets.spin("scumble_feather", "Fade in over this width inside the selection.", 0, 512, " px")
        self._context = widgets.spin(
            "scumble_context",
            "How much of the surroundings the model sees.",
            -1,
            4096,
            " px",
            special=AUTOMATIC,
            step=16,
        )
        self._resolution = widgets.spin(
            "scumble_resolution",
            "The size at which the model paints, along a side of a square. Less is quicker, more shows more detail;\n"
            "far from the size that it was trained on, things repeat themselves or break.",
            0,
            4096,
            " px",
            special=AUTOMATIC,
            step=64,
        )
        self._clip_skip = widgets.spin(
            "scumble_clip_skip", "Which layer of the text encoder counts, from the end: 1 is the last.", 1, 12
        )
        self._source = widgets.combo("scumble_source", "What the model sees of your picture.")
        self._source.addItem("Visible picture", False)
        self._source.addItem("Active layer or group", True)
        form = widgets.form(page)
        form.addRow("Source", self._source)
        form.addRow("Sampler", self._sampler)
        form.addRow("Steps", self._steps)
        form.addRow("Guidance", self._guidance)
        form.addRow("Grow", self._grow)
        form.addRow("Feather", self._feather)
        form.addRow("Context", self._context)
        form.addRow("Resolution", self._resolution)
        form.addRow("Clip skip", self._clip_skip)
        return form

    def _connect(self) -> None:
        self._strength.valueChanged.connect(self._percent.setValue)
        self._percent.valueChanged.connect(self._strength.setValue)
        self._lock.toggled.connect(self._seed.setEnabled)
        self._model.currentIndexChanged.connect(lambda *_: self._filling or self._follow_model())
        self._sampler.currentIndexChanged.connect(lambda *_: self._filling or self._want_sampler())
        for signal in (
            *(edit.textChanged for edit in (self._prompt, self._negative, self._seed)),
            *(box.currentIndexChanged for box in (self._mode, self._model, self._sampler, self._source)),
            *(box.valueChanged for box in (
                self._percent, self._count, self._steps, self._guidance, self._grow, self._feather, self._context,
                self._resolution, self._clip_skip,
            )),
            self._lock.toggled,
            self._transparent.toggled,
            self._added.changed,
            self.upscale.changed,
        ):  # fmt: skip
            signal.connect(lambda *_: self._filling or self._edited())
        self._follow(self._prompt)
        self._follow(self._negative)
        self._added.prompted.connect(self._follow)
        self._added.picked.connect(self._put_in)

    def _follow(self, edit: PromptEdit) -> None:
        edit.submitted.connect(self.submitted)
        edit.entered.connect(lambda: setattr(self, "_written", edit))

    @property
    def form(self) -> Form:
        factor, upscale_model, upscale_strength = self.upscale.values
        digits = "".join(letter for letter in self._seed.text() if letter in "0123456789")
        return Form(
            prompt=self._prompt.text,
            negative=self._negative.text,
            mode=self._mode.currentData() or "",
            strength=self._percent.value(),
            count=self._count.value(),
            seed=min(int(digits or 0), 2**32 - 1),
            seed_locked=self._lock.isChecked(),
            from_layer=bool(self._source.currentData()),
            transparent=self._transparent.isChecked(),
            model=self._model.currentData() or "",
            sampler=self._wanted_sampler,
            steps=self._steps.value(),
            guidance=self._guidance.value(),
            grow=self._grow.value(),
            feather=self._feather.value(),
            context=self._context.value(),
            resolution=self._resolution.value(),
            clip_skip=self._clip_skip.value(),
            **self._added.values,
            factor=factor,
            upscale_model=upscale_model,
            upscale_strength=upscale_strength,
        )

    @form.setter
    def form(self, form: Form) -> None:
        with self._unheard():
            self._prompt.text, self._negative.text = form.prompt, form.negative
            self._percent.setValue(form.strength)
            self._count.setValue(form.count)
            self._seed.setText(str(form.seed) if form.seed else "")
            self._lock.setChecked(form.seed_locked)
            self._seed.setEnabled(form.seed_locked)
            self._steps.setValue(form.steps)
            self._guidance.setValue(form.guidance)
            self._grow.setValue(form.grow)
            self._feather.setValue(form.feather)
            self._context.setValue(form.context)
            self._resolution.setValue(form.resolution)
            self._clip_skip.setValue(form.clip_skip)
            self._transparent.setChecked(form.transparent)
            self._added.values = vars(form)
            self.upscale.values = form.factor, form.upscale_model, form.upscale_strength
            for box, value in ((self._mode, form.mode), (self._source, form.from_layer)):
                widgets.choose(box, value)
            # Whether it is there is not known before there is a connection.
            widgets.choose(self._model, form.model, () if self._models else [(form.model, "\u2026")])
        self._wanted_sampler = form.sampler
        self._follow_model()

    @property
    def sensitive(self) -> Form:
        """The form without what the chosen model takes nothing of."""
        form = self.form
        return models.sendable(form, models.find(self._models, form.model))

    def set_models(self, known: Sequence[Any], adapters: Sequence[Any], samplers: Sequence[str]) -> None:
        """The backend's ModelInfos and AdapterInfos, and the names of its samplers."""
        self._models, self._adapters, self._samplers = known, adapters, samplers
        painters = [(model.id, model.name) for model in known if model.kind != "upscaler"]
        upscalers = [(model.id, words.upscaler(model.name, model.kind)) for model in known if model.kind != "fill"]
        tips = {model.id: words.about(model) for model in known}
        with self._unheard():
            widgets.fill(self._model, [("", AUTOMATIC), *painters])
            widgets.explain(self._model, tips)
            self.upscale.set_models([("", AUTOMATIC), *upscalers], tips)
        self._follow_model()

    def _follow_model(self) -> None:
        """Shows what the chosen model is, and what it leaves to choose."""
        model = models.find(self._models, self._model.currentData() or "")
        self._model.setToolTip(words.about(model) if model else PAINTS)
        offered = [(name, words.sampler(name)) for name in models.samplers_of(model, self._samplers)]
        with self._unheard():
            self._sampler.setCurrentIndex(0)  # so that no other one is held on to
            widgets.fill(self._sampler, [("", AUTOMATIC), *offered])
            self._sampler.setCurrentIndex(max(self._sampler.findData(self._wanted_sampler), 0))
        why_not = models.refusals(model)
        widgets.allow(self._count, why_not.get("count", ""))
        widgets.allow(self._negative, why_not.get("negative", ""))
        widgets.allow(self._clip_skip, why_not.get("clip_skip", ""))
        self._added.set_adapters(self._adapters, model)
        self._show_automatic()

    def _show_automatic(self) -> None:
        """Says what will be chosen where the artist does not."""
        form = self.form
        steps, guidance, sampler = models.settings_of(models.find(self._models, form.model), form, self._adapters)
        self._steps.setSpecialValueText(words.automatic(steps))
        self._guidance.setSpecialValueText(words.automatic(guidance))
        self._sampler.setItemText(0, words.automatic(sampler))

    def _edited(self) -> None:
        self._show_automatic()
        self.changed.emit()

    def _want_sampler(self) -> None:
        """It is remembered when a model is chosen that cannot be painted with it."""
        self._wanted_sampler = self._sampler.currentData() or ""

    def set_layers(self, layers: Sequence[tuple[str, str]]) -> None:
        """Ids and names of the document's layers."""
        self._added.set_layers(layers)

    def set_automatic_mode(self, words: str) -> None:
        self._mode.setItemText(0, f"{AUTOMATIC}: {words}" if words else AUTOMATIC)

    def set_seed(self, seed: int) -> None:
        """Shows the seed of the latest result, ready to be locked."""
        if not self._lock.isChecked():
            with self._unheard():
                self._seed.setText(str(seed))

    def _put_in(self, word: str) -> None:
        """Into the prompt that the artist has written in last."""
        if is_deleted(self._written):  # it was a region's
            self._written = self._prompt
        self._written.put_in(word)
        self._written.setFocus()

    def choose_model(self) -> None:
        self._model.setFocus()
        self._model.showPopup()

    def focus_prompt(self) -> None:
        self._prompt.setFocus()

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        """What changes meanwhile was not changed by the artist."""
        before, self._filling = self._filling, True
        try:
            yield
        finally:
            self._filling = before
