"""Which engine translates which direction: packs, two packs over a pivot, Apertium where it is installed.

For one direction the first of these that is there serves:

1. a pack of the direction;
2. Apertium, where neither language is English: its pairs join neighbours such as Spanish and Portuguese;
3. two packs over English;
4. Apertium into a neighbour and a pack from there, or a pack and then Apertium;
5. Apertium alone, into or out of English, which is what it does worst (docs/decisions/0021).

No route has more than two steps: each one adds its errors to those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, Protocol, TypeAlias

from shared.errors import PackError
from shared.models.apertium import ApertiumTranslator, EngineName, installed_modes, installed_version
from shared.models.apertium_use import ApertiumUse
from shared.models.bergamot.translator import BergamotTranslator, Translation
from shared.models.manifest import Task
from shared.models.packs import PackStore

PIVOT: Final = "en"
"""Every pack of the public registries translates into or out of it."""

Direction: TypeAlias = tuple[str, str]
"""(source, target), ISO 639-1."""


class Named(Protocol):
    """What is shown of an engine: an installed pack has both."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


class Translator(Protocol):
    """One direction of translation."""

    @property
    def pack(self) -> Named:
        """Where it comes from."""

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        """Translate one line of text, capitals already lowered.

        Raises:
            PackError: the model or the process behind it failed.
        """


Translators: TypeAlias = Mapping[Direction, Translator]


class EngineKind(StrEnum):
    """Which program does one step."""

    PACK = "pack"
    APERTIUM = "apertium"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a route."""

    kind: EngineKind
    direction: Direction


Route: TypeAlias = tuple[Step, ...]


class PivotTranslator:
    """Two translators, the second fed with what the first says.

    Args:
        first: from the source into the pivot.
        second: from the pivot into the target.
    """

    def __init__(self, first: Translator, second: Translator) -> None:
        self._first = first
        self._second = second
        self.steps = (first, second)
        names = first.pack, second.pack
        self.pack = EngineName(
            "+".join(pack.name for pack in names), "+".join(pack.version for pack in names if pack.version)
        )

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        """Translate in two steps.

        Returns:
            The translation with the log-probabilities of both steps, and the tokens of the first: what that one did not
            know reaches the second as it stood.

        Raises:
            PackError: one of the two failed.
        """
        middle = self._first.translate(text, beam=beam)
        if not middle.text.strip():
            return Translation("", (), middle.source_tokens, middle.unknown_tokens)
        end = self._second.translate(middle.text, beam=beam)
        return Translation(
            end.text,
            (*middle.token_log_probabilities, *end.token_log_probabilities),
            middle.source_tokens,
            middle.unknown_tokens,
        )


def routes(packs: Collection[Direction], apertium: Collection[Direction]) -> dict[Direction, Route]:
    """How each direction that can be served is served, sorted by target and source.

    Args:
        packs: directions that a pack serves.
        apertium: directions that an installed Apertium serves.
    """
    languages = {language for direction in (*packs, *apertium) for language in direction}
    found = {}
    for target, source in product(sorted(languages), sorted(languages)):
        route = next(_candidates(source, target, packs, apertium), None) if source != target else None
        if route is not None:
            found[source, target] = route
    return found


def _candidates(
    source: str, target: str, packs: Collection[Direction], apertium: Collection[Direction]
) -> Iterator[Route]:
    """Routes of one direction, the most trusted first."""
    direct = source, target
    if direct in packs:
        yield (Step(EngineKind.PACK, direct),)
    if direct in apertium and PIVOT not in direct:
        yield (Step(EngineKind.APERTIUM, direct),)
    if (source, PIVOT) in packs and (PIVOT, target) in packs:
        yield Step(EngineKind.PACK, (source, PIVOT)), Step(EngineKind.PACK, (PIVOT, target))
    for first, middle in sorted(apertium):
        if first == source and middle != PIVOT and (middle, target) in packs:
            yield Step(EngineKind.APERTIUM, (source, middle)), Step(EngineKind.PACK, (middle, target))
    for middle, last in sorted(apertium):
        if last == target and middle != PIVOT and (source, middle) in packs:
            yield Step(EngineKind.PACK, (source, middle)), Step(EngineKind.APERTIUM, (middle, target))
    if direct in apertium:
        yield (Step(EngineKind.APERTIUM, direct),)


def load_translators(
    store: PackStore,
    *,
    target: str | None = None,
    apertium: ApertiumUse = ApertiumUse.AUTO,
    threads: int = 1,
    on_problem: Callable[[PackError], None] | None = None,
) -> dict[Direction, Translator]:
    """A translator for every direction that something installed serves, or for those into one language.

    Only packs that a route uses are loaded, each once.

    Args:
        store: of the packs.
        target: only into this language, ISO 639-1; None for all.
        apertium: whether to use it.
        threads: that work on one call, for each pack.
        on_problem: told about each pack that cannot be loaded; directions are then served without it.

    Raises:
        PackError: a pack is corrupt or unsupported, and there is no `on_problem`.
    """
    names = _translation_packs(store)
    modes = _modes(apertium)
    engines: dict[Step, Translator] = {}
    while True:
        wanted = {
            direction: route
            for direction, route in routes(names, modes).items()
            if target is None or direction[1] == target
        }
        steps = sorted({step for route in wanted.values() for step in route}, key=lambda s: (s.kind, s.direction))
        packs = [step for step in steps if step.kind is EngineKind.PACK and step not in engines]
        if not packs:
            break
        for step in packs:
            try:
                engines[step] = BergamotTranslator.load(store.get(names[step.direction]), threads=threads)
            except PackError as error:
                if on_problem is None:
                    raise
                on_problem(error)
                # Another route may serve what this pack was to serve.
                del names[step.direction]
    foreign = [step for step in steps if step.kind is EngineKind.APERTIUM]
    version = installed_version() if foreign else ""
    for step in foreign:
        engines[step] = ApertiumTranslator(modes[step.direction], step.direction, version=version)
    return {direction: _along([engines[step] for step in route]) for direction, route in wanted.items()}


def installed_routes(store: PackStore, *, apertium: ApertiumUse = ApertiumUse.AUTO) -> dict[Direction, Route]:
    """How each direction is served with what is installed, without loading any of it.

    Raises:
        PackCorrupt: a manifest cannot be read.
    """
    return routes(_translation_packs(store), _modes(apertium))


def warm_up(translators: Translators) -> None:
    """Run every model once, so that the first sign does not wait for it; other programs are left alone.

    Raises:
        PackError: a model failed.
    """
    for model in {id(model): model for engine in translators.values() for model in _models(engine)}.values():
        model.translate("a")


def _models(engine: Translator) -> list[BergamotTranslator]:
    if isinstance(engine, PivotTranslator):
        return [model for step in engine.steps for model in _models(step)]
    return [engine] if isinstance(engine, BergamotTranslator) else []


def _translation_packs(store: PackStore) -> dict[Direction, str]:
    return {
        manifest.direction: manifest.name
        for manifest in store.installed()
        if manifest.task is Task.TRANSLATION and manifest.direction is not None
    }


def _modes(apertium: ApertiumUse) -> dict[Direction, str]:
    return {} if apertium is ApertiumUse.OFF else installed_modes()


def _along(engines: list[Translator]) -> Translator:
    return engines[0] if len(engines) == 1 else PivotTranslator(engines[0], engines[1])
