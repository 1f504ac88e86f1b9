"""Docstrings of every style, taken apart."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.instructions.sections import Parameter, docstring_parts, plain

NUMPY = """Join a sequence of arrays.

The arrays must have the same shape.

>>> join([1])

Parameters
----------
arrays, others : sequence of array_like
    The arrays to join,
    in this order.

    More about arrays.
axis : int, optional
    The axis along which to join.
flag
    No type.

Returns
-------
out : ndarray
    The joined array.

See Also
--------
split : The inverse.
"""

GOOGLE = """Applies a linear map.

Args:
    in_features (int): size of each input,
        in numbers.
    bias (Optional[int]): whether there is a bias. Default: ``True``
    **options: Passed on.

Returns:
    A :class:`~torch.Tensor` of the same size.

Note:
    Ignored here.

After the sections the description goes on.
"""

REST = """Send a request.

:param url: Where to.
:param int timeout: Seconds to wait,
    at most.
:type url: str
:return: The answer.
:rtype: Response
"""


def test_numpy_sections_are_understood() -> None:
    parts = docstring_parts(NUMPY)
    assert parts.paragraphs == ("Join a sequence of arrays.", "The arrays must have the same shape.")
    assert parts.parameters == (
        Parameter("arrays", "sequence of array_like", "The arrays to join, in this order."),
        Parameter("others", "sequence of array_like", "The arrays to join, in this order."),
        Parameter("axis", "int, optional", "The axis along which to join."),
        Parameter("flag", "", "No type."),
    )
    assert parts.returns == "ndarray: The joined array."


def test_google_sections_are_understood() -> None:
    parts = docstring_parts(GOOGLE)
    assert parts.paragraphs == ("Applies a linear map.", "After the sections the description goes on.")
    assert parts.parameters == (
        Parameter("in_features", "int", "size of each input, in numbers."),
        Parameter("bias", "Optional[int]", "whether there is a bias. Default: `True`"),
        Parameter("**options", "", "Passed on."),
    )
    assert parts.returns == "A `Tensor` of the same size."


def test_rest_fields_are_understood() -> None:
    parts = docstring_parts(REST)
    assert parts.paragraphs == ("Send a request.",)
    assert parts.parameters == (
        Parameter("url", "", "Where to."),
        Parameter("timeout", "int", "Seconds to wait, at most."),
    )
    assert parts.returns == "The answer."


def test_prose_ends_where_something_else_begins() -> None:
    assert docstring_parts("Prose.\n\n- a\n- b\n\nMore.").paragraphs == ("Prose.",)
    assert docstring_parts("Prose\nin lines\n>>> code").paragraphs == ("Prose in lines",)


def test_a_word_before_a_colon_is_no_section_without_an_indented_block() -> None:
    assert docstring_parts("Example:\nnot indented").paragraphs == ("Example: not indented",)


def test_markup_becomes_markdown() -> None:
    assert plain("See :func:`~a.b.c` and :py:class:`a.B`, ``x``, `docs <http://x.y>`_, `~.axes.Axes`.") == (
        "See `c` and `a.B`, `x`, docs, `Axes`."
    )


@given(st.text(alphabet=" \n:-=`>ab.Args(Returns)", max_size=200))
def test_any_text_is_taken_apart_without_an_error(text: str) -> None:
    parts = docstring_parts(text)
    assert all(paragraph == " ".join(paragraph.split()) for paragraph in parts.paragraphs)
