"""The command `wayword-phone`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phone.cascade.privacy import CloudUse
from phone.ledger_cli import add_ledger_parser, run_ledger
from phone.packs_cli import add_packs_parser, run_packs
from phone.pairing_cli import COMMANDS as PAIRING_COMMANDS
from phone.pairing_cli import add_pairing_parsers, run_pairing
from phone.phrases_cli import add_phrases_parser, run_phrases
from phone.places_cli import add_places_parser, run_places
from phone.settings import ExperimentsUse, PhoneSettings, PlacesUse, PolicyChoice, RecogniserChoice, TelemetryUse
from phone.telemetry_cli import add_telemetry_parser, run_telemetry
from shared import cli
from shared.clock import SystemClock
from shared.errors import DirectionUnsupported, UsageError
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.apertium_use import ApertiumUse

if TYPE_CHECKING:
    from shared.models.phrasebook import Phrasebook

PROGRAM: Final = "wayword-phone"
_FROM_COMMAND_LINE: Final = (
    "cloud",
    "cloud_use",
    "policy",
    "hedging",
    "keep_names",
    "metered",
    "telemetry",
    "experiments",
    "database",
    "target",
    "trip_languages",
    "phrasebook_folder",
    "apertium",
    "recogniser",
    "battery",
    "events",
    "packs",
    "places",
    "position",
)
_INSTALL_HINT: Final = "see: wayword-phone languages; install packs with: wayword-phone packs install"

# The commands import what they need: `--help` and `ledger` must not wait for model runtimes.


def entry() -> int:
    """Entry point of the console script."""
    return cli.run(PROGRAM, lambda: main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code.

    Raises:
        WaywordError: anything a user can be told in one line.
    """
    options = _parser().parse_args(arguments)
    match options.command:
        case "run":
            return _run(options)
        case "packs":
            return run_packs(options)
        case "phrases":
            return run_phrases(options)
        case command if command in PAIRING_COMMANDS:
            return run_pairing(options)
        case "ledger":
            return run_ledger(options, _settings(options).database_path(), clock=SystemClock())
        case "places":
            return run_places(options, _settings(options), clock=SystemClock())
        case "consent":
            return _consent(options)
        case "telemetry":
            return run_telemetry(options, _settings(options))
        case "translate":
            return _translate(options)
        case _:
            return _languages(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Wayword's phone: reads the signs that the glasses see, translates them, and asks the cloud only "
        "when it is unsure and the wearer allows it.",
        epilog="Every setting of the daemon: wayword-phone run --show-settings. Each can also stand in a TOML file "
        "(--config) or in an environment variable WAYWORD_PHONE_<SETTING>.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="answer the glasses over Bluetooth until SIGTERM or Ctrl-C")
    cloud = run.add_mutually_exclusive_group()
    cloud.add_argument("--cloud", metavar="HOST:PORT", help="ask this cloud when unsure")
    cloud.add_argument("--no-cloud", action="store_true", help="ask no cloud, whatever the other settings say")
    run.add_argument(
        "--cloud-use",
        choices=[use.value for use in CloudUse],
        help='the privacy switch: "ask" while "wayword-phone consent" lasts (default: allow)',
    )
    run.add_argument(
        "--keep-names",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether signs that look like somebody's name stay on the phone (default: no)",
    )
    run.add_argument(
        "--policy",
        choices=[policy.value for policy in PolicyChoice],
        help="who decides whether the cloud is asked (default: cascade); the others are for experiments",
    )
    run.add_argument(
        "--hedging",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether a slow cloud may be asked a second time, for one call in ten at most (default: yes)",
    )
    run.add_argument(
        "--metered",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether bytes cost money (default: ask the machine)",
    )
    run.add_argument(
        "--telemetry",
        choices=[use.value for use in TelemetryUse],
        help="what is reported to the cloud of how the phone fares (default: off)",
    )
    run.add_argument(
        "--experiments",
        choices=[use.value for use in ExperimentsUse],
        help="whether the cloud may try out other values of a few settings (default: on)",
    )
    run.add_argument("--target", metavar="LANGUAGE", help="your language, to translate into (default: en)")
    run.add_argument(
        "--trip",
        dest="trip_languages",
        type=_codes,
        metavar="LANGUAGES",
        help="languages of the trip, likeliest first, such as pt,es: they help to name the language of short signs",
    )
    _add_engines(run)
    run.add_argument("--recogniser", choices=[choice.value for choice in RecogniserChoice], help="default: auto")
    run.add_argument("--battery", type=int, metavar="PERCENT", help="assume this battery level")
    run.add_argument("--packs", type=Path, metavar="DIR", help="the pack store")
    run.add_argument(
        "--places",
        choices=[use.value for use in PlacesUse],
        help='what signs say where: "own" stays on this phone, "shared" is shared with the cloud, never a picture '
        "(default: own)",
    )
    run.add_argument(
        "--position", metavar="WHERE", help='"LATITUDE,LONGITUDE", "gpsd" or "gpsd://HOST:PORT" (default: nobody knows)'
    )
    run.add_argument("--events", type=Path, metavar="F", help="append events here, one JSON object a line")
    run.add_argument("--events-content", action="store_true", help="let the events hold what the signs say")
    _add_settings(run)
    run.add_argument("--show-settings", action="store_true", help="print the settings as TOML and end")
    add_pairing_parsers(commands)
    add_packs_parser(commands)
    add_phrases_parser(commands)
    _add_settings(add_ledger_parser(commands))
    _add_settings(add_telemetry_parser(commands))
    for parser_of_places in add_places_parser(commands):
        _add_settings(parser_of_places)
    consent = commands.add_parser("consent", help='allow the cloud for a while, under the privacy switch "ask"')
    consent.add_argument("--minutes", type=float, default=60.0, metavar="N", help="for how long (default: 60)")
    consent.add_argument("--withdraw", action="store_true", help="end the consent now")
    _add_settings(consent)
    translate = commands.add_parser("translate", help="translate a text with what is installed")
    translate.add_argument("text", metavar="TEXT")
    translate.add_argument("--from", dest="source", metavar="LANGUAGE", help="language of TEXT (default: identified)")
    translate.add_argument("--to", dest="target", default="en", metavar="LANGUAGE", help="default: en")
    translate.add_argument(
        "--trip", dest="trip_languages", type=_codes, default=(), metavar="LANGUAGES", help="languages to expect"
    )
    _add_engines(translate)
    translate.add_argument("--beam", type=int, default=1, metavar="N", help="width of the search (default: 1)")
    translate.add_argument("--packs", type=Path, metavar="DIR", help="the pack store")
    languages = commands.add_parser(
        "languages", help="show what can be read and translated offline, by what, and how well"
    )
    languages.add_argument("--check", action="store_true", help="also try a text with all that is declared")
    languages.add_argument("--json", action="store_true", help="one JSON object a line, one for each language")
    _add_engines(languages)
    languages.add_argument("--packs", type=Path, metavar="DIR", help="the pack store")
    return parser


def _codes(text: str) -> tuple[str, ...]:
    """Language codes with commas between them; the settings check them."""
    return tuple(code.strip() for code in text.split(",") if code.strip())


def _add_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--phrases", dest="phrasebook_folder", type=Path, metavar="DIR", help="phrase files of your own"
    )
    parser.add_argument(
        "--apertium",
        choices=[use.value for use in ApertiumUse],
        help="whether Apertium serves directions without a pack, where it is installed (default: auto)",
    )


