"""Small widgets that several pieces use, in Krita's own style at any theme and width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..added import NOT_FOUND
from ..qt import QtCore, QtGui, QtWidgets, is_deleted
from ..slots import guarded
from .search import SearchBox

SPACING = 4
THUMBNAIL = 72
_USUAL_TIP = "scumble_tip"


class Fold(QtWidgets.QWidget):
    """A heading with an arrow that opens and closes what is below it."""

    def __init__(self, name: str, title: str, content: QtWidgets.QWidget) -> None:
        super().__init__()
        self._content = content
        self._button = QtWidgets.QToolButton()
        self._button.setObjectName(name)
        self._button.setText(title)
        self._button.setAutoRaise(True)
        self._button.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._button.clicked.connect(lambda *_: self._turn())
        column = vertical(self, self._button, content)
        column.setSpacing(2)
        self.open(False)

    def _turn(self) -> None:
        self.open(self._content.isHidden())
        if not self._content.isHidden():
            reach(self)

    def open(self, value: bool = True) -> None:
        arrow = QtCore.Qt.ArrowType
        self._button.setArrowType(arrow.DownArrow if value else arrow.RightArrow)
        self._content.setVisible(value)


def reach(widget: QtWidgets.QWidget) -> None:
    """Scrolls to it, once it has its place; where it is higher than there is room, to its top."""

    def scroll() -> None:
        if is_deleted(widget) or not widget.isVisible():
            return
        area = widget.parent()
        while not isinstance(area, QtWidgets.QScrollArea):
            area = area.parent()
        top = widget.mapTo(area.widget(), QtCore.QPoint(0, 0)).y()
        for y in (top + widget.height(), top):
            area.ensureVisible(0, y, 0, 0)

    QtCore.QTimer.singleShot(0, guarded(scroll))


def vertical(parent: QtWidgets.QWidget, *widgets: QtWidgets.QWidget) -> QtWidgets.QVBoxLayout:
    layout = QtWidgets.QVBoxLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def row(*widgets: QtWidgets.QWidget, stretch: int = 0) -> QtWidgets.QWidget:
    """Side by side; the widget at index `stretch` takes what is left."""
    holder = QtWidgets.QWidget()
    layout = QtWidgets.QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if index == stretch else 0)
    return holder


def form(parent: QtWidgets.QWidget) -> QtWidgets.QFormLayout:
    layout = QtWidgets.QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    layout.setFieldGrowthPolicy(QtWidgets.QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setLabelAlignment(QtCore.Qt.AlignmentFlag.AlignLeft | QtCore.Qt.AlignmentFlag.AlignVCenter)
    return layout


def align(*forms: QtWidgets.QFormLayout) -> None:
    """Lets the fields of several forms begin below each other."""
    role = QtWidgets.QFormLayout.ItemRole.LabelRole
    labels = [form.itemAt(line, role).widget() for form in forms for line in range(form.rowCount())]
    width = max(label.sizeHint().width() for label in labels)
    for label in labels:
        label.setMinimumWidth(width)


def combo(name: str, tip: str) -> QtWidgets.QComboBox:
    """One that does not widen the docker when a name is long but says it in its tooltip, and does not turn by the mouse
    wheel in passing."""
    return _set_up_combo(QtWidgets.QComboBox(), name, tip)


def search_box(name: str, tip: str) -> SearchBox:
    """As `combo`, for what may have many entries."""
    return _set_up_combo(SearchBox(), name, tip)


def _set_up_combo(box, name, tip):
    box.setObjectName(name)
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(6)
    return unwheeled(box)


def fill(box: QtWidgets.QComboBox, items: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]] = ()) -> None:
    """Offers these (value, text); what was chosen stays so, also where it is only one of the others."""
    if [(box.itemData(index), box.itemText(index)) for index in range(box.count())] == list(items):
        return
    chosen, typed = box.currentData() or "", box.typed if isinstance(box, SearchBox) else ""
    box.clear()
    for value, text in items:
        box.addItem(text, value)
    choose(box, chosen, others)
    if isinstance(box, SearchBox):
        box.follow(typed)


def choose(box: QtWidgets.QComboBox, value: object, others: Sequence[tuple[str, str]] = ()) -> None:
    """A value that is not on offer (yet) stays chosen, under its name where it is one of the others (value, text)."""
    index = box.findData(value)
    if index < 0 and isinstance(value, str):
        box.addItem(dict(others).get(value, NOT_FOUND), value)
        index = box.count() - 1
    box.setCurrentIndex(max(index, 0))


def explain(box: QtWidgets.QComboBox, tips: Mapping[str, str]) -> None:
    """Gives its entries tooltips, by their values."""
    for index in range(box.count()):
        box.setItemData(index, tips.get(box.itemData(index), ""), QtCore.Qt.ItemDataRole.ToolTipRole)


def allow(widget: QtWidgets.QWidget, why_not: str = "") -> None:
    """Insensitive as long as there is a reason against it, which then is the tooltip of all that is in it."""
    widget.setEnabled(not why_not)
    for part in (widget, *widget.findChildren(QtWidgets.QWidget)):
        if part.property(_USUAL_TIP) is None:
            part.setProperty(_USUAL_TIP, part.toolTip())
        part.setToolTip(why_not or part.property(_USUAL_TIP))


def spin(
    name: str, tip: str, low: int, high: int, suffix: str = "", special: str = "", step: int = 1
) -> QtWidgets.QSpinBox:
    """`special` is shown in place of the lowest value."""
    box = QtWidgets.QSpinBox()
    return _set_up(box, name, tip, low, high, suffix, special, step)


def double_spin(name: str, tip: str, low: float, high: float, special: str = "") -> QtWidgets.QDoubleSpinBox:
    box = QtWidgets.QDoubleSpinBox()
    box.setDecimals(1)
    return _set_up(box, name, tip, low, high, "", special, 0.5)


def _set_up(box, name, tip, low, high, suffix, special, step):
    box.setObjectName(name)
    box.setToolTip(tip)
    box.setRange(low, high)
    box.setSuffix(suffix)
    box.setSpecialValueText(special)
    box.setSingleStep(step)
    box.setMinimumWidth(48)
    return unwheeled(box)


def unwheeled(widget):
    """In a docker that scrolls the wheel must not change what it passes over."""
    widget.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_Watch.instance())
    return widget


class _Watch(QtCore.QObject):
    _instance = None

    @classmethod
    def instance(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def eventFilter(self, widget, event):
        if event.type() == QtCore.QEvent.Type.Wheel and not widget.hasFocus():
            event.ignore()
            return True
        if event.type() == QtCore.QEvent.Type.ToolTip and isinstance(widget, QtWidgets.QComboBox) and _is_cut(widget):
            QtWidgets.QToolTip.showText(event.globalPos(), f"{widget.currentText()}\n{widget.toolTip()}", widget)
            return True
        return False


def _is_cut(box: QtWidgets.QComboBox) -> bool:
    """Whether there is no room for all of what is chosen."""
    option = QtWidgets.QStyleOptionComboBox()
    box.initStyleOption(option)
    style = QtWidgets.QStyle
    room = box.style().subControlRect(
        style.ComplexControl.CC_ComboBox, option, style.SubControl.SC_ComboBoxEditField, box
    )
    return box.fontMetrics().boundingRect(box.currentText()).width() > room.width()


def button(name: str, text: str, tip: str = "") -> QtWidgets.QPushButton:
    made = QtWidgets.QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setMinimumWidth(24)
    return made


def label(text: str = "", name: str = "", faint: bool = False) -> QtWidgets.QLabel:
    """Text that wraps. `faint`: less important, so smaller; paler text is not to be read in all of Krita's themes."""
    made = QtWidgets.QLabel(text)
    made.setObjectName(name)
    made.setWordWrap(True)
    made.setTextFormat(QtCore.Qt.TextFormat.PlainText)
    if faint:
        font = made.font()
        font.setPointSizeF(font.pointSizeF() * 0.9)
        made.setFont(font)
    return made


