"""Dataclasses to JSON values and back, strictly.

Plug-ins run in interpreters where nothing can be installed, so this stands on the standard library alone. Every field is
required on the wire unless its dataclass gives a default; unknown fields, wrong types and non-finite numbers are errors.
Supported field types: bool, int, float, str, Optional, Tuple[T, ...], Dict[str, T], NamedTuple (as a JSON list), Literal
and nested dataclasses.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, Dict, Literal, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import BadRequest

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """The JSON value (dict, list, str, number, bool, None) of a dataclass instance or of a field's value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(kind: Type[T], value: Any, where: str = "message") -> T:
    """An instance of the dataclass `kind` from a JSON object.

    Raises BadRequest naming the first field that is missing, unknown or of a wrong type.
    """
    if not isinstance(value, dict):
        raise BadRequest(f"{where} is not an object.")
    hints = _hints(kind)  # type: ignore[arg-type]
    unknown = [str(name) for name in value if name not in hints]
    if unknown:
        raise BadRequest(f"{where} has an unknown field {unknown[0][:40]!r}.")
    arguments: Dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in value:
            arguments[field.name] = _convert(hints[field.name], value[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BadRequest(f"{where}.{field.name} is missing.")
    return kind(**arguments)


@functools.cache
def _hints(kind: Any) -> Dict[str, Any]:
    return get_type_hints(kind)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin is Union:  # Optional[X] is the only union in use
        inner = next(kind for kind in get_args(hint) if kind is not type(None))
        return None if value is None else _convert(inner, value, where)
    if origin is Literal:
        if value not in get_args(hint) or not isinstance(value, str):
            raise BadRequest(f"{where} is not one of {', '.join(get_args(hint))}.")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise BadRequest(f"{where} is not a list.")
        return tuple(_convert(get_args(hint)[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise BadRequest(f"{where} is not an object.")
        return {_convert(str, key, where): _convert(get_args(hint)[1], item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _convert_named_tuple(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_named_tuple(hint: Any, value: Any, where: str) -> Any:
    kinds = list(_hints(hint).values())
    if not isinstance(value, list) or len(value) != len(kinds):
        raise BadRequest(f"{where} is not a list of {len(kinds)} values.")
    return hint(*(_convert(kind, item, where) for kind, item in zip(kinds, value)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    # bool is a subclass of int in Python: true must not pass as 1.
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise BadRequest(f"{where} is not a finite number.")
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 2**63:
            return value
        raise BadRequest(f"{where} is out of range.")
    if hint is str and isinstance(value, str):
        if value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value):
            return value
        raise BadRequest(f"{where} is not valid text.")  # half a UTF-16 pair cannot be sent on or stored
    if hint is bool and isinstance(value, bool):
        return value
    raise BadRequest(f"{where} is not of type {getattr(hint, '__name__', hint)}.")
