"""Arithmetic that makes a number of a mask's channels: `labels.number`."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

CHANNELS = ("R", "G", "B", "V")
"""Red, green and blue of a colour mask; V is the value of a mask of one channel."""

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_MAX_CHARS, _MAX_NUMBER = 200, 2**31


def check_number(expression: str) -> str:
    """An expression of channels, whole numbers and `+ - * // %`, as it is.

    Raises:
        ValueError: it is none.
    """
    used = {node.id for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name)}
    if not used or ("V" in used and len(used) > 1):
        raise ValueError(
            f"{expression!r} has to use channels: R, G and B of a colour mask, or V of a mask of "
            "one channel"
        )
    return expression


def mask_number(expression: str, channels: Mapping[str, Any]) -> Any:
    """The value of a checked expression.

    Args:
        expression: see `check_number`.
        channels: of `CHANNELS`, those that it uses; numbers or integer arrays of one shape, of a
            type that is wide enough.

    >>> mask_number("R // 10 * 256 + G", {"R": 25, "G": 7})
    519
    """
    return _value(_parsed(expression), channels)


def uses_colours(expression: str) -> bool:
    """Whether it goes with colour masks."""
    return "V" not in {
        node.id for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name)
    }


def _parsed(expression: str) -> ast.expr:
    try:
        if len(expression) > _MAX_CHARS:
            raise ValueError(f"more than {_MAX_CHARS} characters")
        body = ast.parse(expression, mode="eval").body
        _check(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{expression!r:.80} is no arithmetic of channels, such as R // 10 * 256 + G: {error}"
        ) from error
    return body


def _check(node: ast.expr) -> None:
    if isinstance(node, ast.BinOp):
        if type(node.op) not in _OPERATORS:
            raise ValueError("known are + - * // %")
        if isinstance(node.op, ast.FloorDiv | ast.Mod) and not isinstance(node.right, ast.Constant):
            raise ValueError("divide by a number")
        if isinstance(node.right, ast.Constant) and node.right.value == 0:
            raise ValueError("0 is no divisor, and changes nothing elsewhere")
        _check(node.left)
        _check(node.right)
    elif isinstance(node, ast.Name):
        if node.id not in CHANNELS:
            raise ValueError(f"{node.id} is none of {', '.join(CHANNELS)}")
    elif not (isinstance(node, ast.Constant) and type(node.value) is int):
        raise ValueError("only channels, whole numbers and + - * // %")
    elif node.value > _MAX_NUMBER:
        raise ValueError(f"{node.value} is too large")


def _value(node: ast.expr, channels: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, channels), _value(node.right, channels)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Name):
        return channels[node.id]
    assert isinstance(node, ast.Constant)
    return node.value
