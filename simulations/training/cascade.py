"""Train the cascade's metamodel on traces: how likely a reading is right, and what asking the cloud would change.

Part train fits. What kind of model is chosen by cross-validation within train, no phrase in two folds: logistic
regression or boosted trees (scikit-learn, extra `train`), for all recognisers together or for each its own. The phrases
of part calibration are dealt by a hash, those that stand on one sign together: a quarter calibrates the probabilities
(Platt 1999, for each recogniser), the others certify from which P(right) on at most 5 % of the readings are wrong
(`shared/models/risk.py`), one look of each phrase. They may not be the same: a threshold certified on what the
probabilities were fitted to would promise too much. Parts test and photo only report. The same traces and seed give the
same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import InputError, StorageError
from shared.models.cascade_pack import (
    DOCUMENT_NAME,
    DOCUMENT_VERSION,
    MODEL_NAME,
    PACK_NAME,
    CascadeDocument,
    dump_document,
)
from shared.models.manifest import MANIFEST_NAME, PackManifest, Task, describe_file, dump_manifest
from shared.models.metamodel import Metamodel
from shared.models.risk import RiskCertificate, certify
from shared.models.session import OnnxSession, open_session
from shared.models.sign_features import ENCODING_VERSION, FEATURES, RECOGNISERS
from simulations.traces.records import SignTrace, TracePart, read_traces
from simulations.training.cascade_data import Table, table_of
from simulations.training.cascade_fit import Heads, Kind, Question, fit_heads
from simulations.training.cascade_onnx import to_onnx
from simulations.training.cascade_page import card, reliability_page
from simulations.training.cascade_report import (
    Judged,
    certificate_report,
    light_report,
    part_report,
    trust_report,
)
from simulations.training.cascade_trust import fit_trust

ALPHA: Final = 0.05
"""Largest share of certified readings that may be wrong."""
DELTA: Final = 0.05
"""Chance that the sample misled."""
PARITY: Final = 1e-5
"""Largest difference between the graph and the model it was made from, as probability."""
TIMED_CALLS: Final = 1000
ASSUMPTION: Final = (
    "Holds for signs drawn as those of the calibration part were: rendered signs in its mix of languages, light, fonts "
    "and distances, each with another text than all others. Another mix voids it. Method: selective risk control by "
    "fixed-sequence testing with exact binomial tails (Clopper-Pearson), on the phrases that did not calibrate."
)


@dataclass(frozen=True)
class Trained:
    """A pack in a folder, and what is known of it.

    Attributes:
        manifest: of the pack.
        document: its `cascade.json`.
        judged: every reading of the traces with the graph's answers.
    """

    manifest: PackManifest
    document: CascadeDocument
    judged: Judged


def add_parser(models: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cascade` to `wayword-sim train`."""
    parser = models.add_parser(
        "cascade",
        help="the metamodel of the cascade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--traces", type=Path, nargs="+", required=True, metavar="FILE", help="made by wayword-sim traces"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pack")
    parser.add_argument("--page", type=Path, metavar="FILE", help="page of reliability diagrams to write, HTML")
    parser.add_argument("--card", type=Path, metavar="FILE", help="model card to write, Markdown")
    parser.add_argument(
        "--model", type=Kind, choices=list(Kind), default=Kind.AUTO, help="kinds to choose from (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=6, metavar="N", help="(default: %(default)s)")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim train cascade`."""
    signs: list[SignTrace] = []
    origin: list[dict[str, Any]] = []
    for path in arguments.traces:
        header, found = read_traces(path)
        first = max((sign.sign for sign in signs), default=-1) + 1  # every file counts its signs from 0
        signs += [replace(sign, sign=first + sign.sign) for sign in found]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        origin.append({"sha256": digest, "looks": len(found), "seed": header.seed, "command": header.command})
    started = time.monotonic()
    trained = train(signs, arguments.out, kind=arguments.model, seed=arguments.seed, origin=origin)
    print(f"trained in {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(card(trained.document, trained.manifest))
    evidence = [local.evidence for sign in signs for local in sign.local.values() if local.evidence is not None]
    model = Metamodel.load(arguments.out)
    times = []
    for number in range(min(TIMED_CALLS, 4 * len(evidence))):
        began = time.thread_time()
        model.estimate(evidence[number % len(evidence)])
        times.append(1000 * (time.thread_time() - began))
    print(
        f"an estimate takes {statistics.median(times):.3f} ms, 99 of 100 {np.quantile(times, 0.99):.3f} ms (CPU time)"
    )
    if arguments.page is not None:
        _write(arguments.page, reliability_page(trained.judged, trained.document).encode())
    if arguments.card is not None:
        _write(arguments.card, card(trained.document, trained.manifest).encode())
    return 0


def train(
    signs: Sequence[SignTrace], out: Path, *, kind: Kind, seed: int, origin: Sequence[Mapping[str, Any]] = ()
) -> Trained:
    """Fit, calibrate, certify and measure; writes the pack.

    Args:
        signs: of all parts.
        out: folder for the pack.
        kind: kinds of models to choose from.
        seed: of whatever is drawn.
        origin: what to say of where the traces come from.

    Raises:
        InputError: a part is missing, an extra is not installed, or the graph is not the model.
        SignalsInvalid: a trace holds an impossible number.
        StorageError: the folder cannot be written.
    """
    table = table_of(signs)
    calibration = table.of_part(TracePart.CALIBRATION)
    certifying = calibration.certifying()
    train_part = table.of_part(TracePart.TRAIN)
    heads = fit_heads(train_part, calibration.where(~certifying), kind=kind, seed=seed)
    graph = to_onnx(heads)
    _write(out / MODEL_NAME, graph)
    session = open_session(out / MODEL_NAME)
    difference = parity(heads, session, table)
    if not difference <= PARITY:
        raise InputError(f"the graph differs from the model it was made from by {difference:g}")
    judged = Judged.of(session, table)
    certified = Judged.of(session, calibration.where(certifying))
    certificates = certificates_of(certified)
    trust = fit_trust(train_part)
    test, photo = judged.of_part(TracePart.TEST), judged.of_part(TracePart.PHOTO)
    report = {
        "traces": list(origin),
        "looks": dict(sorted(Counter(sign.part.value for sign in signs).items())),
        "signs": {part.value: len({sign.sign for sign in signs if sign.part is part}) for part in TracePart},
        "seed": seed,
        "models": {
            question.value: {"chosen": str(head.recipe), "cross-validation": dict(head.losses)}
            for question, head in zip(Question, (heads.right, heads.mended, heads.spoilt), strict=True)
        },
        "calibration": {"calibrating": int((~certifying).sum()), "certifying": int(certifying.sum())},
        "test": part_report(test),
        "photo": part_report(photo),
        "certified": {
            "test": certificate_report(test, certificates),
            "photo": certificate_report(photo, certificates),
        },
        "trust": trust_report(test, trust),
        "light": light_report(test, trust),
    }
    document = CascadeDocument(DOCUMENT_VERSION, FEATURES, certificates, ASSUMPTION, trust, report)
    _write(out / DOCUMENT_NAME, dump_document(document))
    manifest = _manifest(out, graph, document)
    _write(out / MANIFEST_NAME, dump_manifest(manifest))
    return Trained(manifest, document, judged)


def parity(heads: Heads, session: OnnxSession, table: Table) -> float:
    """Largest difference between the graph's answers and the model's, over all readings and outputs."""
    judged = Judged.of(session, table)
    expected = heads.outputs(table.x, table.recogniser)
    found = (judged.right, judged.helped, judged.harmed)
    return max(float(np.abs(said - meant).max()) for said, meant in zip(found, expected, strict=True))


def certificates_of(judged: Judged) -> dict[str, RiskCertificate | None]:
    """From which P(right) on a reading is certified, by recogniser; one look for each phrase.

    Each certificate stands for itself: delta is the chance that it fails, not that one of them does.
    """
    first = judged.where(judged.table.is_independent())
    found: dict[str, RiskCertificate | None] = {}
    for number, pack in enumerate(RECOGNISERS):
        own = first.of_recogniser(number)
        threshold = certify(own.right, own.table.right, alpha=ALPHA, delta=DELTA)
        found[pack] = (
            None
            if threshold is None
            else RiskCertificate(threshold.value, ALPHA, DELTA, threshold.kept, threshold.errors, len(own))
        )
    return found


def _manifest(out: Path, graph: bytes, document: CascadeDocument) -> PackManifest:
    return PackManifest(
        name=PACK_NAME,
        version=f"{DOCUMENT_VERSION}.{hashlib.sha256(graph).hexdigest()[:8]}",
        task=Task.CASCADE,
        languages=(),
        direction=None,
        files=tuple(describe_file(out / name) for name in sorted((MODEL_NAME, DOCUMENT_NAME))),
        encoding_version=ENCODING_VERSION,
        licence="Apache-2.0",
        source="wayword-sim train cascade, on traces of rendered signs",
        card={
            "model": "; ".join(
                f"{name}: {entry['chosen']}"
                for name, entry in dict(document.report["models"]).items()  # type: ignore[call-overload]
            ),
            "known_failures": [
                "trained on rendered signs: on photographs its probabilities and its certificate are not proven",
                "knows two recognisers and refuses to judge any other",
            ],
        },
    )


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
