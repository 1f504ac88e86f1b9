"""A back-off n-gram model as sorted arrays: one Arrow file, memory-mapped, scored whole batches at a time.

An n-gram of order k is the place of its first k-1 tokens in the order below and its last token, packed into one
64-bit key; each order is the ascending list of its keys. So looking up the n-grams that end at all positions of a
text is one binary search an order over whole arrays, and workers on one machine share the file's pages.

Decisions: probabilities are kept interpolated, with a back-off weight for each context, which is the ARPA form: a
longer n-gram that is known gives the probability, else that of the shorter one times the weight of the context.
Stored as 32-bit floats (relative error 6e-8).

Cost: 16 bytes an n-gram on disk; about one million tokens a CPU-second at order 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.errors import UserError

_SCHEMA = pa.schema([("key", pa.int64()), ("log_probability", pa.float32()), ("backoff", pa.float32())])
_KIND = "gptmill n-gram model 1"


@dataclass(frozen=True)
class Order:
    """The n-grams of one length."""

    keys: np.ndarray
    """int64[n], ascending: place of the prefix in the order below x vocabulary + last token."""
    log_probability: np.ndarray
    """float[n]: natural logarithm of the probability of the last token after the others."""
    backoff: np.ndarray
    """float[n]: natural logarithm of the weight of shorter n-grams after this one."""


@dataclass(frozen=True)
class NgramModel:
    """A language model over token ids."""

    vocabulary: int
    """Number of token ids."""
    start: int
    """The token that begins each document."""
    orders: Sequence[Order]
    """Unigrams first; these hold the whole vocabulary, so a token's place is its id."""

    def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Natural logarithm of each token's probability after those before it: float64[n]; 0 for `start`.

        `tokens` is int64[n]; each document in it begins with `start`.
        """
        begins = tokens == self.start
        result = np.where(begins, 0.0, self.orders[0].log_probability[tokens].astype(np.float64))
        # Positions whose context is known at the current order, and the place of that context.
        ends = np.flatnonzero(~begins)
        context = tokens[ends - 1]
        for order, below in zip(self.orders[1:], self.orders, strict=False):
            keys = context * self.vocabulary + tokens[ends]
            place = np.searchsorted(order.keys, keys)
            place[place == len(order.keys)] = 0
            known = order.keys[place] == keys if len(order.keys) else np.zeros(len(keys), bool)
            result[ends] = np.where(
                known,
                order.log_probability[place] if len(order.keys) else 0.0,
                result[ends] + below.backoff[context],
            )
            place_of_end = np.full(len(tokens), -1, np.int64)
            place_of_end[ends[known]] = place[known]
            ends = np.flatnonzero(~begins & (np.roll(place_of_end, 1) >= 0))
            context = place_of_end[ends - 1]
        return result

    def save(self, url: str) -> str:
        """Write the model as an Arrow IPC file, a record batch an order; returns the file's sha256."""
        metadata = {"kind": _KIND, "vocabulary": str(self.vocabulary), "start": str(self.start)}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, _SCHEMA.with_metadata(metadata)) as writer:
            for order in self.orders:
                floats = [values.astype(np.float32) for values in (order.log_probability, order.backoff)]
                writer.write_batch(pa.record_batch([order.keys, *floats], schema=_SCHEMA))
        data = sink.getvalue()
        with storage.write_atomically(url) as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, url: str) -> NgramModel:
        """Open a saved model; memory-mapped on local disk.

        Raises:
            UserError: the file is missing, truncated or no n-gram model.
        """
        try:
            if storage.is_local(url):
                source = pa.memory_map(str(storage.local_path(url)))
            else:
                source = pa.py_buffer(storage.read_bytes(url))
            reader = pa.ipc.open_file(source)
            metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
            if metadata.get("kind") != _KIND:
                raise UserError(f"{url} is no n-gram model of this gptmill (wanted: {_KIND}): choose another file")
            orders = []
            for place in range(reader.num_record_batches):
                batch = reader.get_batch(place)
                orders.append(Order(*(batch.column(field.name).to_numpy() for field in _SCHEMA)))
        except FileNotFoundError as fault:
            raise UserError(f"n-gram model {url} is missing: run the same command again to train it") from fault
        except pa.ArrowInvalid as fault:
            raise UserError(
                f"n-gram model {url} is damaged or truncated ({fault}): remove it and run the same command again"
            ) from fault
        return cls(int(metadata["vocabulary"]), int(metadata["start"]), orders)
