"""The translator: search, sentences, limits, and the real Portuguese pack."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bergamot_model import FREQUENT, TinyModel, load_vocabulary, pack_of

from shared.errors import PackCorrupt, PackUnsupported, UsageError
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.bergamot import layout
from shared.models.bergamot.beam import END_CANDIDATE, Floats, Step, beam_search
from shared.models.bergamot.sentences import split_sentences
from shared.models.bergamot.translator import MAX_SOURCE_TOKENS, BergamotTranslator, Translation, cut_text
from shared.models.packs import InstalledPack, PackStore

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

    def step(embedded: Floats, cells: list[Floats], best: int) -> tuple[Floats, np.ndarray, list[Floats]]:
        rows = []
        for row in embedded[0]:
            previous = int(row.argmax()) if row.any() else -1
            rows.append(np.log(np.array(table[previous], np.float32)))
        scores = np.stack(rows)
        indices = np.argsort(-scores, axis=1, kind="stable")[:, :best]
        return np.take_along_axis(scores, indices, axis=1), indices, cells

    return step


def search(table: dict[int, list[float]], width: int, limit: int = 6) -> tuple[tuple[int, ...], float]:
    found = beam_search(
        table_step(table),
        candidates=CANDIDATES,
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
    for text in ("o museu", "a rua está fechada", "compre o bilhete"):
        assert not set(free.translate(text, beam=beam).text) <= {" ", *frequent}
        assert set(narrow.translate(text, beam=beam).text) <= {" ", *frequent}


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
        layout.STEP_NAME,
        layout.GREEDY_NAME,
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
        ({"end": 10_000}, PackCorrupt),
        ({"vocabulary": 7}, PackCorrupt),
        ({"embedding_scale": None}, PackCorrupt),
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
