"""The second engine as the settings and the machine allow it, and what can be read with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from cloud.reading.ensemble import SecondEngine, writable_scripts
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import PackError, PackMissing
from shared.models.calibration import Calibration
from shared.models.ensemble import Ensemble
from shared.models.ensemble_use import TesseractUse
from shared.models.packs import PackStore, default_store_root
from shared.models.recognition import DICTIONARY_FILE, LineRecogniser, TextRecogniser, read_dictionary
from shared.models.script import Script, alphabet_scripts
from shared.models.script_picture import ScriptClassifier
from shared.models.tesseract import Tesseract
from shared.models.tesseract_languages import BY_SCRIPT

FIRST_PACK: Final = "ocr-small-rec"
SMALL_PACK: Final = "ocr-tiny-rec"


def load_second_engine(
    store: PackStore,
    settings: CloudSettings,
    recogniser: LineRecogniser,
    *,
    clock: Clock,
    on_failure: Callable[[str], None] = lambda _: None,
) -> SecondEngine | None:
    """What reads again what the first recogniser is not sure of; None where there is nothing that would.

    Args:
        store: may have another recogniser's pack, used where it has a voice.
        settings: whether Tesseract may be used, where it is, and how readings are combined.
        recogniser: the first one.
        clock: of deadlines.
        on_failure: told in one line when Tesseract failed, now or at a call; it may be called from any thread.

    Raises:
        PackError: a pack is broken.
    """
    ensemble = Ensemble.builtin()
    tesseract = find_tesseract(settings, clock=clock, on_failure=on_failure)
    small = None
    if ensemble.voices.get(SMALL_PACK, 0.0) > 0.0 and SMALL_PACK in store.names():
        small = TextRecogniser.load(store.get(SMALL_PACK), threads=1)
    if tesseract is None and small is None:
        return None
    return SecondEngine(
        first=writable_scripts(recogniser),
        small=small,
        tesseract=tesseract,
        scripts=ScriptClassifier.builtin(),
        calibration=Calibration.builtin(),
        ensemble=ensemble,
        how=settings.combining,
        clock=clock,
        on_failure=on_failure,
    )


def find_tesseract(
    settings: CloudSettings, *, clock: Clock, on_failure: Callable[[str], None] = lambda _: None
) -> Tesseract | None:
    """The installed Tesseract; None where there is none, the settings say off, or it fails, which is told."""
    if settings.tesseract is TesseractUse.OFF:
        return None
    try:
        processes = len(os.sched_getaffinity(0))
        return Tesseract.find(settings.tesseract_path, clock=clock, processes=processes)
    except PackMissing:
        return None
    except PackError as error:
        on_failure(error.message)
        return None


def readers_of(script: Script, writable: frozenset[Script], tesseract: Tesseract | None) -> list[str]:
    """What reads a script, in the order in which it is asked."""
    found = [FIRST_PACK] if script in writable else []
    if tesseract is not None:
        languages = [name for name in BY_SCRIPT.get(script, ()) if name in tesseract.languages]
        found += [f"{tesseract.name(languages)} {tesseract.version}"] if languages else []
    return found


def what_is_read(engine: SecondEngine | None) -> str:
    """One line on the scripts that only Tesseract reads; empty without one."""
    if engine is None or engine.tesseract is None:
        return ""
    others = sorted(engine.scripts - engine.writable)
    return f"tesseract {engine.tesseract.version} reads {', '.join(others)}" if others else ""


def engines_table(settings: CloudSettings, *, clock: Clock) -> list[str]:
    """What reads each script, a line each, and what is missing.

    Raises:
        PackMissing: the recogniser's pack is not installed.
    """
    store = PackStore(settings.packs if settings.packs is not None else default_store_root())
    writable = alphabet_scripts(frozenset(read_dictionary(store.get(FIRST_PACK).path(DICTIONARY_FILE))))
    problems: list[str] = []
    tesseract = find_tesseract(settings, clock=clock, on_failure=problems.append)
    lines = [
        f"{script.value:<12}{', then '.join(readers_of(script, writable, tesseract)) or '-'}"
        for script in Script
        if script not in (Script.COMMON, Script.OTHER)
    ]
    if settings.tesseract is TesseractUse.OFF:
        lines.append("tesseract is switched off in the settings")
    elif tesseract is None:
        lines.append(f"no tesseract: {problems[0] if problems else settings.tesseract_path + ' is not installed'}")
    lines.append(f"readings are combined by {settings.combining or Ensemble.builtin().default}")
    return lines
