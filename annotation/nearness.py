"""Prompts that are nearly the same: most of their words, and pairs of words, are shared.

MinHash (Broder 1997, "On the resemblance and containment of documents"): of each of 32 hash functions the least value
over a prompt's words and pairs of words is kept, and two prompts agree in as many of these as their sets overlap
(Jaccard). Candidates are found by bands of four values (Leskovec et al., Mining of Massive Datasets, section 3.4), and
eight bits of each value are kept to estimate the overlap with (Li and König 2010). 64 bytes a prompt, however long.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BANDS, ROWS = 8, 4
ALIKE = 0.75  # estimated overlap from which two prompts are nearly the same
MOST_WORDS = 1000  # looked at in one prompt
LONG_TEXT, LONG_WORD = 4000, 40  # characters and bytes from which texts and words are looked at one by one
_chance, _most, _odd = np.random.default_rng(1997), 2**32 - 1, np.uint32(1)
FACTORS = _chance.integers(0, _most, BANDS * ROWS, dtype=np.uint32) | _odd
SHIFTS = _chance.integers(0, _most, BANDS * ROWS, dtype=np.uint32) | _odd
MIXERS = _chance.integers(0, _most, 2, dtype=np.uint32) | _odd
BESIDE = (_chance.integers(0, _most, 1, dtype=np.uint32) | _odd)[0]
# What eight bits in a row do to a CRC-32: of one byte after four of ones it is what zlib says, undone.
CRC_TABLE = np.array(
    [~zlib.crc32(bytes([byte])) & _most ^ 0x00FFFFFF for byte in range(255, -1, -1)], dtype=np.uint32
)  # fmt: skip
OF_BAND = _chance.integers(0, 2**64 - 1, ROWS, dtype=np.uint64) | np.uint64(1)


@dataclass
class NearPrompts:
    """Takes prompts as they come, each as its text made plain; tells which are nearly the same as an earlier one."""

    # Bytes that grow in place: arrays to be joined in the end would take twice the memory then.
    bands: bytearray = field(default_factory=bytearray)  # (prompts, BANDS) of uint32
    bits: bytearray = field(default_factory=bytearray)  # (prompts, BANDS * ROWS) of uint8

    def add(self, texts: list[str]) -> None:
        if texts:
            bands, bits = bands_and_bits(texts)
            self.bands += bands
            self.bits += bits

    def found(self) -> npt.NDArray[np.int64]:
        """For each prompt the place of an earlier one that it is nearly the same as, or its own."""
        bits, bands = self._arrays()
        like = np.arange(len(bits))
        for band in range(BANDS):
            earliest = first_of_each(bands[:, band])
            asked = np.flatnonzero((earliest < like) & (like == np.arange(len(like))))
            for part in np.array_split(asked, max(1, len(asked) // 100_000)):
                overlap = (bits[part] == bits[earliest[part]]).mean(axis=1)
                near = part[overlap >= ALIKE]
                like[near] = earliest[near]
        return like

    def groups(self, same: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each prompt the place of the first of its group: what is nearly the same as one of a group is of it.

        `same` has for each the place of an earlier one that is the very same, or its own. Of the prompts that share a
        band each is compared with the one before it, in the order of the next band, and with the first.
        """
        group = _joined(np.arange(len(same)), np.arange(len(same)), same)
        if not len(same):
            return group
        _, bands = self._arrays()
        for band in range(BANDS):
            keys, then = (bands[:, (band + step) % BANDS] for step in (0, 1))
            order = np.lexsort((then, keys))
            new = np.concatenate(([True], keys[order][1:] != keys[order][:-1]))
            begins, again = np.flatnonzero(new), np.flatnonzero(~new)
            first = begins[np.searchsorted(begins, again) - 1]
            for others in (again - 1, first):
                group = _joined(group, *self._near(order[again], order[others], group))
        return group

    def _arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
        """(prompts, BANDS * ROWS) bits and (prompts, BANDS) bands, in place."""
        bits = np.frombuffer(self.bits, dtype=np.uint8).reshape(-1, BANDS * ROWS)
        return bits, np.frombuffer(self.bands, dtype=np.uint32).reshape(-1, BANDS)

    def _near(
        self, ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Those of the pairs that are nearly the same and not of one group yet."""
        bits, _ = self._arrays()
        apart = group[ones] != group[others]
        ones, others = ones[apart], others[apart]
        near = np.zeros(len(ones), dtype=bool)
        for part in np.array_split(np.arange(len(ones)), max(1, len(ones) // 100_000)):
            near[part] = (bits[ones[part]] == bits[others[part]]).mean(axis=1) >= ALIKE
        return ones[near], others[near]


def bands_and_bits(texts: list[str]) -> tuple[bytes, bytes]:
    """What is kept of prompts to compare them by, one after the other."""
    least = _least(texts)
    mixed = (least.reshape(len(texts), BANDS, ROWS) * OF_BAND).sum(axis=2, dtype=np.uint64)
    bands = (mixed >> np.uint64(32)).astype(np.uint32)
    return bands.tobytes(), (least >> np.uint32(24)).astype(np.uint8).tobytes()


def first_of_each(keys: npt.NDArray[np.uint32] | npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each key the place of the first equal one."""
    if keys.dtype == np.uint32:  # sorted with their places behind them: twice as fast as to sort the places by them
        ordered: npt.NDArray[Any] = keys.astype(np.uint64)
        ordered <<= np.uint64(32)
        ordered |= np.arange(len(keys), dtype=np.uint64)
        ordered.sort()
        order = (ordered & np.uint64(2**32 - 1)).view(np.int64)
        ordered >>= np.uint64(32)
    else:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(keys)]
    found = np.empty_like(order)
    found[order] = np.repeat(order[new], np.diff(np.append(np.flatnonzero(new), len(keys))))
    return found


