"""The converted graphs compute the network, and networks this runtime does not implement are refused by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bergamot_model import (
    CONFIG,
    FLOAT32,
    ReferenceNetwork,
    TinyModel,
    container_bytes,
    load_vocabulary,
    shortlist_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PackCorrupt, PackError, PackUnsupported
from shared.models.bergamot import layout
from shared.models.bergamot.beam import beam_search, session_step
from shared.models.bergamot.convert import convert_bergamot
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
def test_beam_of_one_equals_the_greedy_graph(tmp_path: Path, seed: int) -> None:
    model = TinyModel(seed=seed)
    pack = model.install(tmp_path)
    translator = BergamotTranslator.load(pack)
    embedding = model.matrices["Wemb"] * np.float32(model.scales["Wemb"] * np.sqrt(model.width))
    encoder, decoder = (open_session(pack.path(name)) for name in (layout.ENCODER_NAME, layout.STEP_NAME))
    for text in SENTENCES:
        source = source_ids(text)
        ids = model.candidates(source)
        positions = sinusoidal_positions(limit_of(source), model.width)
        context = dict(
            zip(
                encoder.output_names,
                encoder.run({"embedded": (embedding[source] + positions[: len(source)])[None].astype(np.float32)}),
                strict=True,
            )
        )
        context |= {"candidates": embedding[ids], "bias": model.vectors["decoder_ff_logit_out_b"][ids]}
        best = beam_search(
            session_step(decoder, context),
            candidates=embedding[ids],
            positions=positions,
            layers=model.layers,
            width=1,
            limit=limit_of(source),
        )
        greedy = translator.translate(text)
        assert load_vocabulary().DecodeIds([ids[index] for index in best.candidates if index]) == greedy.text
        np.testing.assert_allclose(best.log_probabilities, greedy.token_log_probabilities, atol=1e-5)


def test_embedded_configuration_is_not_needed(tmp_path: Path) -> None:
    model = TinyModel(seed=3, heads=8, config=None)
    translator = BergamotTranslator.load(model.install(tmp_path))
    source = source_ids(SENTENCES[0])
    _, scores = ReferenceNetwork(model, quantised=True).greedy(source, limit_of(source))
    np.testing.assert_allclose(
        translator.translate(SENTENCES[0]).token_log_probabilities, scores, atol=QUANTISED_TOLERANCE
    )


def test_other_depths_and_widths_are_found_from_the_parameters(tmp_path: Path) -> None:
    model = TinyModel(seed=5, width=48, heads=8, inner=80, layers=3, config=None, end_bias=-1.0)
    translator = BergamotTranslator.load(model.install(tmp_path))
    source = source_ids(SENTENCES[1])
    tokens, scores = ReferenceNetwork(model, quantised=True).greedy(source, limit_of(source))
    assert len(tokens) > 1
    np.testing.assert_allclose(
        translator.translate(SENTENCES[1]).token_log_probabilities, scores, atol=QUANTISED_TOLERANCE
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
    ("line", "changed"),
    [
        ("dec-cell: ssru", "dec-cell: gru"),
        ("type: transformer", "type: s2s"),
        ("transformer-decoder-autoreg: rnn", "transformer-decoder-autoreg: self-attention"),
        ("tied-embeddings-all: true", "tied-embeddings-all: false"),
        ('transformer-preprocess: ""', "transformer-preprocess: n"),
        ("transformer-heads: 4", "transformer-heads: 5"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, line: str, changed: str) -> None:
    source = TinyModel(config=CONFIG.replace(line, changed)).write(tmp_path / "source")
    with pytest.raises(PackUnsupported, match=r"model\.pten"):
        convert_bergamot(source, tmp_path)


def test_configuration_that_contradicts_the_parameters_is_corrupt(tmp_path: Path) -> None:
    source = TinyModel(config=CONFIG.replace("enc-depth: 2", "enc-depth: 6")).write(tmp_path / "source")
    with pytest.raises(PackCorrupt, match="enc-depth"):
        convert_bergamot(source, tmp_path)


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
    (source / "lex.50.50.pten.s2t.bin").unlink()
    with pytest.raises(PackCorrupt, match="lex"):
        convert_bergamot(source, tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    source = TinyModel().write(tmp_path / "source")
    (source / "vocab.pten.spm").write_bytes(b"no vocabulary")
    with pytest.raises(PackCorrupt, match="SentencePiece"):
        convert_bergamot(source, tmp_path)
    TinyModel().write(source)
    (source / "lex.50.50.pten.s2t.bin").write_bytes(shortlist_bytes([[1], [2]]))
    with pytest.raises(PackCorrupt, match="does not belong"):
        convert_bergamot(source, tmp_path)


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
