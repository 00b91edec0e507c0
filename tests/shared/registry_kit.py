"""Registries of small models, in both shapes Firefox Translations publishes its own in."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bergamot_model import TinyModel
from http_kit import FileServer

from shared.models.native_files import FileKind, parse_name

RECORDS = "/v1/buckets/main/collections/translations-models/records"
MODELS = "/db/models.json"


def published(folder: Path, pair: str = "esen", *, packed: bool = False, seed: int = 0) -> dict[str, bytes]:
    """The files of a small model under the names it is published with; written to `folder`, too."""
    TinyModel(seed=seed).write(folder)
    files = {path.name.replace("pten", pair): path.read_bytes() for path in folder.iterdir()}
    for path in list(folder.iterdir()):
        path.unlink()
    if packed:
        files = {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def records_of(files: Mapping[str, bytes], source: str, target: str, **changes: Any) -> Iterator[dict[str, Any]]:
    """Records of a Remote Settings collection for the files of one model; `changes` replaces fields."""
    for name, data in files.items():
        parsed = parse_name(name)
        assert parsed is not None
        yield {
            "name": name,
            "fileType": parsed.kind.value,
            "fromLang": source,
            "toLang": target,
            "version": "1.0",
            "attachment": {
                "hash": sha256(data),
                "size": len(data),
                "filename": name,
                "location": f"main-workspace/translations-models/{source}{target}/{name}",
                "mimetype": "application/octet-stream",
            },
            "id": f"id-{name}",
            "filter_expression": "",
            **changes,
        }


def serve_records(server: FileServer, records: list[dict[str, Any]], files: Mapping[str, bytes], pair: str) -> str:
    """Have a server be a Remote Settings server with these records and attachments; returns the registry's URL."""
    server.documents[RECORDS] = json.dumps({"data": records}).encode()
    info = {"capabilities": {"attachments": {"base_url": f"{server.url}/cdn/"}}}
    server.documents["/v1/"] = json.dumps(info).encode()
    for name, data in files.items():
        server.documents[f"/cdn/main-workspace/translations-models/{pair}/{name}"] = data
    return server.url + RECORDS


def models_entry(files: Mapping[str, bytes], source: str, target: str, **changes: Any) -> dict[str, Any]:
    """An entry of models.json for the packed files of one model; `changes` replaces fields."""
    keys = {FileKind.SHORTLIST: "lexicalShortlist", FileKind.SOURCE_VOCABULARY: "srcVocab"}
    keys[FileKind.TARGET_VOCABULARY] = "trgVocab"
    entry: dict[str, Any] = {}
    for name, data in files.items():
        parsed = parse_name(name)
        assert parsed is not None
        found: dict[str, Any] = {"path": f"models/{source}-{target}/run_1/exported/{name}"}
        if parsed.kind is FileKind.MODEL:
            plain = gzip.decompress(data)
            found |= {"uncompressedSize": len(plain), "uncompressedHash": sha256(plain)}
        entry[keys.get(parsed.kind, parsed.kind.value)] = found
    return {
        "architecture": "tiny",
        "releaseStatus": "Release",
        "sourceLanguage": source,
        "targetLanguage": target,
        "files": entry,
        "metrics": {"flores200-plus": {"bleu": 29.7, "comet22": 0.86}},
        **changes,
    }


def serve_models(server: FileServer, entries: list[dict[str, Any]], files: Mapping[str, bytes], direction: str) -> str:
    """Have a server serve a models.json and its objects; returns the registry's URL."""
    pairs: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        pairs.setdefault(f"{entry['sourceLanguage']}-{entry['targetLanguage']}", []).append(entry)
    document = {"generated": "2026-07-24T00:44:29Z", "baseUrl": f"{server.url}/bucket", "models": pairs}
    server.documents[MODELS] = json.dumps(document).encode()
    for name, data in files.items():
        server.documents[f"/bucket/models/{direction}/run_1/exported/{name}"] = data
    return server.url + MODELS
