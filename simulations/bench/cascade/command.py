"""The cascade on traces: what it escalates and what that gives, its certificate, its metamodel, and routing.

The policy, the metamodel and the certificate are the ones that ship; nothing is fitted or chosen here but by --choose,
which looks at the calibration part only. --routing adds a study on recorded translations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from phone.cascade.policies import policy_named
from phone.reading import certificates_of
from shared.errors import StorageError, UsageError
from shared.models.metamodel import Metamodel
from shared.models.packs import PackStore, default_store_root
from simulations.bench.cascade import tables
from simulations.bench.cascade.certificate import ALPHA, SPLITS
from simulations.bench.cascade.choosing import best, priced, sweep
from simulations.bench.cascade.curves import GRID, RESAMPLES, Curve
from simulations.bench.cascade.judging import Trust, by_language, by_language_and_light, by_light, trust
from simulations.bench.cascade.looks import RECOGNISERS, looks_of
from simulations.bench.cascade.page import page
from simulations.bench.cascade.routing import SENTENCES, Routed, load_recorded, own_translators, route
from simulations.bench.cascade.study import TARGET_SHARE, Group, Promise, measure_group, measure_promise
from simulations.traces.records import SignTrace, TracePart, of_part, read_traces

SEED: Final = 20261126
POLICY: Final = "cascade"
OTHERS: Final = ("confidence",)
"""Policies shown beside the production one."""
_GROUPINGS: Final = {"language": by_language, "light": by_light, "language, light": by_language_and_light}
ALPHAS: Final = (ALPHA, 0.1)
"""The product's, and one that certifies more often, so that there is something to see."""


