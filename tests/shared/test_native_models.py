"""A translation model as Firefox publishes it becomes a pack, whatever it is packed in, or is refused by name."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from bergamot_model import TinyModel, Tying
from http_kit import FileServer
from packs_kit import visible
from registry_kit import published

from shared.errors import PackCorrupt, PackSourceUnreachable, PackUnsupported, UsageError
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.installer import install_from
from shared.models.language_tags import direction_of, iso_code, split_pair
from shared.models.manifest import Task, dump_manifest
from shared.models.native_files import group_names, read_references, unpack
from shared.models.packs import PackStore
from shared.models.sources import FolderSource, UrlSource

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    return PackStore(tmp_path / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "served").mkdir()
    server = FileServer(tmp_path / "served")
    yield server
    server.close()


@pytest.mark.parametrize("packed", [False, True])
def test_a_published_model_needs_no_manifest(store: PackStore, tmp_path: Path, packed: bool) -> None:
    files = published(tmp_path / "model", "esen", packed=packed)
    pack = install_from(store, FolderSource(tmp_path / "model"))[0]
    manifest = PackStore(store.root).get("mt-es-en").manifest
    assert (manifest.task, manifest.direction, manifest.languages) == (Task.TRANSLATION, ("es", "en"), ("es", "en"))
    assert manifest.version.startswith("sha-")
    assert manifest.licence == "unknown"
    assert {file.name for file in manifest.sources} == {name.removesuffix(".gz") for name in files}
    assert BergamotTranslator.load(pack).direction == ("es", "en")
    assert visible(store.root) == ["mt-es-en"]


def test_the_same_model_is_not_converted_twice(store: PackStore, tmp_path: Path) -> None:
    published(tmp_path / "model", "esen")
    first = install_from(store, FolderSource(tmp_path / "model"))[0]
    published(tmp_path / "packed", "esen", packed=True)
    assert install_from(store, FolderSource(tmp_path / "packed"))[0].root == first.root
    published(tmp_path / "other", "esen", seed=1)
    assert install_from(store, FolderSource(tmp_path / "other"))[0].version != first.version


def test_a_folder_may_hold_both_directions_and_a_licence(store: PackStore, tmp_path: Path) -> None:
    published(tmp_path / "there", "esen")
    for name, data in published(tmp_path / "back", "enes", seed=1).items():
        (tmp_path / "there" / name).write_bytes(data)
    (tmp_path / "there" / "LICENSE").write_text("Mozilla Public License Version 2.0\n====\n")
    packs = install_from(store, FolderSource(tmp_path / "there"))
    assert sorted(pack.name for pack in packs) == ["mt-en-es", "mt-es-en"]
    assert {pack.manifest.licence for pack in packs} == {"MPL-2.0"}


def test_metadata_beside_a_model_says_its_version_and_must_fit_it(store: PackStore, tmp_path: Path) -> None:
    files = published(tmp_path / "model", "esen")
    metadata = {"version": "2.1", "architecture": "tiny", "flores": {"bleu": 29.5}}
    (tmp_path / "model" / "metadata.json").write_text(json.dumps(metadata))
    manifest = install_from(store, FolderSource(tmp_path / "model"))[0].manifest
    assert manifest.version == "2.1"
    assert manifest.card["publisher's figures"] == {"flores bleu": 29.5}
    (tmp_path / "model" / "metadata.json").write_text(json.dumps({**metadata, "hash": "0" * 64}))
    with pytest.raises(PackCorrupt, match="wrong SHA-256"):
        install_from(store, FolderSource(tmp_path / "model"))
    assert files


def test_a_web_folder_without_a_manifest_is_known_by_its_index(server: FileServer, store: PackStore) -> None:
    files = published(server.folder, "esen", packed=True)
    links = "".join(f'<a href="./{name}">{name}</a>' for name in files)
    server.documents["/"] = f"<html><body>{links}<a href='../'>up</a></body></html>".encode()
    assert install_from(store, UrlSource(server.url))[0].name == "mt-es-en"


def test_a_web_folder_without_an_index_is_probed_for_the_pack_that_is_asked_for(
    server: FileServer, store: PackStore
) -> None:
    published(server.folder, "esen")
    with pytest.raises(PackSourceUnreachable, match="no published model"):
        install_from(store, UrlSource(server.url))
    pack = install_from(store, UrlSource(server.url), ["mt-es-en"])[0]
    assert pack.manifest.source == f"published model from {server.url}"


@pytest.mark.parametrize(
    ("pair", "name"),
    [("zh-Hansen", "mt-zh-en"), ("zh_hansen", "mt-zh-en"), ("nben", "mt-no-en"), ("ennb", "mt-en-no")],
)
def test_a_language_tag_becomes_the_code_wayword_knows_it_by(
    store: PackStore, tmp_path: Path, pair: str, name: str
) -> None:
    published(tmp_path / "model", pair)
    pack = install_from(store, FolderSource(tmp_path / "model"))[0]
    assert pack.name == name
    assert BergamotTranslator.load(pack).direction == tuple(name.split("-")[1:])


@pytest.mark.parametrize(
    ("pair", "words"),
    [("zh_hanten", "zh_hant are not supported: Traditional Chinese"), ("hbsen", "hbs"), ("dejaen", "two languages")],
)
def test_a_language_without_a_code_of_its_own_is_refused_by_name(
    store: PackStore, tmp_path: Path, pair: str, words: str
) -> None:
    published(tmp_path / "model", pair)
    with pytest.raises(PackUnsupported, match=words):
        install_from(store, FolderSource(tmp_path / "model"))
    assert visible(store.root) == []


def test_names_of_packs_are_understood_in_other_spellings() -> None:
    assert direction_of("mt-zh-hans-en") == direction_of("mt-zh-en") == ("zh", "en")
    assert direction_of("mt-en-nb") == ("en", "no")
    with pytest.raises(PackUnsupported, match="Traditional"):
        direction_of("mt-en-zh-hant")
    for name in ("ocr-tiny-det", "mt-es", "mt", "mt-es-en-" + "x" * 30):
        with pytest.raises(UsageError):
            direction_of(name)
    assert split_pair("enzh_hant") == ("en", "zh_hant")
    with pytest.raises(PackUnsupported):
        iso_code("no such language")


CUTS = (0, 1, 15, 16, 17, 100, 1000, 5000, 20_000, -5000, -300, -1)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["model", "lex", "vocab"])
def test_a_file_cut_off_anywhere_leaves_the_old_pack_working(
    installed_model: PackStore, tmp_path: Path, kind: str, cut: int
) -> None:
    files = published(tmp_path / "cut", "esen", seed=1)
    name = next(name for name in files if name.startswith(kind))
    data = files[name]
    (tmp_path / "cut" / name).write_bytes(data[: cut if cut < len(data) else len(data) // 2])
    before = installed_model.manifest("mt-es-en")
    with pytest.raises((PackCorrupt, PackUnsupported)):
        install_from(installed_model, FolderSource(tmp_path / "cut"))
    assert PackStore(installed_model.root).get("mt-es-en").manifest == before
    assert visible(installed_model.root) == ["mt-es-en"]


@pytest.fixture(scope="module")
def installed_model(tmp_path_factory: pytest.TempPathFactory) -> PackStore:
    """A store with a small model; the tests that use it must leave it as it is."""
    folder = tmp_path_factory.mktemp("installed")
    published(folder / "model", "esen")
    store = PackStore(folder / "store")
    install_from(store, FolderSource(folder / "model"))
    return store


def test_matrices_of_a_wrong_shape_are_refused(installed_model: PackStore, tmp_path: Path) -> None:
    model = TinyModel(seed=2)
    model.matrices["encoder_l1_self_Wq"] = model.matrices["encoder_l1_self_Wq"][:, :-8]
    model.write(tmp_path / "wrong")
    for path in list((tmp_path / "wrong").iterdir()):
        path.rename(path.with_name(path.name.replace("pten", "esen")))
    with pytest.raises((PackCorrupt, PackUnsupported), match="encoder_l1_self_Wq"):
        install_from(installed_model, FolderSource(tmp_path / "wrong"))
    assert PackStore(installed_model.root).get("mt-es-en")


def test_a_vocabulary_of_another_model_is_refused(installed_model: PackStore, tmp_path: Path) -> None:
    published(tmp_path / "model", "esen")
    (tmp_path / "model" / "vocab.esen.spm").write_bytes(b"no vocabulary")
    with pytest.raises(PackCorrupt, match="SentencePiece"):
        install_from(installed_model, FolderSource(tmp_path / "model"))


def test_a_gzip_bomb_is_cut_short(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 100_000
    (tmp_path / "model.esen.intgemm.alphas.bin.gz").write_bytes(bomb)
    with pytest.raises(PackCorrupt, match="longer than 4194304 bytes when unpacked"):
        unpack(tmp_path / "model.esen.intgemm.alphas.bin.gz", tmp_path / "out", limit=4 << 20)
    assert (tmp_path / "out").stat().st_size <= 5 << 20


def test_an_unpacked_file_is_what_was_packed(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    two = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    framed = zstd.compress(data[:1000]) + zstd.compress(data[1000:])
    for packed in (data, gzip.compress(data), two, zstd.compress(data), framed):
        (tmp_path / "in").write_bytes(packed)
        unpack(tmp_path / "in", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (gzip.compress(b"abc" * 1000)[:-9], PackCorrupt, "cut off"),
        (gzip.compress(b"abc" * 1000)[:20] + b"\xff" * 40, PackCorrupt, "damaged"),
        (gzip.compress(b"abc") + b"trailing", PackCorrupt, "damaged"),
        (zstd.compress(b"abc" * 1000)[:-4], PackCorrupt, "cut off"),
        (zstd.compress(b"abc") + b"trailing", PackCorrupt, "damaged"),
        (b"\x28\xb5\x2f\xfd rest", PackCorrupt, "damaged|cut off"),
    ],
    # Named by hand: gzip writes the time of day into its header, and a test's name must not change with the clock.
    ids=["gzip-cut", "gzip-damaged", "gzip-trailing", "zstd-cut", "zstd-trailing", "zstd-damaged"],
)
def test_what_cannot_be_unpacked_is_refused(tmp_path: Path, data: bytes, kind: type[Exception], words: str) -> None:
    (tmp_path / "in.gz").write_bytes(data)
    with pytest.raises(kind, match=words):
        unpack(tmp_path / "in.gz", tmp_path / "out")


def test_references_are_pairs_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "reference.tsv"
    path.write_text("# source\texpected\n\nHola.\tHello.\n")
    assert read_references(path) == [("Hola.", "Hello.")]
    for wrong in ("no tab", "\tonly one", "a\tb\n" * 201):
        path.write_text(wrong)
        with pytest.raises(PackCorrupt):
            read_references(path)
    path.write_bytes(b"\xff\tb")
    with pytest.raises(PackCorrupt, match="UTF-8"):
        read_references(path)


def test_a_pack_converted_for_another_format_is_made_anew(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path / "model", "esen")
    old = install_from(store, FolderSource(tmp_path / "model"))[0]
    document = json.loads(dump_manifest(old.manifest))
    document["encoding"]["conversion"] -= 1
    (old.root / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(PackUnsupported, match="was converted for format"):
        PackStore(store.root).get("mt-es-en")
    again = install_from(PackStore(store.root), FolderSource(tmp_path / "model"))[0]
    assert again.root != old.root
    assert PackStore(store.root).get("mt-es-en")


def test_vocabularies_named_by_one_language_each_are_found() -> None:
    files = group_names(["model.enja.intgemm.alphas.bin.gz", "vocab.en.spm", "vocab.en.spm.gz", "vocab.ja.spm.gz"])
    assert {kind.value: name.name for kind, name in files["enja"].items()} == {
        "model": "model.enja.intgemm.alphas.bin.gz",
        "srcvocab": "vocab.en.spm",
        "trgvocab": "vocab.ja.spm.gz",
    }
    assert "trgvocab" not in group_names(["model.enja.intgemm.alphas.bin", "vocab.en.spm"])["enja"]
    assert group_names(["vocab.en.spm", "lex.50.50.enja.s2t.bin", "notes.txt"]) == {}


def test_references_that_do_not_fit_refuse_the_pack_and_those_that_do_stand_in_its_card(
    store: PackStore, tmp_path: Path
) -> None:
    published(tmp_path / "model", "esen")
    first = install_from(store, FolderSource(tmp_path / "model"))[0]
    said = BergamotTranslator.load(first).translate("a rua").text
    assert said
    store.remove("mt-es-en")
    (tmp_path / "model" / "reference.tsv").write_text("a rua\tTHE STREET, NOTHING ELSE\n")
    with pytest.raises(PackCorrupt, match="'a rua' becomes"):
        install_from(store, FolderSource(tmp_path / "model"))
    assert visible(store.root) == []
    (tmp_path / "model" / "reference.tsv").write_text(f"a rua\t{said}\n")
    pack = install_from(store, FolderSource(tmp_path / "model"))[0]
    assert pack.manifest.card["reference translations"] == {"sentences": 1, "equal": 1.0, "similarity": 1.0}


def test_a_model_with_a_vocabulary_for_each_side_becomes_a_pack(store: PackStore, tmp_path: Path) -> None:
    TinyModel(tying=Tying.TARGET, two_vocabularies=True, has_shortlist=False).write(tmp_path / "model")
    pack = install_from(store, FolderSource(tmp_path / "model"))[0]
    assert [file.name for file in pack.manifest.sources] == [
        "model.pten.intgemm.alphas.bin",
        "srcvocab.pten.spm",
        "trgvocab.pten.spm",
    ]
    assert BergamotTranslator.load(pack).direction == ("pt", "en")


KILLED = """
import sys
from pathlib import Path
from shared.models.bergamot import convert
from shared.models.installer import install_from
from shared.models.packs import PackStore
from shared.models.sources import FolderSource

def stop(*_):
    print("ready", flush=True)
    sys.stdin.read()

convert.read_model = stop
install_from(PackStore(Path(sys.argv[1])), FolderSource(Path(sys.argv[2])))
"""


def test_a_conversion_that_is_killed_leaves_the_old_pack(store: PackStore, tmp_path: Path) -> None:
    published(tmp_path / "old", "esen")
    old = install_from(store, FolderSource(tmp_path / "old"))[0]
    published(tmp_path / "new", "esen", seed=1)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.root), str(tmp_path / "new")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    assert PackStore(store.root).get("mt-es-en").root == old.root
    again = install_from(PackStore(store.root), FolderSource(tmp_path / "new"))[0]
    assert again.version != old.version
    assert visible(store.root) == ["mt-es-en"]
