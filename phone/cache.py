"""Translations remembered on the phone, so that a sign seen again is answered at once.

Keyed by what was read, the direction and everything that could have answered differently: a new pack forgets nothing,
but its answers are new. A cache that cannot store is a cache that forgets: storage failures are reported, not raised.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Final

from phone.database import Database
from phone.readings import Meaning
from shared.clock import Clock
from shared.errors import StorageError
from shared.models.phrasebook import Phrasebook
from shared.models.sign_translation import NoTranslation, TranslationEngine
from shared.models.translators import Translators

_PRUNE_EVERY: Final = 100
_TOUCH_AFTER_S: Final = 3600.0
"""A use is written down at most once an hour: it only orders what is forgotten first."""


def engine_names(phrasebook: Phrasebook, translators: Translators) -> list[str]:
    """What may answer, as `cache_key` takes it: every engine, the rules of this version, and what the phrases say."""
    content = zlib.crc32(repr([(phrase.source, phrase.translation) for phrase in phrasebook]).encode())
    content = zlib.crc32(repr(phrasebook.templates).encode(), content)
    engines = [f"{engine.pack.name}-{engine.pack.version}" for engine in translators.values()]
    return [*engines, f"phrasebook-{content:08x}", f"wayword-{version('wayword')}"]


def cache_key(lines: Sequence[str], *, target: str, engines: Sequence[str], expected: Sequence[str]) -> str:
    """The key of a sign's text: NFKC, white space collapsed.

    Args:
        lines: as read.
        target: language wanted.
        engines: "name-version" of every pack and phrasebook that may translate it.
        expected: languages that help to identify short text.
    """
    text = "\n".join(" ".join(unicodedata.normalize("NFKC", line).split()) for line in lines)
    return json.dumps([text, target, sorted(engines), list(expected)], ensure_ascii=False)


class TranslationCache:
    """The table `translations`, least recently used first out.

    Args:
        database: the phone's database.
        clock: ages entries.
        max_entries: translations kept.
        on_error: told of every storage failure.
    """

    def __init__(
        self, database: Database, *, clock: Clock, max_entries: int, on_error: Callable[[StorageError], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._max_entries = max_entries
        self._on_error = on_error
        self._stored = 0

    def get(self, key: str) -> Meaning | None:
        """What is remembered under a key."""
        try:
            rows = self._database.query("SELECT value, used FROM translations WHERE key = ?", (key,))
            if not rows:
                return None
            now = self._clock.wall()
            if now - float(rows[0][1] or 0) > _TOUCH_AFTER_S:
                self._database.execute("UPDATE translations SET used = ? WHERE key = ?", (int(now), key))
        except StorageError as error:
            self._on_error(error)
            return None
        return _from_json(str(rows[0][0]))

    def put(self, key: str, meaning: Meaning) -> None:
        """Remember a translation; an older one under the same key is replaced."""
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO translations (key, value, used) VALUES (?, ?, ?)",
                (key, json.dumps(asdict(meaning), ensure_ascii=False), int(self._clock.wall())),
            )
            self._stored += 1
            if self._stored % _PRUNE_EVERY == 0:
                self._database.execute(
                    "DELETE FROM translations WHERE key IN"
                    " (SELECT key FROM translations ORDER BY used DESC, rowid DESC LIMIT -1 OFFSET ?)",
                    (self._max_entries,),
                )
        except StorageError as error:
            self._on_error(error)


def _from_json(text: str) -> Meaning | None:
    """None for an entry that another version wrote and this one does not understand: it is translated anew."""
    try:
        meaning = Meaning(**json.loads(text))
        return replace(
            meaning,
            engine=TranslationEngine(meaning.engine),
            reason=None if meaning.reason is None else NoTranslation(meaning.reason),
        )
    except (TypeError, ValueError):
        return None
