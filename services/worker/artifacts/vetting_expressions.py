"""What a symbolic expression of a stored program may say: sympy evaluates the text as Python.

So only calls of sympy's own constructors get through, over symbols and numbers; and no number of which sympy would make
one with millions of digits, for it computes what it can at once, and for as long as that takes.
"""

import ast
import math
import re
from collections.abc import Iterator
from typing import Final

from services.worker.domain import LoadError

SYMBOL: Final = re.compile(r"(s|u|f|zf|zuf)[0-9]{1,6}")
"""torch counts up to the number of a symbol, one by one."""
_FUNCTION: Final = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Equality"
    r"|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|FloorDiv|ModularIndexing|Where"
    r"|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv"
    r"|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity"
    r"|IsNonOverlappingAndDenseIndicator|true|false|oo|int_oo"
)
_NODES: Final = (
    ast.Expression,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.keyword,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,40})?(e[+-]?[0-9]{1,3})?")
_LARGEST: Final = 1e40
_MAX_EXPRESSION: Final = 2_000
_POWERS: Final = (ast.Pow, ast.LShift, ast.RShift)
_POWER_FUNCTIONS: Final = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift", "RShift", "RoundDecimal"})
_MOST_RAISED: Final = 256.0
"""The product of all exponents of an expression: powers of powers multiply theirs."""
_NUMBERS: Final = frozenset({"Integer", "Float", "Rational"})
_DIGITS: Final = 1_000
"""Of a float, as `precision=` and Float's second argument ask for."""


def vet_expression(text: str) -> None:
    """Checks one.

    Raises:
        LoadError: it could run code, or what it says is a number that takes for ever.
    """
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= _MAX_EXPRESSION else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    if not nodes or not all(_harmless(node) for node in nodes):
        raise LoadError(f"the program has the symbolic expression {text[:80]!r}, which could run code")
    raised = math.prod(max(1.0, exponent) for node in nodes for exponent in _exponents(node))
    if not (raised <= _MOST_RAISED and all(_few_digits(node) for node in nodes)):
        raise LoadError(
            f"the program has the symbolic expression {text[:80]!r}, whose powers could take for ever: exponents are "
            f"numbers, and all of them together at most {_MOST_RAISED:g}"
        )


def _harmless(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return _FUNCTION.fullmatch(name) is not None or SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=str(text)):
            return SYMBOL.fullmatch(text) is not None or _NUMBER.fullmatch(text) is not None
        case ast.Constant(value=int() | float() as number):
            return abs(number) <= _LARGEST
        case ast.Call(func=function):
            return isinstance(function, ast.Name)
    return isinstance(node, _NODES)


def _exponents(node: ast.AST) -> Iterator[float]:
    """To what a node raises, as far as it is a number; infinity otherwise."""
    match node:
        case ast.BinOp(op=operator, right=exponent) if isinstance(operator, _POWERS):
            yield _size(exponent)
        case ast.Call(func=ast.Name(id=name), args=given, keywords=named) if name in _POWER_FUNCTIONS:
            yield from map(_size, given[1:])
            yield from (_size(one.value) for one in named if one.arg != "evaluate")


def _size(number: ast.expr) -> float:
    match number:
        case ast.Constant(value=int() | float() as value):
            return abs(value)
        case ast.Constant(value=str(text)) if _NUMBER.fullmatch(text):
            return abs(float(text))
        case ast.UnaryOp(operand=operand):
            return _size(operand)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return max(_size(left), _size(right))
        case ast.Call(func=ast.Name(id=name), args=[*given]) if name in _NUMBERS:
            return max(map(_size, given), default=math.inf)
    return math.inf


def _few_digits(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Float"), args=[_, *others]):
            return all(_size(one) <= _DIGITS for one in others)
        case ast.keyword(value=ast.Constant(value=value)):
            return isinstance(value, bool) or (isinstance(value, int) and value <= _DIGITS)
        case ast.keyword():
            return False
    return True
