"""The readers of a Bergamot model's files: what they return, and that damaged files end in typed errors."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bergamot_model import (
    CHARACTERS,
    FLOAT32,
    FREQUENT,
    INTGEMM8,
    TinyModel,
    Tying,
    container_bytes,
    sealed,
    shortlist_bytes,
    vocabulary_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PackCorrupt, PackError, PackUnsupported
from shared.models.bergamot.container import QuantisedMatrix, parse_model, read_model
from shared.models.bergamot.shortlist import Shortlist
from shared.models.bergamot.vocabulary import Vocabulary

LISTS = [[5, 9], [], [7], [9, 11, 12]]
TARGETS = 13


@cache
def model_bytes() -> bytes:
    return container_bytes(TinyModel().items())


def parse_shortlist(data: bytes, source_size: int = len(LISTS), target_size: int = TARGETS) -> Shortlist:
    return Shortlist.parse_marian(data, origin="lex.bin", source_size=source_size, target_size=target_size)


def parse_pack_shortlist(data: bytes, source_size: int = len(LISTS), target_size: int = TARGETS) -> Shortlist:
    return Shortlist.parse(data, origin="shortlist.bin", source_size=source_size, target_size=target_size)


def lists_of(shortlist: Shortlist) -> list[list[int]]:
    return [shortlist.targets(token).tolist() for token in range(len(shortlist.offsets) - 1)]


def single(name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return container_bytes([(name, kind, shape, data)])


def test_container_gives_back_every_parameter() -> None:
    model = TinyModel()
    parsed = parse_model(model_bytes(), origin="model.bin")
    assert set(parsed.parameters) == set(model.matrices) | set(model.vectors)
    for name, values in model.matrices.items():
        found = parsed.parameters[name]
        assert isinstance(found, QuantisedMatrix)
        np.testing.assert_array_equal(found.values, values)
        assert found.scale == pytest.approx(model.scales[name], rel=1e-6)
    for name, values in model.vectors.items():
        np.testing.assert_array_equal(parsed.parameters[name], values[None])
    assert parsed.config == model.config


def test_every_embedding_is_stored_row_by_row() -> None:
    model = TinyModel(tying=Tying.NONE)
    parsed = parse_model(container_bytes(model.items()), origin="model.bin")
    for name in ("encoder_Wemb", "decoder_Wemb", "decoder_ff_logit_out_Wt"):
        found = parsed.parameters[name]
        assert isinstance(found, QuantisedMatrix)
        np.testing.assert_array_equal(found.values, model.matrices[name])


def test_empty_activation_range_is_passed_over() -> None:
    data = container_bytes([("decoder_Wemb_QuantMultA", INTGEMM8, (0,), b""), ("W", FLOAT32, (1,), bytes(4))])
    assert set(parse_model(data, origin="model.bin").parameters) == {"W"}


def test_container_cut_at_any_byte_is_corrupt() -> None:
    data = container_bytes(TinyModel(width=8, heads=2, inner=4, layers=1).items()[:6])
    for size in range(len(data)):
        with pytest.raises(PackCorrupt):
            parse_model(data[:size], origin="model.bin")


@given(st.integers(0, len(model_bytes()) - 1))
@settings(max_examples=80, deadline=None)
def test_large_container_cut_anywhere_is_corrupt(size: int) -> None:
    with pytest.raises(PackCorrupt):
        parse_model(model_bytes()[:size], origin="model.bin")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_changed_container_is_read_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    damaged = bytearray(model_bytes())
    # The tables in front decide what is read, so most of the damage goes there.
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.one_of(st.integers(0, 9000), st.integers(0, len(damaged) - 1)))
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PackError):
        parsed = parse_model(bytes(damaged), origin="model.bin")
        assert len(parsed.parameters) <= len(TinyModel().items())


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PackError):
        parse_model(data, origin="model.bin")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<QQ", 1, 2**63),
        struct.pack("<QQ", 1, 4096),
        struct.pack("<QQQQQQ", 1, 1, 2**40, FLOAT32, 2, 4),
        struct.pack("<QQQQQQ", 1, 1, 2, FLOAT32, 2**40, 4) + b"W\0",
        struct.pack("<QQQQQQ", 1, 1, 2, FLOAT32, 1, 2**62) + b"W\0" + struct.pack("<iQ", 1, 0),
        struct.pack("<QQQQQQ", 1, 1, 2, FLOAT32, 1, 4) + b"W\0" + struct.pack("<iQ", 1, 2**63),
        single("W", FLOAT32, (2**31 - 1, 2**31 - 1), bytes(8)),
        single("W", INTGEMM8, (2**31 - 1, 2**31 - 1), bytes(8)),
        single("W", FLOAT32, (-1, 4), bytes(16)),
    ],
)
def test_giant_claims_are_refused_without_allocating(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PackCorrupt):
            parse_model(data, origin="model.bin")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (single("W", FLOAT32, (1, 1), struct.pack("<f", float("nan"))), "not finite"),
        (single("W", INTGEMM8, (1, 2), bytes(2) + struct.pack("<f", float("inf"))), "multiplier"),
        (single("W", INTGEMM8, (1, 2), bytes(2) + struct.pack("<f", 0.0)), "multiplier"),
        (single("W", INTGEMM8, (2,), bytes(6)), "shape"),
        (container_bytes([("W", FLOAT32, (1,), bytes(4))] * 2), "twice"),
        (single("W", FLOAT32, (1,), bytes(4)) + b"tail", "follow"),
        (single("special:model.yml", CHARACTERS, (2,), b"\xff\0"), "UTF-8"),
        (single("special:model.yml", FLOAT32, (1,), bytes(4)), "no text"),
    ],
)
def test_impossible_contents_are_named(data: bytes, words: str) -> None:
    with pytest.raises(PackCorrupt, match=words):
        parse_model(data, origin="model.bin")


def test_other_weight_types_are_unsupported_by_name() -> None:
    with pytest.raises(PackUnsupported, match="W_odd"):
        parse_model(single("W_odd", 0x4102, (1, 1), bytes(8)), origin="model.bin")


def test_absent_container_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(PackCorrupt, match="missing"):
        read_model(tmp_path / "model.bin")


def test_candidates_are_end_then_frequent_and_listed_tokens() -> None:
    shortlist = parse_shortlist(shortlist_bytes(LISTS, frequent=4))
    assert shortlist.candidates([3, 0, 3], end=0).tolist() == [0, 1, 2, 3, 5, 9, 11, 12]
    assert shortlist.candidates([1], end=2).tolist() == [2, 0, 1, 3]


def test_source_tokens_are_candidates_where_both_sides_share_them() -> None:
    shortlist = parse_shortlist(shortlist_bytes([[], [], [5], []], frequent=1))
    assert shortlist.candidates([2], end=0, copied=True).tolist() == [0, 2, 5]
    assert shortlist.candidates([2], end=0).tolist() == [0, 5]


def test_barred_token_is_no_candidate() -> None:
    shortlist = parse_shortlist(shortlist_bytes(LISTS, frequent=4))
    assert shortlist.candidates([1, 3], end=0, copied=True, barred=1).tolist() == [0, 2, 3, 9, 11, 12]


@given(
    st.lists(st.lists(st.integers(0, 69_999), max_size=6), min_size=1, max_size=8),
    st.sampled_from([70_000, 65_536]),
    st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_pack_file_gives_the_lists_back(lists: list[list[int]], target_size: int, frequent: int) -> None:
    lists = [sorted({target % target_size for target in entries}) for entries in lists]
    upstream = parse_shortlist(shortlist_bytes(lists, frequent), len(lists), target_size)
    again = parse_pack_shortlist(upstream.to_bytes(), len(lists), target_size)
    assert again.frequent == frequent
    assert lists_of(again) == [[target for target in entries if target >= frequent] for entries in lists]


def test_shortlist_cut_at_any_byte_is_corrupt() -> None:
    upstream = shortlist_bytes(LISTS)
    packed = parse_shortlist(upstream).to_bytes()
    for size in range(len(upstream)):
        with pytest.raises(PackCorrupt):
            parse_shortlist(upstream[:size])
    for size in range(len(packed)):
        with pytest.raises(PackCorrupt):
            parse_pack_shortlist(packed[:size])


def test_shortlist_with_any_bit_turned_is_corrupt() -> None:
    upstream = shortlist_bytes(LISTS)
    for position in range(len(upstream) - len(upstream) % 8):
        damaged = bytearray(upstream)
        damaged[position] ^= 1 << position % 8
        if 24 <= position < 32:  # how many were best when the lists were made: said, and used by nobody
            damaged = bytearray(sealed(bytes(damaged)))
            assert lists_of(parse_shortlist(bytes(damaged))) == lists_of(parse_shortlist(upstream))
            continue
        with pytest.raises(PackCorrupt):
            parse_shortlist(bytes(damaged))


@given(st.lists(st.tuples(st.integers(16, len(shortlist_bytes(LISTS)) - 1), st.integers(0, 255)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_changed_shortlist_never_names_a_token_outside_the_vocabulary(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(shortlist_bytes(LISTS))
    for position, value in changes:
        damaged[position] = value
    try:
        shortlist = parse_shortlist(sealed(bytes(damaged)))
    except PackCorrupt:
        return
    candidates = shortlist.candidates(range(len(LISTS)), end=0)
    assert candidates[0] == 0
    assert candidates.min() >= 0
    assert candidates.max() < TARGETS


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_changed_pack_shortlist_never_names_a_token_outside_the_vocabulary(data: st.DataObject) -> None:
    whole = parse_shortlist(shortlist_bytes(LISTS)).to_bytes()
    header, planes = bytearray(whole[:24]), bytearray(zlib.decompress(whole[24:]))
    for part in (header, planes):
        for _ in range(data.draw(st.integers(0, 2))):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    try:
        shortlist = parse_pack_shortlist(bytes(header) + zlib.compress(planes))
    except PackCorrupt:
        return
    candidates = shortlist.candidates(range(len(LISTS)), end=0)
    assert candidates.max() < TARGETS


def test_pack_shortlist_that_unpacks_to_much_is_refused_without_unpacking() -> None:
    bomb = zlib.compress(bytes(32 << 20), 1)
    tracemalloc.start()
    try:
        for entries in (2, 1 << 22, 2**32 - 1):
            with pytest.raises(PackCorrupt):
                parse_pack_shortlist(struct.pack("<8s4I", b"WWLEX\x01\0\0", len(LISTS), TARGETS, 0, entries) + bomb)
        assert tracemalloc.get_traced_memory()[1] < 24_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_random_bytes_are_no_shortlist(data: bytes) -> None:
    with pytest.raises(PackCorrupt):
        parse_shortlist(data)
    with pytest.raises(PackCorrupt):
        parse_pack_shortlist(data)


def test_shortlist_of_another_vocabulary_is_refused() -> None:
    data = shortlist_bytes(LISTS)
    with pytest.raises(PackCorrupt, match="does not belong"):
        parse_shortlist(data, source_size=len(LISTS) + 1)
    with pytest.raises(PackCorrupt, match="does not belong"):
        parse_shortlist(data, target_size=FREQUENT - 1)
    with pytest.raises(PackCorrupt, match="outside"):
        parse_shortlist(data, target_size=12)
    packed = parse_shortlist(data).to_bytes()
    with pytest.raises(PackCorrupt, match="does not belong"):
        parse_pack_shortlist(packed, source_size=len(LISTS) + 1)
    with pytest.raises(PackCorrupt, match="does not belong"):
        parse_pack_shortlist(packed, target_size=TARGETS + 1)


def test_shortlist_offsets_must_rise() -> None:
    data = bytearray(shortlist_bytes(LISTS))
    struct.pack_into("<Q", data, 48 + 8, 2**63)
    with pytest.raises(PackCorrupt, match="order"):
        parse_shortlist(sealed(bytes(data)))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_vocabulary_is_read_or_refused_with_a_typed_error(data: st.DataObject) -> None:
    damaged = bytearray(vocabulary_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The pieces come first; a long table for normalising text follows.
        position = data.draw(st.one_of(st.integers(0, 800), st.integers(0, len(damaged) - 1)))
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PackError):
        vocabulary = Vocabulary(bytes(damaged), origin="vocab.spm")
        vocabulary.check_pieces()
        assert all(0 <= piece < vocabulary.size for piece in vocabulary.encode("o museu abre às dez"))


def test_piece_that_is_no_text_is_found() -> None:
    data = vocabulary_bytes().replace("é".encode(), b"\xc3\x28")
    with pytest.raises(PackCorrupt):
        Vocabulary(data, origin="vocab.spm").check_pieces()