def _phrasebook(options: argparse.Namespace) -> Phrasebook:
    from shared.models.phrasebook import Phrasebook

    folder = options.phrasebook_folder
    return Phrasebook.builtin() if folder is None else Phrasebook.builtin_with(folder)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", type=Path, metavar="F", help="SQLite file with ledger and translations")
    parser.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")


def _settings(options: argparse.Namespace) -> PhoneSettings:
    overrides: dict[str, object] = {
        name: value for name in _FROM_COMMAND_LINE if (value := getattr(options, name, None)) is not None
    }
    if getattr(options, "no_cloud", False):
        overrides["cloud"] = None
    if getattr(options, "events_content", False):
        overrides["events_content"] = True
    return PhoneSettings.load(options.config, **overrides)


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.show_settings:
        print(settings.as_toml())
        return 0
    from phone.serve import serve

    # What bleak has to say comes as a status of the link, in one line of ours.
    logging.getLogger("bleak").setLevel(logging.CRITICAL)

    def say(line: str) -> None:
        print(f"{PROGRAM}: {line}", file=sys.stderr, flush=True)

    return asyncio.run(serve(settings, clock=SystemClock(), say=say))


def _consent(options: argparse.Namespace) -> int:
    from phone.database import Database
    from phone.ledger import Consent

    if not 0 < options.minutes <= 60 * 24 * 365:
        raise UsageError("--minutes must be more than 0 and at most a year")
    database = Database(_settings(options).database_path())
    try:
        consent = Consent(database, clock=SystemClock())
        if options.withdraw:
            consent.withdraw()
            print("the consent is withdrawn")
            return 0
        until = consent.give(seconds=options.minutes * 60)
    finally:
        database.close()
    shown = datetime.fromtimestamp(until, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    print(f'strips may go to the cloud until {shown}, where the switch cloud_use is "ask"')
    return 0


def _translate(options: argparse.Namespace) -> int:
    from phone.meanings import to_meaning
    from shared.models.calibration import Calibration
    from shared.models.packs import PackStore, default_store_root
    from shared.models.sign_translation import PHRASEBOOK_TARGET, SignTranslator, TranslationEngine
    from shared.models.translators import load_translators

    text, source, target = options.text.strip(), options.source, options.target
    if not 0 < len(text) <= MAX_TEXT_CHARACTERS:
        raise UsageError(f"TEXT must have 1 to {MAX_TEXT_CHARACTERS} characters")
    if not 1 <= options.beam <= 16:
        raise UsageError("--beam must be 1 to 16")
    for code in filter(None, (source, target, *options.trip_languages)):
        if len(code) != 2 or not code.isascii() or not code.islower():
            raise UsageError(f"{code!r} is no language", hint="write a lower-case ISO 639-1 code, such as pt")
    store = PackStore(options.packs or default_store_root())
    apertium = ApertiumUse(options.apertium or ApertiumUse.AUTO)
    translators = load_translators(store, target=target, apertium=apertium)
    phrasebook = _phrasebook(options)
    result = SignTranslator(phrasebook, translators).translate_sign(
        text.splitlines(), source=source, target=target, beam=options.beam, expected=options.trip_languages
    )
    if result.engine is TranslationEngine.NONE:
        if result.source is None:
            raise DirectionUnsupported("the language of this text is not clear", hint="say it with --from")
        if target == PHRASEBOOK_TARGET and result.source in phrasebook.languages:
            direction = f"{result.source} to {target}"
            raise DirectionUnsupported(
                f"this is none of the phrasebook's signs, and no translator from {direction} is installed",
                hint=_INSTALL_HINT,
            )
        raise DirectionUnsupported(f"nothing installed translates {result.source} to {target}", hint=_INSTALL_HINT)
    meaning = to_meaning(result, Calibration.builtin())
    print(meaning.translation)
    pack = f" {meaning.pack_name} {meaning.pack_version}".rstrip() if meaning.pack_version else ""
    partly = "; partly untranslated" if meaning.reason is not None else ""
    print(
        f"({meaning.source or 'no language'} to {target}, {meaning.engine.value}{pack}, "
        f"confidence {meaning.confidence:.2f}, language {meaning.language:.2f}{partly})"
    )
    return 0


def _languages(options: argparse.Namespace) -> int:
    from phone.languages import as_json, check, describe, offline_languages
    from shared.models.manifest import Task
    from shared.models.packs import PackStore, default_store_root
    from shared.models.recognition import TextRecogniser
    from shared.models.translators import installed_routes, load_translators

    store = PackStore(options.packs or default_store_root())
    apertium = ApertiumUse(options.apertium or ApertiumUse.AUTO)
    manifests = store.installed()
    phrasebook = _phrasebook(options)
    alphabets = {
        manifest.name: TextRecogniser.load(store.get(manifest.name)).alphabet
        for manifest in manifests
        if manifest.task is Task.RECOGNITION
    }
    reports = offline_languages(manifests, phrasebook, alphabets, installed_routes(store, apertium=apertium))
    translators = load_translators(store, apertium=apertium) if options.check else {}
    failed = 0
    for report in reports:
        checks = {}
        if options.check:
            checks = {(item.source, item.target): check(item, phrasebook, translators) for item in report.directions}
            failed += sum(not outcome.works for outcome in checks.values())
        if options.json:
            print(json.dumps(as_json(report, checks if options.check else None), ensure_ascii=False))
            continue
        for line in describe(report):
            print(line)
        for item in report.directions if options.check else ():
            outcome = checks[item.source, item.target]
            shown = " | ".join(outcome.translations) or "(nothing)"
            print(f"        {item.sample} -> {item.target}: {shown}{'' if outcome.works else '  DOES NOT WORK'}")
    if not options.json and not any(manifest.task is Task.TRANSLATION for manifest in manifests):
        print("no translator is installed; run: wayword-phone packs install")
    return DirectionUnsupported.exit_code if failed else 0


if __name__ == "__main__":
    sys.exit(entry())