def picture(width: int, height: int, pixels: bytes, side: int, ratio: float) -> QtGui.QImage:
    """An image of at most `side` px, on a screen that has so many of its own for each of these, from raw B G R A pixels;
    coarse first, so that a large one costs little."""
    image = QtGui.QImage(pixels, width, height, width * 4, QtGui.QImage.Format.Format_ARGB32)
    side = round(side * ratio)
    keep, mode = QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode
    if max(width, height) > 4 * side:
        image = image.scaled(4 * side, 4 * side, keep, mode.FastTransformation)
    image = image.scaled(side, side, keep, mode.SmoothTransformation).copy()
    image.setDevicePixelRatio(ratio)
    return image


def framed(image: QtGui.QImage, palette: QtGui.QPalette, frame: int, kept: bool) -> QtGui.QPixmap:
    """A thumbnail in the middle of a square, with a frame of so many px (0: none) and a tick where it is kept."""
    ratio = image.devicePixelRatio()
    square = QtGui.QPixmap(QtCore.QSize(THUMBNAIL + 4, THUMBNAIL + 4) * ratio)
    square.setDevicePixelRatio(ratio)
    square.fill(QtCore.Qt.GlobalColor.transparent)
    painter = QtGui.QPainter(square)
    width, height = round(image.width() / ratio), round(image.height() / ratio)
    left, top = (THUMBNAIL + 4 - width) // 2, (THUMBNAIL + 4 - height) // 2
    painter.drawImage(left, top, image)
    highlight = palette.color(QtGui.QPalette.ColorRole.Highlight)
    if frame:
        painter.setPen(QtGui.QPen(highlight, frame))
        painter.drawRect(left, top, width - 1, height - 1)
    if kept:
        corner = QtCore.QRect(left + width - 20, top + height - 20, 20, 20)
        painter.fillRect(corner, highlight)
        painter.setPen(palette.color(QtGui.QPalette.ColorRole.HighlightedText))
        painter.drawText(corner, QtCore.Qt.AlignmentFlag.AlignCenter, "\u2713")
    painter.end()
    return square
