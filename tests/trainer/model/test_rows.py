"""Who sees whom: documents, windows, prefixes, ALiBi, each against its definition."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.trainer.model.styles import CONTEXT, STYLES, VOCABULARY, small, some_tokens
from trainer.model.cache import KeyValueCache
from trainer.model.gpt import GPT, Block
from trainer.model.init import build_model
from trainer.model.positions import alibi_slopes
from trainer.model.rows import RowContext
from trainer.parallel.tensor_group import ALONE
from trainer.settings import ModelShape

NOTHING_KNOWN = RowContext()


def model_of(style: str, **more: object) -> GPT:
    return build_model(small(style, **more), seed=1).eval()


def mask_of(shape: ModelShape, context: RowContext, tokens: int, windowed: bool = False) -> torch.Tensor:
    inputs = context.attention_inputs(shape, tokens, torch.float32, torch.device("cpu"), 0, ALONE)
    mask = inputs.windowed_mask if windowed else inputs.dense_mask
    assert mask is not None
    return mask


def segments_of(*lengths: int) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(lengths), dtype=torch.int32), torch.tensor(lengths))[None]


@pytest.mark.parametrize("style", STYLES)
def test_a_document_is_read_as_if_it_were_alone(style: str) -> None:
    model, tokens = model_of(style), some_tokens(batch=1)
    logits = model(tokens, context=RowContext(segments_of(9, 1, 14)))
    for start, end in itertools.pairwise([0, 9, 10, 24]):
        torch.testing.assert_close(logits[:, start:end], model(tokens[:, start:end]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_what_stands_in_another_document_changes_nothing_not_even_a_bit(style: str) -> None:
    model, tokens = model_of(style), some_tokens(batch=1)
    changed = tokens.clone()
    changed[:, :9] = (changed[:, :9] + 1) % VOCABULARY
    one, other = (model(given, context=RowContext(segments_of(9, 15)))[:, 9:] for given in (tokens, changed))
    assert torch.equal(one, other)
    assert not torch.equal(model(tokens)[:, 9:], model(changed)[:, 9:])


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_positions_start_anew_with_each_document(lengths: list[int]) -> None:
    positions = RowContext(segments_of(*lengths)).positions()
    assert positions is not None
    assert positions[0].tolist() == [place for length in lengths for place in range(length)]


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(1, CONTEXT),
    window=st.none() | st.integers(1, CONTEXT + 1),
    prefix=st.none() | st.integers(0, CONTEXT),
    start_of_second=st.none() | st.integers(1, CONTEXT - 1),
)
def test_masks_are_their_definition(
    tokens: int, window: int | None, prefix: int | None, start_of_second: int | None
) -> None:
    segments = None if start_of_second is None else (torch.arange(tokens) >= start_of_second).int()[None]
    context = RowContext(segments, None if prefix is None else torch.tensor([prefix], dtype=torch.int32))
    inputs = context.attention_inputs(
        small(window=window), tokens, torch.float32, torch.device("cpu"), start=0, tensor=ALONE
    )
    mask = inputs.dense_mask if window is None else inputs.windowed_mask
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril() if mask is None else mask[0, 0]
    for query, key in itertools.product(range(tokens), repeat=2):
        inside = prefix is not None and max(query, key) < prefix
        near = window is None or abs(query - key) < window
        same = start_of_second is None or (query >= start_of_second) == (key >= start_of_second)
        assert seen[query, key] == ((key <= query or inside) and near and same)
    if prefix is None and segments is None and (window is None or window >= tokens):
        assert mask is None


def test_a_window_reaches_as_far_as_the_layers_carry_it() -> None:
    model, tokens = model_of("modern", window=5), some_tokens(batch=1)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % VOCABULARY
    differs = (model(tokens) != model(changed)).any(dim=-1)[0]
    assert differs[3 : 3 + 2 * 4 + 1].all()  # two layers, each four tokens further
    assert not differs[3 + 2 * 4 + 1 :].any()
    alternating = model_of("gpt3")
    assert (alternating(tokens) != alternating(changed)).any(dim=-1)[0, 3:].all()  # the first layer sees all


def test_alternating_windows_begin_with_a_block_that_sees_all() -> None:
    shape = small("gpt3", layers=4)
    assert [shape.window_of(layer) for layer in range(4)] == [None, 5, None, 5]
    assert [Block(shape, layer).attention.is_windowed for layer in range(4)] == [False, True, False, True]


def test_a_prefix_is_seen_in_both_directions_and_the_rest_in_one() -> None:
    model, tokens = model_of("modern"), some_tokens(batch=2)
    context = RowContext(prefix_B=torch.tensor([6, 0], dtype=torch.int32))
    logits = model(tokens, context=context)
    for changed_place, changes_all_from in ((5, 0), (10, 10)):
        changed = tokens.clone()
        changed[:, changed_place] = (changed[:, changed_place] + 1) % VOCABULARY
        differs = (model(changed, context=context) != logits).any(dim=-1)
        assert differs[0].int().argmax() == changes_all_from
        assert differs[1].int().argmax() == changed_place
    torch.testing.assert_close(logits[1:], model(tokens[1:]), rtol=1e-5, atol=1e-5)


def test_a_prefix_can_be_read_into_the_cache_and_continued() -> None:
    model, tokens = model_of("windowed"), some_tokens(batch=1)
    context = RowContext(prefix_B=torch.tensor([10], dtype=torch.int32))
    cache = KeyValueCache(model.shape, 1)
    with torch.no_grad():
        pieces = [model(tokens[:, :10], cache, context=context), model(tokens[:, 10:17], cache)]
        pieces += [model(tokens[:, at : at + 1], cache) for at in range(17, CONTEXT)]
        torch.testing.assert_close(torch.cat(pieces, 1), model(tokens, context=context), rtol=1e-5, atol=1e-5)


def test_alibi_takes_slope_times_distance_from_the_logits() -> None:
    shape = small("alibi", heads=4)
    penalty = mask_of(shape, RowContext(), 6)
    for head, query, key in itertools.product(range(4), range(6), range(6)):
        expected = -alibi_slopes(4)[head].item() * (query - key) if key <= query else float("-inf")
        assert penalty[0, head, query, key].item() == pytest.approx(expected)


def test_the_blocks_of_a_forward_pass_share_their_masks_and_plain_causal_attention_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks: list[object] = []
    attention = functional.scaled_dot_product_attention

    def watched(*args: torch.Tensor, **options: object) -> torch.Tensor:
        masks.append(options["attn_mask"])
        return attention(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    for style in ("modern", "gpt2", "grouped"):
        model_of(style)(some_tokens())
    assert masks == [None] * 6
    masks.clear()
    model_of("modern", layers=3)(some_tokens(1), context=RowContext(segments_of(9, 15)))
    assert masks[0] is not None
    assert masks[0] is masks[1] is masks[2]


def test_a_pipeline_gets_the_context_back_from_its_tensors() -> None:
    segments, prefix = segments_of(9, 15), torch.tensor([3], dtype=torch.int32)
    for context in (RowContext(), RowContext(segments), RowContext(None, prefix), RowContext(segments, prefix)):
        again = RowContext.from_tensors(context.tensors())
        assert again.segments_BT is context.segments_BT
        assert again.prefix_B is context.prefix_B


def test_rows_of_several_documents_cannot_continue_a_cache() -> None:
    model, tokens = model_of("modern"), some_tokens(batch=1)
    cache = KeyValueCache(model.shape, 1)
    model(tokens[:, :8], cache)
    with pytest.raises(ValueError, match="several documents"):
        model(tokens[:, 8:], cache, context=RowContext(segments_of(9, 7)))