def _joined(
    group: npt.NDArray[np.int64], ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The groups once these pairs are of one: union by the lower place, then each place led to its group's first."""
    while len(ones):
        low, high = np.minimum(group[ones], group[others]), np.maximum(group[ones], group[others])
        np.minimum.at(group, high, low)
        while not np.array_equal(led := group[group], group):
            group = led
        apart = group[ones] != group[others]
        ones, others = ones[apart], others[apart]
    return group


def _least(texts: list[str]) -> npt.NDArray[np.uint32]:
    """(prompts, BANDS * ROWS): the least value of each hash function over a prompt's words and pairs of words.

    The functions are linear (Broder et al. 1998, "Min-wise independent permutations", section 7), which is enough for
    codes that are mixed well.
    """
    codes, lengths = _codes([_words(text) for text in texts])
    single = _mixed(codes)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    pairs = single.copy()  # the last word of a prompt stands for itself again
    inside = np.ones(len(single), dtype=bool)
    inside[starts[1:] - 1] = inside[-1] = False
    places = np.flatnonzero(inside)
    pairs[places] = _mixed(single[places] * BESIDE ^ single[places + 1])
    found = np.empty((BANDS * ROWS, len(texts)), dtype=np.uint32)
    values, others = np.empty_like(single), np.empty_like(single)
    for number, (factor, shift) in enumerate(zip(FACTORS, SHIFTS, strict=True)):
        for words, into in ((single, values), (pairs, others)):
            np.multiply(words, factor, out=into)
            np.add(into, shift, out=into)
        np.minimum(values, others, out=values)
        np.minimum.reduceat(values, starts, out=found[number])
    return np.ascontiguousarray(found.T)


def _words(text: str) -> bytes:
    """The first words of a text with one space between them."""
    if len(text) > LONG_TEXT or "  " in text or text[:1].isspace() or text[-1:].isspace():
        text = " ".join(text.split(None, MOST_WORDS)[:MOST_WORDS])
    return text.encode()


def _codes(texts: list[bytes]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The CRC-32 of every word, one text after the other, and how many words each text has.

    All words go through the table together, letter by letter, the longest first, so that those which have ended are
    left out: as an object for each of them, words took half the time of a sketch.
    """
    joined = b" ".join(texts)
    data = np.frombuffer(joined, dtype=np.uint8)
    ends = np.append(np.flatnonzero(data == ord(" ")), len(data))
    starts = np.concatenate(([0], ends[:-1] + 1))
    order = np.argsort(np.minimum(starts - ends, 0).clip(-LONG_WORD - 1).astype(np.int16), kind="stable")
    begin, sizes = starts[order], (ends - starts)[order]
    codes = np.full(len(order), 2**32 - 1, dtype=np.uint32)
    for letter in range(min(int(sizes[0]), LONG_WORD)):
        more = np.count_nonzero(sizes > letter)
        part = codes[:more]
        part[:] = CRC_TABLE[(part ^ data[begin[:more] + letter]) & np.uint32(255)] ^ (part >> np.uint32(8))
    codes = ~codes
    for place in range(np.count_nonzero(sizes > LONG_WORD)):
        codes[place] = zlib.crc32(joined[begin[place] : begin[place] + sizes[place]])
    found = np.empty_like(codes)
    found[order] = codes
    return found, np.fromiter((text.count(b" ") + 1 for text in texts), dtype=np.int64, count=len(texts))


def _mixed(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    for mixer in MIXERS:
        codes = (codes ^ (codes >> np.uint32(15))) * mixer
    return codes ^ (codes >> np.uint32(16))
