"""Tesseract as a process: what is asked of it, what is made of its answer, and what happens when it fails."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from shared.clock import SystemClock
from shared.errors import InputError, PackMissing, RecogniserFailed
from shared.geometry import ImageBgr
from shared.limits import MAX_STRIP_LINES
from shared.models.script import Script
from shared.models.tesseract import (
    DEFAULT,
    FIRST_SECONDS,
    PROBE_S,
    Preparation,
    Tesseract,
    lines_of_tsv,
    prepared,
    tiff_of,
)
from shared.models.tesseract_languages import languages_for, readable_scripts

HEADING = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"


def word(page: int, left: int, text: str, *, confidence: str = "96.5", width: int = 40, height: int = 30) -> str:
    return f"5\t{page}\t1\t1\t1\t1\t{left}\t10\t{width}\t{height}\t{confidence}\t{text}"


def answer(*rows: str) -> str:
    return "\n".join((HEADING, *rows, ""))


def install(folder: Path, *, says: str = "", does: str = "", languages: str = "kor\\neng\\nosd") -> Path:
    """A program that answers as Tesseract does: `says` to every picture, after doing something first."""
    (folder / "answer").write_text(says, encoding="utf-8")
    program = folder / "tesseract"
    program.write_text(
        f"""#!/bin/sh
case "$1" in
--version) echo "tesseract 5.9.1"; exit;;
--list-langs) printf 'List of available languages in "/data/" (3):\\n{languages}\\n'; exit;;
esac
echo "$OMP_THREAD_LIMIT $*" >> {folder}/asked
cat > {folder}/picture
{does}
cat {folder}/answer
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def found(folder: Path, **options: str) -> Tesseract:
    return Tesseract.find(str(install(folder, **options)), clock=SystemClock())


def line(width: int = 200, height: int = 48) -> ImageBgr:
    return np.full((height, width, 3), 230, np.uint8)


def test_it_says_its_version_and_its_languages_without_the_heading_of_the_list(tmp_path: Path) -> None:
    tesseract = found(tmp_path)
    assert tesseract.version == "5.9.1"
    assert tesseract.languages == {"kor", "eng", "osd"}
    assert tesseract.name(("rus", "ukr")) == "tesseract-rus+ukr"


def test_a_program_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PackMissing, match="there is no"):
        Tesseract.find(str(tmp_path / "none"), clock=SystemClock())


def test_one_that_has_only_the_detection_of_scripts_is_missing_too(tmp_path: Path) -> None:
    with pytest.raises(PackMissing, match="no language"):
        found(tmp_path, languages="osd")


def test_lines_of_a_sign_go_into_one_process_of_one_thread_and_come_back_page_by_page(tmp_path: Path) -> None:
    tesseract = found(tmp_path, says=answer(word(1, 10, "출입구"), word(1, 70, "안내"), word(3, 10, "화장실")))
    read = tesseract.read([line(), line(), line()], ("kor",), seconds=30)
    assert [one.text for one in read] == ["출입구 안내", "", "화장실"]
    assert read[0].character_confidences == pytest.approx((0.965,) * 6)
    assert read[1].confidence == 0.0
    assert (tmp_path / "asked").read_text().splitlines() == ["1 stdin stdout --psm 7 -l kor tsv"]
    with Image.open(tmp_path / "picture") as pages:
        assert [page.size for page in ImageSequence.Iterator(pages)] == [(191, 64)] * 3


def test_a_language_that_is_not_installed_is_refused_without_a_process(tmp_path: Path) -> None:
    tesseract = found(tmp_path)
    with pytest.raises(RecogniserFailed, match="no such languages"):
        tesseract.read([line()], ("tha",), seconds=30)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("does", "reason"), [("exit 3", "status 3"), ("head -c 1100000 /dev/zero", "more than"), ("sleep 30", "within")]
)
def test_a_process_that_fails_is_told_as_such_in_time(tmp_path: Path, does: str, reason: str) -> None:
    tesseract = found(tmp_path, does=does)
    with pytest.raises(RecogniserFailed, match=reason):
        tesseract.read([line()], ("kor",), seconds=0.3 if "sleep" in does else 30)


