"""Learns the merges of byte-pair encoding from counted pieces, exactly those that `tokenizers` learns.

The algorithm is that of Sennrich et al. 2016 with the rules of the library's BpeTrainer: the pair with the highest
count is merged, among equals the one with the smallest ids; in a piece from left to right; two tokens are a pair only
when together they have fewer symbols than `max_token_length`, or are single symbols. The library goes through whole
pieces and shifts their symbols; here only the places where the pair stands are touched, so a piece of a million bytes
costs no more than its tokens. One difference: the library counts pairs in 32 bits and loses those that occur more than
2,147,483,647 times.

What makes it simple: a text can become a token in one way only. While no token crosses the ends of a span, what
happens inside does not depend on what is outside. So every token is made in one step, the pairs it stands in come into
being in that step and only lose places later, and a pair that is too rare then can be forgotten. Only special tokens
may have a text that merges make again; the token then takes that id, as in the library.

Layout: all pieces lie in one array of cells, one a symbol of the alphabet, a free cell between two pieces. A token
that covers several cells is noted in its first and its last one, so both neighbours are found without links. Pieces
appear once with their count, and only those of two symbols and more.

Memory: 8 bytes a cell, 4 to 12 bytes a pair of neighbouring symbols, some 60 bytes a pair that is frequent enough:
23 bytes a byte of the different pieces. Cost: 0.2 us a byte of the different pieces for 32,768 tokens (58 MB of them:
10 s), which is 25 to 70 MB of text a CPU-second for corpora of 10 to 30 MB and more for larger ones.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compiled import kernel
from pipeline.kernels.hashing import equal_bytes
from pipeline.kernels.merge_queue import BEGIN, COUNT, LEVELS, PAIR, add, refill, sink
from pipeline.kernels.pair_totals import KEY, TOTAL, new_table, pair_key, slot_of, with_room

GAP = -1
"""Symbol of a cell that no token begins or ends in."""
UNLIMITED = 1 << 62
"""The greatest length of a token when there is none."""

SYMBOL, PIECE = 0, 1
_LOW = (1 << 32) - 1


@kernel
def count_cells(data, offsets, counts, symbols, utf8):  # type: ignore[no-untyped-def]
    """Cells and pieces that `lay_out` needs for the same arguments."""
    cells, pieces = 1, 0
    for piece in range(len(offsets) - 1):
        size = 0
        position = offsets[piece]
        while position < offsets[piece + 1]:
            value, position = _next_symbol(data, position, offsets[piece + 1], utf8)
            size += symbols[value] != GAP
        if size >= 2 and counts[piece] > 0:
            cells += size + 1
            pieces += 1
    return cells, pieces


@kernel
def lay_out(data, offsets, counts, symbols, utf8, cells, weights):  # type: ignore[no-untyped-def]
    """Write the pieces into cells.

    Args:
        data: uint8 [bytes], read-only: the pieces, one behind the other.
        offsets: int64 [pieces + 1], read-only.
        counts: int64 [pieces], read-only: how often each occurs; those that do not occur are left out.
        symbols: int32 [256] or [0x110000]: token id of each byte or code point; `GAP` leaves it out of the pieces.
        utf8: Whether symbols are code points.
        cells: int32 [cells, 2]: symbol and piece. Written.
        weights: int64 [pieces]: count of each piece. Written.
    """
    cell, written = 1, 0
    cells[0, SYMBOL] = GAP
    for piece in range(len(offsets) - 1):
        if counts[piece] <= 0:
            continue
        start = cell
        position = offsets[piece]
        size = 0
        while position < offsets[piece + 1]:
            value, position = _next_symbol(data, position, offsets[piece + 1], utf8)
            if symbols[value] != GAP:
                # The last cell may be behind the array when the piece turns out to have a single symbol.
                if start + size < len(cells):
                    cells[start + size, SYMBOL] = symbols[value]
                    cells[start + size, PIECE] = written
                size += 1
        if size >= 2:
            cell = start + size
            cells[cell, SYMBOL] = GAP
            cell += 1
            weights[written] = counts[piece]
            written += 1


@kernel
def count_characters(data, offsets, counts, totals):  # type: ignore[no-untyped-def]
    """Add up how often each code point occurs: totals int64 [0x110000]."""
    for piece in range(len(offsets) - 1):
        position = offsets[piece]
        while position < offsets[piece + 1]:
            value, position = _next_symbol(data, position, offsets[piece + 1], True)
            totals[value] += counts[piece]


@kernel
def _next_symbol(data, position, end, utf8):  # type: ignore[no-untyped-def]
    """The byte or code point at a position of valid UTF-8, and the position behind it."""
    first = np.int64(data[position])
    if not utf8 or first < 0x80:
        return first, position + 1
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    value = first & (0x7F >> size)
    for place in range(position + 1, min(position + size, end)):
        value = (value << 6) | (np.int64(data[place]) & 0x3F)
    return value, position + size


@kernel
def learn_merges(cells, weights, text, ends, lengths, reserved, known, vocab_size, min_frequency, max_length):  # type: ignore[no-untyped-def]
    """Merge the most frequent pair until the vocabulary has its size.

    Args:
        cells, weights: As `lay_out` wrote them. Cells are changed.
        text: uint8 [bytes]: the texts of the tokens so far, one behind the other.
        ends: int64 [known + 1]: token t is text[ends[t]:ends[t + 1]]; empty when no merge can make it.
        lengths: int32 [max(vocab_size, known)]: symbols of each token. Written for the new ones.
        reserved: Number of the first tokens, those that a merge may make again.
        known: Tokens so far: reserved ones and alphabet.
        vocab_size: Tokens to reach; fewer when no pair is frequent enough.
        min_frequency: The least count of a pair to be merged; at least 1.
        max_length: Two tokens are a pair when together they have fewer symbols, `UNLIMITED` for any.

    Returns:
        merges int32 [merges, 3] (left, right, result), text, ends of all tokens.
    """
    tokens = len(lengths)
    ends = np.concatenate((ends, np.zeros(tokens - known, np.int64)))
    table, entered, positions, batches, used = _first_batches(cells, weights, min_frequency)
    filled = batches[used, BEGIN]
    chains = np.full(LEVELS, -1, np.int64)
    heap, size, level = np.empty(1024, np.int64), 0, LEVELS
    for batch in range(used):
        heap, size = add(batches, chains, heap, size, level, batch)

    merges, merged = np.empty((max(16, tokens - known), 3), np.int32), 0
    # What a step does to pairs, by neighbour: those on the left first, those on the right `tokens` behind.
    lost, made = np.zeros(2 * tokens, np.int64), np.zeros(2 * tokens, np.int64)
    places, slots = np.zeros(2 * tokens, np.int64), np.empty(2 * tokens, np.uint64)
    touched = np.empty(2 * tokens, np.int64)
    event_neighbours, event_positions = np.empty(1024, np.int32), np.empty(1024, np.int32)

    while known < vocab_size:
        if size == 0:
            heap, size, level = refill(batches, chains, heap, level)
            if size == 0:
                break
        batch = heap[0]
        count = table[slot_of(table, batches[batch, PAIR]), TOTAL]
        size -= 1
        heap[0] = heap[size]
        sink(batches, heap, size, 0)
        if count != batches[batch, COUNT]:
            if count >= min_frequency:
                batches[batch, COUNT] = count
                heap, size = add(batches, chains, heap, size, level, batch)
            continue

        left, right = batches[batch, PAIR] >> 32, batches[batch, PAIR] & _LOW
        text, token = _named(text, ends, left, right, reserved, known)
        known = max(known, token + 1)
        left_length, right_length = lengths[left], lengths[right]
        length = lengths[token] = left_length + right_length
        if merged == len(merges):
            merges = np.concatenate((merges, np.empty_like(merges)))
        merges[merged, 0], merges[merged, 1], merges[merged, 2] = left, right, token
        merged += 1

        begin, end = batches[batch, BEGIN], batches[batch + 1, BEGIN]
        if 2 * (end - begin) > len(event_positions):
            event_neighbours = np.empty(4 * (end - begin), np.int32)
            event_positions = np.empty(4 * (end - begin), np.int32)
        happened, changed = 0, 0
        for place in range(begin, end):
            position = np.int64(positions[place])
            second = position + left_length
            if cells[position, SYMBOL] != left or cells[second, SYMBOL] != right:
                continue
            behind = second + right_length
            weight = weights[cells[position, PIECE]]
            if cells[position - 1, SYMBOL] >= 0:
                neighbour = np.int64(cells[position - 1, SYMBOL])
                if lost[neighbour] + made[neighbour] == 0:
                    touched[changed] = neighbour
                    changed += 1
                lost[neighbour] += weight
                if lengths[neighbour] + length < max_length:
                    made[neighbour] += weight
                    places[neighbour] += 1
                    event_neighbours[happened] = neighbour
                    event_positions[happened] = position - lengths[neighbour]
                    happened += 1
            if cells[behind, SYMBOL] >= 0:
                follower = np.int64(cells[behind, SYMBOL])
                neighbour = tokens + follower
                if lost[neighbour] + made[neighbour] == 0:
                    touched[changed] = neighbour
                    changed += 1
                lost[neighbour] += weight
                if lengths[follower] + length < max_length:
                    made[neighbour] += weight
                    places[neighbour] += 1
                    event_neighbours[happened] = neighbour
                    event_positions[happened] = position
                    happened += 1
            cells[second, SYMBOL] = GAP
            cells[position, SYMBOL] = token
            cells[behind - 1, SYMBOL] = token

        table = with_room(table, entered, changed)
        for neighbour in touched[:changed]:
            if made[neighbour] >= min_frequency:
                pair = pair_key(neighbour, token) if neighbour < tokens else pair_key(token, neighbour - tokens)
                slot = slot_of(table, pair)
                table[slot, KEY] = pair
                table[slot, TOTAL] = made[neighbour]
                slots[neighbour] = slot
                entered += 1
        # Afterwards: what was made may be lost again in the same step, where the pair stands twice in a row.
        for neighbour in touched[:changed]:
            pair = pair_key(neighbour, left) if neighbour < tokens else pair_key(right, neighbour - tokens)
            slot = slot_of(table, pair)
            if table[slot, KEY] == pair:
                table[slot, TOTAL] -= lost[neighbour]
        if used + changed >= len(batches):
            batches = np.concatenate((batches, np.empty((len(batches) + changed, 4), np.int64)))
        for neighbour in touched[:changed]:
            begin = np.int64(-1)
            if made[neighbour] >= min_frequency and table[slots[neighbour], TOTAL] >= min_frequency:
                begin = filled
                filled += places[neighbour]
                batches[used, COUNT] = table[slots[neighbour], TOTAL]
                batches[used, PAIR] = table[slots[neighbour], KEY]
                used += 1
                batches[used, BEGIN] = filled
                heap, size = add(batches, chains, heap, size, level, used - 1)
            lost[neighbour] = made[neighbour] = 0
            places[neighbour] = begin
        for event in range(happened):
            place = places[event_neighbours[event]]
            if place >= 0:
                positions[place] = event_positions[event]
                places[event_neighbours[event]] += 1
        for neighbour in touched[:changed]:
            places[neighbour] = 0
    return merges[:merged], text[: ends[known]], ends[: known + 1]


@kernel
def _first_batches(cells, weights, min_frequency):  # type: ignore[no-untyped-def]
    """Count all pairs of neighbouring symbols and sort the positions of those that are frequent enough by pair.

    Returns:
        The table of pairs, their number, positions int32 [room for all that will ever be], batches, their number.
    """
    table, entered, neighbours = new_table(1 << 12), 0, 0
    for cell in range(1, len(cells) - 1):
        if cells[cell, SYMBOL] >= 0 and cells[cell + 1, SYMBOL] >= 0:
            table = with_room(table, entered, 1)
            pair = pair_key(cells[cell, SYMBOL], cells[cell + 1, SYMBOL])
            slot = slot_of(table, pair)
            entered += table[slot, KEY] != pair
            table[slot, KEY] = pair
            table[slot, TOTAL] += weights[cells[cell, PIECE]]
            neighbours += 1
    sizes = np.zeros(len(table), np.int64)
    for cell in range(1, len(cells) - 1):
        if cells[cell, SYMBOL] >= 0 and cells[cell + 1, SYMBOL] >= 0:
            sizes[slot_of(table, pair_key(cells[cell, SYMBOL], cells[cell + 1, SYMBOL]))] += 1
    batches = np.empty((2 * entered + 1024, 4), np.int64)
    batch, begin = 0, 0
    for slot in range(len(table)):
        count = sizes[slot]
        sizes[slot] = -1
        if count and table[slot, TOTAL] >= min_frequency:
            batches[batch, COUNT] = table[slot, TOTAL]
            batches[batch, PAIR] = table[slot, KEY]
            batches[batch, BEGIN] = begin
            sizes[slot] = begin
            begin += count
            batch += 1
    batches[batch, BEGIN] = begin
    # A merge takes a pair of neighbours away and makes two at most. What is not used is never touched.
    positions = np.empty(3 * neighbours, np.int32)
    for cell in range(1, len(cells) - 1):
        if cells[cell, SYMBOL] >= 0 and cells[cell + 1, SYMBOL] >= 0:
            slot = slot_of(table, pair_key(cells[cell, SYMBOL], cells[cell + 1, SYMBOL]))
            if sizes[slot] >= 0:
                positions[sizes[slot]] = cell
                sizes[slot] += 1
    return table, entered, positions, batches, batch


@kernel
def _named(text, ends, left, right, reserved, known):  # type: ignore[no-untyped-def]
    """The texts with that of a merged token, and its id: `known`, or that of a reserved token with the same text."""
    start = ends[known]
    middle = start + ends[left + 1] - ends[left]
    end = middle + ends[right + 1] - ends[right]
    if end > len(text):
        text = np.concatenate((text, np.empty(max(end, 4096), np.uint8)))
    text[start:middle] = text[ends[left] : ends[left + 1]]
    text[middle:end] = text[ends[right] : ends[right + 1]]
    for token in range(reserved):
        if ends[token + 1] - ends[token] == end - start and equal_bytes(text, ends[token], start, end - start):
            return text, token
    ends[known + 1] = end
    return text, known


def warm_up() -> None:
    """Compile what Python calls."""
    data, offsets, counts = np.zeros(2, np.uint8), np.array([0, 2]), np.ones(1, np.int64)
    for array in (data, offsets, counts):
        array.flags.writeable = False
    symbols = np.zeros(256, np.int32)
    size, kept = count_cells(data, offsets, counts, symbols, False)
    cells, weights = np.empty((size, 2), np.int32), np.empty(kept, np.int64)
    lay_out(data, offsets, counts, symbols, False, cells, weights)
    count_characters(data, offsets, counts, np.zeros(256, np.int64))
    learn_merges(cells, weights, data.copy(), np.array([0, 1]), np.ones(2, np.int32), 0, 1, 2, 1, UNLIMITED)