@dataclass(frozen=True)
class Results:
    """Everything measured.

    Attributes:
        groups: recognisers and parts.
        promises: certificates.
        trusts: which recogniser to trust, by part and what looks are grouped by, then its value.
        routed: pairs of translation systems.
    """

    groups: Sequence[Group]
    promises: Sequence[Promise]
    trusts: Mapping[str, Mapping[str, Trust]]
    routed: Sequence[Routed]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cascade` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "cascade", help="the cascade on traces: curves, certificate, metamodel, routing", description=__doc__
    )
    parser.add_argument("--traces", type=Path, nargs="+", default=[], metavar="FILE", help="of rendered signs")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], metavar="FILE", help="traces of photographs")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="metamodel (default: the one that ships)")
    parser.add_argument("--choose", action="store_true", help="only sweep the base price, on the calibration part")
    parser.add_argument("--routing", type=Path, metavar="DIR", help="recorded translations, such as ../shared/mt-eval")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store, for routing (default: the user's)")
    parser.add_argument(
        "--sentences", type=int, default=SENTENCES, metavar="N", help="of each direction (default: %(default)s)"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help="default: %(default)s")
    parser.add_argument("--splits", type=int, default=SPLITS, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--alpha",
        type=float,
        action="append",
        metavar="X",
        help=f"error rate that a certificate allows; may be repeated (default: {' and '.join(map(str, ALPHAS))})",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of bootstrap and splits (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page with charts")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench cascade`."""
    for name in ("resamples", "splits", "sentences"):
        if getattr(arguments, name) < 2:
            raise UsageError(f"--{name} must be at least 2")
    if not all(0 < alpha < 1 for alpha in arguments.alpha or ALPHAS):
        raise UsageError("--alpha must be between 0 and 1")
    signs, notes = read_all([*arguments.traces, *arguments.photos])
    if not signs and (arguments.choose or arguments.routing is None):
        raise UsageError("there is nothing to measure", hint="give --traces, --photos or --routing")
    metamodel = None
    if signs:
        metamodel = Metamodel.load(arguments.pack) if arguments.pack else Metamodel.builtin()
        notes.append(f"Metamodel: {metamodel.pack.name} {metamodel.pack.version}.")
        if arguments.choose:
            return _choose(signs, metamodel)
    routed = _routed(arguments)
    results = Results((), (), {}, routed) if metamodel is None else measure(signs, metamodel, routed, arguments)
    lines = [*notes, "", *as_markdown(results)]
    print("\n".join(lines))
    if arguments.out is not None:
        _write(arguments.out, json.dumps(as_json(results), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    if arguments.page is not None:
        shown = page(results.groups, results.promises, results.routed, as_markdown(results), notes)
        _write(arguments.page, shown)
    return 0


def read_all(paths: Sequence[Path]) -> tuple[list[SignTrace], list[str]]:
    """The looks of several files whose translations have a truth, and what each file says of itself.

    Raises:
        InputError: a file is no trace file.
        StorageError: it cannot be read.
    """
    signs: list[SignTrace] = []
    notes = []
    for path in paths:
        header, found = read_traces(path)
        judged = [sign for sign in found if sign.judged]
        signs += judged
        notes.append(
            f"{path.name}: {len(judged)} looks, seed {header.seed}; {len(found) - len(judged)} more left out, whose "
            f"translation has nothing to be compared with. {header.notes}".strip()
        )
    return signs, notes


def measure(
    signs: Sequence[SignTrace], metamodel: Metamodel, routed: Sequence[Routed], arguments: argparse.Namespace
) -> Results:
    """Everything that traces tell, but for the choice of the base price."""
    policy = policy_named(POLICY, certificates=certificates_of(metamodel))
    others = [policy_named(name) for name in OTHERS]
    resamples, splits, seed = arguments.resamples, arguments.splits, arguments.seed
    groups, promises = [], []
    trusts: dict[str, Mapping[str, Trust]] = {}
    for part in (TracePart.TEST, TracePart.PHOTO):
        inside = of_part(signs, part)
        if not inside:
            continue
        # The better recogniser first: it wins ties.
        looks = {name: looks_of(inside, name, metamodel) for name in reversed(RECOGNISERS)}
        for name in RECOGNISERS:
            _say(f"{part}, {name}: {len(inside)} looks")
            groups.append(measure_group(looks[name], part.value, policy, others, resamples=resamples, seed=seed))
        groupings = _GROUPINGS if part is TracePart.TEST else {"language": by_language}
        trusts |= {f"{part}, {what}": trust(looks, key, metamodel) for what, key in groupings.items()}
    apart = of_part(signs, TracePart.CALIBRATION, TracePart.TEST, TracePart.PHOTO)
    if of_part(apart, TracePart.CALIBRATION, TracePart.TEST):
        for name in RECOGNISERS:
            looks_apart = looks_of(apart, name, metamodel)
            certificate = metamodel.certificate_of(looks_apart.pack)
            threshold = None if certificate is None else certificate.threshold
            for alpha in arguments.alpha or ALPHAS:
                _say(f"certificate, {name}, {alpha:.0%}: {splits} splits")
                promises.append(measure_promise(looks_apart, threshold, alpha=alpha, splits=splits, seed=seed))
    return Results(groups, promises, trusts, routed)


def as_markdown(results: Results) -> list[str]:
    """The tables of what was measured."""
    rows: list[str] = []
    if results.groups:
        rows += [*tables.group_tables(results.groups), ""]
    if results.promises:
        rows += [*tables.promise_tables(results.promises), ""]
    if results.groups:
        rows += [*tables.metamodel_tables(results.groups), "", *tables.trust_tables(results.trusts), ""]
    if results.routed:
        rows += tables.routing_tables(results.routed)
    return rows


def as_json(value: object) -> Any:
    """Results as numbers and texts that JSON can hold; a curve as its quality at each share of the grid."""
    if isinstance(value, Curve):
        return {"shares": GRID.tolist(), "qualities": [value.at(share) for share in GRID], "area": value.area}
    if is_dataclass(value):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    # AUROC of a group that is all right or all wrong is not a number.
    return None if isinstance(value, float) and np.isnan(value) else value


def _choose(signs: Sequence[SignTrace], metamodel: Metamodel) -> int:
    calibration = of_part(signs, TracePart.CALIBRATION)
    if not calibration:
        raise UsageError("the traces have no calibration part, and nothing is chosen on any other")
    looks = [looks_of(calibration, name, metamodel) for name in RECOGNISERS]
    certificates = certificates_of(metamodel)
    settings = sweep(looks, lambda price: priced(price, certificates))
    print("\n".join(tables.choosing_table(settings, best(settings, TARGET_SHARE))))
    return 0


def _routed(arguments: argparse.Namespace) -> list[Routed]:
    if arguments.routing is None:
        return []
    own = own_translators(PackStore(arguments.packs or default_store_root()), _say)
    found: list[Routed] = []
    for recorded in load_recorded(arguments.routing, arguments.sentences):
        found += route(
            recorded,
            own.get(recorded.direction),
            target_share=TARGET_SHARE,
            resamples=arguments.resamples,
            seed=arguments.seed,
            say=_say,
        )
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
