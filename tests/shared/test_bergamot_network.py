"""The converted graphs compute the network, and networks this runtime does not implement are refused by name."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bergamot_model import (
    FLOAT32,
    TinyModel,
    Tying,
    container_bytes,
    load_vocabulary,
    shortlist_bytes,
    vocabulary_bytes,
)
from bergamot_reference import ReferenceNetwork
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PackCorrupt, PackError, PackUnsupported
from shared.models.bergamot import layout
from shared.models.bergamot.beam import beam_search, session_step
from shared.models.bergamot.convert import convert_bergamot
from shared.models.bergamot.options import DEFAULT_HEADS, parse_options, read_options
from shared.models.bergamot.translator import BergamotTranslator, sinusoidal_positions
from shared.models.session import open_session

SENTENCES = ("a rua está fechada", "o museu", "é proibido fumar na estação", "saída")
QUANTISED_TOLERANCE = 0.02  # a sum in another order may round one activation the other way
FLOAT_TOLERANCE = 0.05

Item = tuple[str, int, tuple[int, ...], bytes]


def source_ids(text: str) -> list[int]:
    return [*load_vocabulary().EncodeAsIds(text), 0]


def limit_of(source: list[int]) -> int:
    return int(2.5 * len(source)) + 3


def write_with(folder: Path, change: Callable[[list[Item]], list[Item]], **settings_: object) -> Path:
    model = TinyModel(**settings_)  # type: ignore[arg-type]
    model.write(folder)
    (folder / "model.pten.intgemm.alphas.bin").write_bytes(container_bytes(change(model.items())))
    return folder


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 3, 7])
def test_greedy_decoding_equals_the_network_in_numpy(tmp_path: Path, seed: int, quantised: bool) -> None:
    model = TinyModel(seed=seed)
    translator = BergamotTranslator.load(model.install(tmp_path))
    reference = ReferenceNetwork(model, quantised=quantised)
    for text in SENTENCES[:3]:
        source = source_ids(text)
        tokens, scores = reference.greedy(source, limit_of(source))
        translation = translator.translate(text)
        assert translation.text == load_vocabulary().DecodeIds([token for token in tokens if token])
        tolerance = QUANTISED_TOLERANCE if quantised else FLOAT_TOLERANCE
        np.testing.assert_allclose(translation.token_log_probabilities, scores, atol=tolerance)
        assert translation.source_tokens == len(source)


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_rounds_one_by_one_equal_the_loop(tmp_path: Path, seed: int) -> None:
    model = TinyModel(seed=seed)
    pack = model.install(tmp_path)
    translator = BergamotTranslator.load(pack)
    factor = np.float32(model.scales["Wemb"] * np.sqrt(model.width))
    encoder, decoder = (open_session(pack.path(name)) for name in (layout.ENCODER_NAME, layout.DECODER_NAME))
    for text in SENTENCES:
        source = source_ids(text)
        ids = model.candidates(source)
        rows = model.matrices["Wemb"][ids]
        positions = sinusoidal_positions(limit_of(source), model.width)
        embedded = model.matrices["Wemb"][source] * factor + positions[: len(source)]
        context = dict(
            zip(encoder.output_names, encoder.run({"embedded": embedded[None], "outputs": rows}), strict=True)
        )

        def embed(chosen: Sequence[int], rows: np.ndarray = rows) -> np.ndarray:
            return (rows[list(chosen)] * factor)[None]

        best = beam_search(
            session_step(decoder, {**context, "candidates": rows, "bias": model.bias[ids]}),
            embed=embed,
            candidates=len(ids),
            positions=positions,
            layers=model.layers,
            width=1,
            limit=limit_of(source),
        )
        greedy = translator.translate(text)
        assert load_vocabulary().DecodeIds([ids[index] for index in best.candidates if index]) == greedy.text
        np.testing.assert_allclose(best.log_probabilities, greedy.token_log_probabilities, atol=1e-5)


SHAPES: dict[str, dict[str, Any]] = {
    "shallow": {"layers": 1},
    "deeper decoder, as base-memory": {"layers": 3, "decoder_layers": 4, "width": 48, "heads": 8, "inner": 64},
    "wide, as base": {"width": 64, "heads": 8, "inner": 128, "decoder_layers": 1},
    "one head": {"width": 16, "heads": 1, "inner": 16},
    "wider decoder block": {"decoder_inner": 80},
    "swish": {"activation": "swish"},
    "feed-forward blocks of one layer": {"feed_forward_layers": 1},
    "feed-forward blocks of three layers": {"feed_forward_layers": 3},
    "no bias": {"has_bias": False, "end_bias": 0.0},
    "no shortlist": {"has_shortlist": False},
    "two vocabularies": {"tying": Tying.TARGET, "two_vocabularies": True},
    "two vocabularies, no shortlist": {"tying": Tying.TARGET, "two_vocabularies": True, "has_shortlist": False},
    "two vocabularies, nothing tied": {"tying": Tying.NONE, "two_vocabularies": True},
    "two embeddings of one vocabulary": {"tying": Tying.TARGET},
    "output not tied": {"tying": Tying.SOURCE},
    "output stored the old way": {"tying": Tying.LEGACY},
    "float32 embeddings": {"float_tables": True},
    "float32 tables, nothing tied": {"tying": Tying.NONE, "two_vocabularies": True, "float_tables": True},
}


@pytest.mark.parametrize("settings_", SHAPES.values(), ids=SHAPES)
def test_networks_of_any_shape_equal_the_network_in_numpy(tmp_path: Path, settings_: dict[str, Any]) -> None:
    model = TinyModel(seed=5, **{"end_bias": -1.0, **settings_})
    translator = BergamotTranslator.load(model.install(tmp_path))
    reference = ReferenceNetwork(model, quantised=True)
    lengths = []
    for text in SENTENCES[:2]:
        source = source_ids(text)
        tokens, scores = reference.greedy(source, limit_of(source))
        translation = translator.translate(text)
        decoded = load_vocabulary(model.target_language).DecodeIds([token for token in tokens if token])
        assert translation.text == decoded
        np.testing.assert_allclose(translation.token_log_probabilities, scores, atol=QUANTISED_TOLERANCE)
        assert translator.translate(text, beam=3).mean_log_probability > -20
        lengths.append(len(tokens))
    assert max(lengths) > 2


def test_embedded_configuration_is_not_needed(tmp_path: Path) -> None:
    model = TinyModel(
        seed=3, heads=DEFAULT_HEADS, layers=1, decoder_layers=3, tying=Tying.NONE, two_vocabularies=True, config=None
    )
    translator = BergamotTranslator.load(model.install(tmp_path))
    source = source_ids(SENTENCES[0])
    _, scores = ReferenceNetwork(model, quantised=True).greedy(source, limit_of(source))
    np.testing.assert_allclose(
        translator.translate(SENTENCES[0]).token_log_probabilities, scores, atol=QUANTISED_TOLERANCE
    )


def test_conversion_is_deterministic(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        names = convert_bergamot(source, tmp_path / name)
        contents.append({file: (tmp_path / name / file).read_bytes() for file in names})
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == names
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dec-cell", "gru"),
        ("type", "s2s"),
        ("transformer-decoder-autoreg", "self-attention"),
        ("transformer-decoder-autoreg", "average-attention"),
        ("transformer-preprocess", "n"),
        ("transformer-postprocess", "dhn"),
        ("transformer-postprocess-top", "n"),
        ("transformer-postprocess-emb", "[d]"),
        ("transformer-ffn-activation", "gelu"),
        ("transformer-tied-layers", "[1, 1]"),
        ("transformer-train-position-embeddings", "true"),
        ("input-types", "\n  - sequence\n  - class"),
        ("lemma-dim-emb", "64"),
        ("layer-normalization", "true"),
        ("right-left", "true"),
        ("ulr", "true"),
        ("dim-vocabs", "[60, 60, 60]"),
    ],
)
def test_other_networks_are_refused_by_the_name_of_the_option(tmp_path: Path, key: str, value: str) -> None:
    config = TinyModel().config or ""
    changed = re.sub(rf"^{key}:.*\n(  - .*\n)*", "", config, flags=re.MULTILINE) + f"{key}: {value}\n"
    source = TinyModel(config=changed).write(tmp_path / "source")
    with pytest.raises(PackUnsupported, match=rf"model\.pten.* has {key}: "):
        convert_bergamot(source, tmp_path)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("enc-depth: 2", "enc-depth: 6"),
        ("dec-depth: 2", "dec-depth: 1"),
        ("dim-emb: 32", "dim-emb: 64"),
        ("transformer-dim-ffn: 48", "transformer-dim-ffn: 1536"),
        ("transformer-ffn-depth: 2", "transformer-ffn-depth: 3"),
        ("transformer-ffn-depth: 2", "transformer-ffn-depth: two"),
        ("transformer-heads: 4", "transformer-heads: 1e9"),
        ("tied-embeddings-all: true", "tied-embeddings-all: false"),
        ("tied-embeddings-all: true", "tied-embeddings-all: perhaps"),
        ("output-omit-bias: false", "output-omit-bias: true"),
        ("dim-vocabs: \n  - 45", "dim-vocabs: \n  - 44"),
    ],
)
def test_configuration_that_contradicts_the_parameters_is_corrupt(tmp_path: Path, line: str, changed: str) -> None:
    config = TinyModel().config or ""
    assert line in config
    source = TinyModel(config=config.replace(line, changed)).write(tmp_path / "source")
    with pytest.raises(PackCorrupt, match=r"model\.pten"):
        convert_bergamot(source, tmp_path)


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path: Path) -> None:
    config = (TinyModel().config or "").replace("transformer-heads: 4", "transformer-heads: 5")
    with pytest.raises(PackUnsupported, match="width 32 and 5 heads"):
        convert_bergamot(TinyModel(config=config).write(tmp_path / "source"), tmp_path)


def test_absent_parameter_is_refused_by_name(tmp_path: Path) -> None:
    source = write_with(tmp_path / "source", lambda items: [item for item in items if item[0] != "encoder_l2_ffn_b1"])
    with pytest.raises(PackUnsupported, match="encoder_l2_ffn_b1"):
        convert_bergamot(source, tmp_path)


def test_unknown_parameter_is_refused_by_name(tmp_path: Path) -> None:
    extra: Item = ("encoder_emb_ln_bias", FLOAT32, (1, 1), bytes(4))
    source = write_with(tmp_path / "source", lambda items: [*items, extra])
    with pytest.raises(PackUnsupported, match="encoder_emb_ln_bias"):
        convert_bergamot(source, tmp_path)


def test_float_weights_are_refused_by_name(tmp_path: Path) -> None:
    name = "decoder_l1_rnn_W"

    def widen(items: list[Item]) -> list[Item]:
        return [(name, FLOAT32, item[2], bytes(4 * 32 * 32)) if item[0] == name else item for item in items]

    with pytest.raises(PackUnsupported, match=name):
        convert_bergamot(write_with(tmp_path / "source", widen), tmp_path)


def test_absent_and_doubled_source_files_are_refused(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    (source / "trgvocab.pten.spm").write_bytes(b"")
    with pytest.raises(PackUnsupported, match="several"):
        convert_bergamot(source, tmp_path)
    (source / "trgvocab.pten.spm").unlink()
    (source / "lex.2.pten.bin").write_bytes(b"")
    with pytest.raises(PackUnsupported, match="several"):
        convert_bergamot(source, tmp_path)
    (source / "vocab.pten.spm").unlink()
    with pytest.raises(PackCorrupt, match="vocab"):
        convert_bergamot(source, tmp_path)
    (source / "model.pten.intgemm.alphas.bin").unlink()
    with pytest.raises(PackCorrupt, match="model"):
        convert_bergamot(source, tmp_path)


def test_vocabularies_may_be_named_after_their_languages(tmp_path: Path) -> None:
    model = TinyModel(tying=Tying.TARGET, two_vocabularies=True)
    source = model.write(tmp_path / "source")
    first = {file.name: (tmp_path / "pack" / file.name).read_bytes() for file in model.install(tmp_path).manifest.files}
    (source / "srcvocab.pten.spm").rename(source / "vocab.pt.spm")
    (source / "trgvocab.pten.spm").rename(source / "vocab.en.spm")
    again = tmp_path / "again"
    again.mkdir()
    assert {name: (again / name).read_bytes() for name in convert_bergamot(source, again)} == first


@pytest.mark.parametrize(
    ("pair", "codes"),
    [("nben", ("no", "en")), ("zh_hansen", ("zh", "en")), ("enzh_hant", ("en", "")), ("mine", ("mi", "ne"))],
)
def test_languages_come_from_the_file_name_as_codes(tmp_path: Path, pair: str, codes: tuple[str, str]) -> None:
    source = TinyModel(layers=1).write(tmp_path / "source")
    (source / "model.pten.intgemm.alphas.bin").rename(source / f"model.{pair}.intgemm.alphas.bin")
    convert_bergamot(source, tmp_path)
    config = json.loads((tmp_path / layout.CONFIG_NAME).read_bytes())
    assert (config["source"], config["target"]) == codes


def test_two_vocabularies_with_the_same_bytes_are_one(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    (source / "vocab.pten.spm").rename(source / "srcvocab.pten.spm")
    (source / "trgvocab.pten.spm").write_bytes(vocabulary_bytes())
    names = convert_bergamot(source, tmp_path)
    assert layout.SOURCE_VOCABULARY_NAME not in names


def test_two_vocabularies_of_one_embedding_are_refused(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    (source / "vocab.pten.spm").rename(source / "srcvocab.pten.spm")
    (source / "trgvocab.pten.spm").write_bytes(vocabulary_bytes("en"))
    with pytest.raises(PackCorrupt, match=r"trgvocab\.pten\.spm has"):
        convert_bergamot(source, tmp_path)


def test_tables_of_different_widths_are_refused(tmp_path: Path) -> None:
    model = TinyModel(tying=Tying.TARGET, two_vocabularies=True)
    model.matrices["decoder_Wemb"] = model.matrices["decoder_Wemb"][:, :-8]
    with pytest.raises(PackUnsupported, match=r"decoder_Wemb .* instead of \(any, 32\)"):
        convert_bergamot(model.write(tmp_path / "source"), tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    (source / "vocab.pten.spm").write_bytes(b"no vocabulary")
    with pytest.raises(PackCorrupt, match="SentencePiece"):
        convert_bergamot(source, tmp_path)
    TinyModel().write(source)
    (source / "lex.50.50.pten.s2t.bin").write_bytes(shortlist_bytes([[1], [2]]))
    with pytest.raises(PackCorrupt, match="does not belong"):
        convert_bergamot(source, tmp_path)


def test_any_wrong_shape_is_refused_by_name(tmp_path: Path) -> None:
    names = [name for name in TinyModel().matrices if name != "Wemb"]
    for name in names:
        model = TinyModel()
        model.matrices[name] = model.matrices[name][:-1, :]
        with pytest.raises((PackUnsupported, PackCorrupt)):
            convert_bergamot(model.write(tmp_path / "source"), tmp_path)


@pytest.mark.parametrize("kind", ["model", "lex", "vocab"])
def test_model_folder_with_a_file_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    source = TinyModel().write(tmp_path / "source")
    (path,) = source.glob(f"{kind}*")
    data = path.read_bytes()
    for share in range(0, 100, 4):
        path.write_bytes(data[: len(data) * share // 100])
        with pytest.raises(PackError):
            convert_bergamot(source, tmp_path)


def test_options_are_read_from_the_yaml_marian_writes() -> None:
    text = """\
# comment
a: 1
b: "x y"
c: ''
list:
  - 3
  - four
flow: [5, 'six']
empty: []
nested:
  key: value
d: last
"""
    assert parse_options(text) == {
        "a": "1",
        "b": "x y",
        "c": "",
        "list": ("3", "four"),
        "flow": ("5", "six"),
        "empty": (),
        "nested": (),
        "d": "last",
    }


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_as_configuration_is_read_or_refused_with_a_typed_error(text: str) -> None:
    with contextlib.suppress(PackError):
        assert read_options(text, origin="model.bin").heads >= 0


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_model_converts_or_is_refused_with_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    source = TinyModel().write(folder / "source")
    path = source / "model.pten.intgemm.alphas.bin"
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, 9000))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with contextlib.suppress(PackError):
        assert layout.ENCODER_NAME in convert_bergamot(source, folder)