def test_who_finds_no_free_process_waits_no_longer_than_there_is_time(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    tesseract = found(tmp_path, says=answer(), does=f"while [ -d {tmp_path}/gate ]; do sleep 0.01; done")
    first = threading.Thread(target=tesseract.read, args=([line()], ("kor",)), kwargs={"seconds": 30})
    first.start()
    while not (tmp_path / "picture").exists():
        assert first.is_alive()
    try:
        with pytest.raises(RecogniserFailed, match="busy"):
            tesseract.read([line()], ("kor",), seconds=0.05)
    finally:
        (tmp_path / "gate").rmdir()
        first.join()


def test_calls_are_measured_by_language(tmp_path: Path) -> None:
    tesseract = found(tmp_path, says=answer())
    before = tesseract.typical_seconds(("kor",))
    tesseract.read([line()], ("kor",), seconds=30)
    assert tesseract.typical_seconds(("kor",)) != before
    assert tesseract.typical_seconds(("eng",)) == before


class ForwardClock(SystemClock):
    """Ahead of the system's clock by as much as a test says."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_slow_call_is_not_the_last_one() -> None:
    clock = ForwardClock()
    tesseract = Tesseract("tesseract", version="5", languages=frozenset({"kor"}), clock=clock)
    tesseract._measured("kor", 30.0)
    assert tesseract.typical_seconds(("kor",)) == 30.0
    clock.ahead += PROBE_S
    assert tesseract.typical_seconds(("kor",)) == FIRST_SECONDS
    tesseract._measured("kor", 0.1, answered=False)
    assert tesseract.typical_seconds(("kor",)) == FIRST_SECONDS, "a quick failure says nothing"


def test_a_call_that_is_killed_counts_as_slow(tmp_path: Path) -> None:
    tesseract = found(tmp_path, does="sleep 20")
    with pytest.raises(RecogniserFailed):
        tesseract.read([line()], ("kor",), seconds=FIRST_SECONDS + 0.1)
    assert tesseract.typical_seconds(("kor",)) > FIRST_SECONDS


def test_a_picture_that_is_none_and_too_many_lines_are_refused(tmp_path: Path) -> None:
    tesseract = found(tmp_path)
    with pytest.raises(InputError):
        tesseract.read([np.zeros((4, 4), np.uint8)], ("kor",), seconds=30)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at most"):
        tesseract.read([line()] * (MAX_STRIP_LINES + 1), ("kor",), seconds=30)


def test_rows_that_are_no_words_of_a_page_asked_about_are_passed_over() -> None:
    rows = (
        word(9, 1, "page"),
        word(1, 1, "nan", confidence="nan"),
        word(1, 1, "bad", confidence="much"),
        "5\t1\tshort",
        word(1, 1, " "),
        word(1, 1, "a\tb", confidence="140"),
    )
    (read,) = lines_of_tsv(answer(*rows), 1)
    assert (read.text, read.confidence) == ("a\tb", 1.0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((("出口", 0), ("案内", 45)), "出口案内"),
        ((("出口", 0), ("案内", 90)), "出口 案内"),
        ((("อา", 0), ("หาร", 42)), "อาหาร"),
        ((("JR", 0), ("東京", 45)), "JR 東京"),
        ((("경", 0), ("찰", 42)), "경찰"),
        ((("경찰", 0), ("서", 52)), "경찰 서"),
        ((("à", 0), ("louer", 41)), "à louer"),
    ],
)
def test_pieces_of_scripts_without_word_spaces_are_put_together(words: tuple[tuple[str, int], ...], text: str) -> None:
    (read,) = lines_of_tsv(answer(*(word(1, left, piece) for piece, left in words)), 1)
    assert read.text == text
    assert len(read.character_confidences) == len(text)


def test_a_line_is_prepared_dark_on_light_with_plain_ground_around_it() -> None:
    crop = np.full((20, 100, 3), 30, np.uint8)
    crop[8:12, 40:60] = 250
    page = prepared(crop, DEFAULT)
    assert page.shape == (40 + 24, 200 + 24)
    assert page[0, 0] == 225
    assert page[12 + 20, 12 + 100] < 30
    binary = prepared(crop, Preparation(binary=True, margin=0))
    assert set(np.unique(binary)) == {0, 255}


def test_pages_of_a_tiff_are_the_pictures() -> None:
    rng = np.random.default_rng(3)
    pages = [rng.integers(0, 255, (height, width)).astype(np.uint8) for height, width in ((7, 5), (3, 9), (4, 4))]
    with Image.open(io.BytesIO(tiff_of(pages))) as image:
        for page, expected in zip(ImageSequence.Iterator(image), pages, strict=True):
            assert np.array_equal(np.asarray(page), expected)


def test_a_script_says_which_installed_languages_are_tried_and_a_known_language_goes_first() -> None:
    installed = frozenset({"rus", "ukr", "bul", "kor", "fra", "chi_tra", "kat"})
    assert languages_for(Script.CYRILLIC, None, installed) == ("rus", "ukr")
    assert languages_for(Script.CYRILLIC, "bg", installed) == ("bul",)
    assert languages_for(Script.CYRILLIC, "ko", installed) == ("rus", "ukr")
    assert languages_for(Script.HAN, "zh", installed) == ("chi_tra",)
    assert languages_for(Script.LATIN, "fr", installed) == ("fra",)
    assert languages_for(Script.THAI, "th", installed) == ()
    assert languages_for(Script.OTHER, None, installed, listed=("kat",)) == ("kat",)
    assert readable_scripts(installed) >= {Script.CYRILLIC, Script.HANGUL}
    assert Script.THAI not in readable_scripts(installed)


def test_the_installed_one_reads_hangul() -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed")
    tesseract = Tesseract.find(clock=SystemClock())
    if "kor" not in tesseract.languages:
        pytest.skip("Tesseract has no Korean")
    picture = np.full((64, 420, 3), (60, 40, 30), np.uint8)
    cv2.putText(picture, "화장실 안내", (20, 48), (240, 240, 240), cv2.FontFace("uni"), 40, 500)
    (read,) = tesseract.read([picture], ("kor",), seconds=30)
    assert read.text.replace(" ", "") == "화장실안내"
    assert read.confidence > 0.8
