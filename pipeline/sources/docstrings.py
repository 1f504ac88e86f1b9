"""The documented objects of one Python file, found in its syntax tree: nothing is imported or executed.

Decisions: modules, classes, functions, methods and properties that have a docstring, also those below
`if`, `try` and `with`; functions inside functions are not part of anyone's interface and are left out.
Signatures are rendered from the tree with annotations and defaults, without `self` and `cls`.

Cost: about 8 ms a file of average size, nearly all of it the parser.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["module", "class", "function", "method", "property"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PROPERTY_DECORATORS = frozenset({"property", "cached_property"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class DocumentedObject:
    """One object with its docstring."""

    module: str
    """Dotted name of the module: `collections`."""
    name: str
    """Dotted name inside the module: `OrderedDict.popitem`; empty for the module itself."""
    kind: Kind
    signature: str
    """`popitem(last=True)`; empty for modules, the bare name for properties."""
    parameters: tuple[str, ...]
    """Names as in the signature, `*args` and `**options` with their stars."""
    docstring: str
    """Without common indentation, as `inspect.cleandoc` leaves it."""

    @property
    def qualified_name(self) -> str:
        """As one writes it in code: `collections.OrderedDict.popitem`."""
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def identity(self) -> str:
        """`collections:OrderedDict.popitem`: the colon tells a function from a submodule of its name."""
        return f"{self.module}:{self.name}" if self.name else self.module


def documented_objects(source: bytes, module: str) -> Iterator[DocumentedObject]:
    """The objects of a file in the order of their definition.

    Args:
        source: the file's bytes; its coding line is obeyed.
        module: the dotted name under which the file would be imported.

    Raises:
        ValueError: the file is no Python of this interpreter's version (says where).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings are not our news
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, RecursionError, MemoryError) as fault:
        raise ValueError(f"{type(fault).__name__}: {fault}") from fault
    if docstring := _docstring(tree):
        yield DocumentedObject(module, "", "module", "", (), docstring)
    yield from _below(tree, module, "", inside_class=False)


def storable(text: str) -> str:
    """The text with what UTF-8 or C strings cannot carry (lone surrogates, NUL) replaced by U+FFFD."""
    return _UNSTORABLE.sub("�", text)


def _below(parent: ast.AST, module: str, prefix: str, *, inside_class: bool) -> Iterator[DocumentedObject]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.ClassDef):
            yield from _class(node, module, f"{prefix}{node.name}")
        elif isinstance(node, _Function):
            yield from _function(node, module, f"{prefix}{node.name}", inside_class)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _below(node, module, prefix, inside_class=inside_class)


def _class(node: ast.ClassDef, module: str, name: str) -> Iterator[DocumentedObject]:
    if docstring := _docstring(node):
        initializer = next((item for item in node.body if _is_initializer(item)), None)
        if isinstance(initializer, _Function):
            arguments, parameters = _arguments(initializer, bound=True)
        else:
            arguments, parameters = "", ()
        signature = f"{node.name}({arguments})"
        yield DocumentedObject(module, name, "class", signature, parameters, docstring)
    yield from _below(node, module, f"{name}.", inside_class=True)


def _function(node: _Function, module: str, name: str, inside_class: bool) -> Iterator[DocumentedObject]:
    docstring = _docstring(node)
    if not docstring:
        return
    decorators = {_last_name(decorator) for decorator in node.decorator_list}
    if inside_class and decorators & _PROPERTY_DECORATORS:
        yield DocumentedObject(module, name, "property", node.name, (), docstring)
        return
    bound = inside_class and "staticmethod" not in decorators
    arguments, parameters = _arguments(node, bound=bound)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    signature = storable(f"{node.name}({arguments}){returned}")
    kind: Kind = "method" if inside_class else "function"
    yield DocumentedObject(module, name, kind, signature, parameters, docstring)


def _arguments(node: _Function, *, bound: bool) -> tuple[str, tuple[str, ...]]:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    skipped = 1 if bound and len(positional) > len(given.defaults) else 0
    from_positional_only = min(skipped, len(given.posonlyargs))
    shown = ast.arguments(
        posonlyargs=given.posonlyargs[from_positional_only:],
        args=given.args[skipped - from_positional_only :],
        vararg=given.vararg,
        kwonlyargs=given.kwonlyargs,
        kw_defaults=given.kw_defaults,
        kwarg=given.kwarg,
        defaults=given.defaults,
    )
    names = [argument.arg for argument in positional[skipped:]]
    if given.vararg:
        names.append(f"*{given.vararg.arg}")
    names += [argument.arg for argument in given.kwonlyargs]
    if given.kwarg:
        names.append(f"**{given.kwarg.arg}")
    return storable(ast.unparse(shown)), tuple(names)


def _docstring(node: ast.Module | ast.ClassDef | _Function) -> str:
    return storable(inspect.cleandoc(ast.get_docstring(node, clean=False) or "")).strip()


def _is_initializer(node: ast.stmt) -> bool:
    return isinstance(node, _Function) and node.name == "__init__"


def _last_name(decorator: ast.expr) -> str:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
