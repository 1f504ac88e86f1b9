"""What is found in one Python file."""

import sys

import pytest

from pipeline.sources.docstrings import DocumentedObject, documented_objects, storable

EXAMPLE = b'''
"""About the module."""

class Stack(list):
    """Last in, first out."""

    def __init__(self, items, *, limit: int = 10) -> None:
        """Fill the stack."""

    @property
    def top(self):
        """The newest item."""

    @staticmethod
    def joined(first, /, *rest, **options) -> "Stack":
        """One stack of many."""

    @classmethod
    def empty(cls):
        """A stack with nothing in it."""

    def undocumented(self):
        pass

try:
    from fast import push
except ImportError:
    def push(stack, item=None):
        """Put an item
            on top.

        Twice if you like.
        """
        def helper():
            """Not an interface."""

async def drain():
    """Wait for the end."""
'''


def found(source: bytes) -> list[DocumentedObject]:
    return list(documented_objects(source, "pile.stack"))


def test_every_documented_object_is_found_in_order_with_its_qualified_name_and_kind() -> None:
    assert [(item.qualified_name, item.kind) for item in found(EXAMPLE)] == [
        ("pile.stack", "module"),
        ("pile.stack.Stack", "class"),
        ("pile.stack.Stack.__init__", "method"),
        ("pile.stack.Stack.top", "property"),
        ("pile.stack.Stack.joined", "method"),
        ("pile.stack.Stack.empty", "method"),
        ("pile.stack.push", "function"),
        ("pile.stack.drain", "function"),
    ]


def test_signatures_show_annotations_and_defaults_but_neither_self_nor_cls() -> None:
    signatures = {item.name: item.signature for item in found(EXAMPLE)}
    assert signatures["Stack"] == "Stack(items, *, limit: int=10)"
    assert signatures["Stack.__init__"] == "__init__(items, *, limit: int=10) -> None"
    assert signatures["Stack.top"] == "top"
    assert signatures["Stack.joined"] == "joined(first, /, *rest, **options) -> 'Stack'"
    assert signatures["Stack.empty"] == "empty()"
    assert signatures["push"] == "push(stack, item=None)"


def test_parameters_are_named_with_their_stars() -> None:
    parameters = {item.name: item.parameters for item in found(EXAMPLE)}
    assert parameters["Stack"] == ("items", "limit")
    assert parameters["Stack.joined"] == ("first", "*rest", "**options")


def test_docstrings_lose_their_indentation() -> None:
    docstrings = {item.name: item.docstring for item in found(EXAMPLE)}
    assert docstrings["push"] == "Put an item\n    on top.\n\nTwice if you like."


def test_the_identity_tells_a_function_from_a_module_of_the_same_name() -> None:
    assert found(EXAMPLE)[1].identity == "pile.stack:Stack"


def test_the_coding_line_of_the_file_is_obeyed() -> None:
    source = '# -*- coding: latin-1 -*-\n"""Grüße"""'.encode("latin-1")
    assert found(source)[0].docstring == "Grüße"


def test_what_cannot_be_stored_as_text_is_replaced() -> None:
    assert found(rb'"""lone \ud800 and \x00."""')[0].docstring == "lone � and �."
    assert storable("whole 🙂") == "whole 🙂"


@pytest.mark.parametrize(
    "source", [b"def broken(:\n", b'"""\xff"""', b"x = 1\x00", b"(" * 5000 + b")" * 5000, b"print 'old'"]
)
def test_a_file_that_is_no_python_is_an_error_that_says_why(source: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w+: \w+"):
        found(source)


def test_no_warnings_leak_from_the_parsed_code(recwarn: pytest.WarningsRecorder) -> None:
    found(b'"""A \\d escape."""\nassert (1, "always true")')
    assert not recwarn.list


def test_nothing_is_imported() -> None:
    before = set(sys.modules)
    found(b'"""Doc."""\nimport this_would_fail\nraise SystemExit(3)')
    assert set(sys.modules) == before
