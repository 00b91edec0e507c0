"""What must not get in, tried on a real service: TLS, client certificates and tokens on, one attack after the other.

While each goes on, and after it, a phone makes good calls. For every attack: how it was refused, within how many
milliseconds at worst, what it did to the service's memory, and to the phone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.security_attacks import ATTACKS, Attack, Seen
from simulations.bench.cloud.security_world import SETTINGS, SecurityWorld, Watched, make_credentials, world_of
from simulations.bench.cloud.signs import sign_requests

NAME: Final = "security"
HELP: Final = "what must not get in, tried on a real service while a phone goes on calling"
MAX_GROWTH_MB: Final = 96.0
"""Growth of the service's memory that is still called bounded: a bomb that worked would take 1 GB, and what the
service takes for its own calls moves by some 30 MB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="times of each quick attack (default: 5)")
    parser.add_argument("--sockets", type=int, default=300, metavar="N", help="idle connections (default: 300)")
    parser.add_argument("--only", action="append", metavar="ATTACK", help="only these (repeatable; a part of the name)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Try everything.

    Raises:
        WaywordError: the service does not start.
    """
    with tempfile.TemporaryDirectory(prefix="wayword-security-") as name:
        folder = Path(name)
        progress("making certificates and tokens, starting the service")
        credentials = make_credentials(folder)
        service = CloudProcess(("serve",), folder, settings={**SETTINGS, **credentials.settings()})
        with running([service]):
            rows = asyncio.run(_all(service, options, progress, world_of(credentials, service)))
    return Findings(
        "Security: what must not get in",
        rows,
        {"idle connections": options.sockets, "repeats of quick attacks": options.repeat, **SETTINGS},
        (
            "The service runs with TLS, client certificates and Ed25519 tokens, and one worker. Times are from the "
            "attacker's first byte to the refusal it sees, the slowest of all repeats, connecting included where the "
            "connection is what is refused.",
            "The phone calls twice a second throughout; its calls are real readings. Memory is the growth of the "
            "service's resident set, at its highest during the attack.",
        ),
    )


async def _all(
    service: CloudProcess, options: argparse.Namespace, progress: Progress, world: SecurityWorld
) -> list[Finding]:
    request = sign_requests(1, seed=7, languages=("pt",))[0]
    rows: list[Finding] = []
    watches: list[Watched] = []
    async with world.open(request):
        await world.warm_up()
        for attack in ATTACKS:
            if options.only and not any(word in attack.name for word in options.only):
                continue
            progress(attack.name)
            async with world.watched() as watched:
                seen = await attack.run(world, attack.count(options.repeat, options.sockets))
            watches.append(watched)
            rows.append(_row(attack, seen, watched))
    if not watches:
        return rows
    good = [ms for watched in watches for ms in watched.good_ms]
    failed = [failure for watched in watches for failure in watched.failed]
    growth = max(watched.growth_mb for watched in watches)
    alive = service.process.poll() is None
    return [
        *rows,
        Finding(
            "good calls that failed, during all attacks and after each",
            len(failed),
            "calls",
            "0",
            not failed and alive,
            f"of {len(good) + len(failed)}; {', '.join(sorted(set(failed))) or 'none'}",
        ),
        Finding(
            "good calls, median",
            statistics.median(good) if good else None,
            "ms",
            note=f"slowest {max(good, default=0.0):.0f} ms",
        ),
        Finding(
            "growth of the service's memory in one attack, at most",
            growth,
            "MB",
            f"<= {MAX_GROWTH_MB:.0f}",
            growth <= MAX_GROWTH_MB,
            f"{watches[0].before_mb:.0f} MB before the first, {watches[-1].after_mb:.0f} MB after the last",
        ),
    ]


def _row(attack: Attack, seen: Sequence[Seen], watched: Watched) -> Finding:
    slowest = max((one.ms for one in seen), default=None)
    wrong = [one.how for one in seen if not attack.expected(one.how)]
    ways = ", ".join(f"{sum(one.how == how for one in seen)} x {how}" for how in dict.fromkeys(one.how for one in seen))
    met = bool(seen) and not wrong and (slowest or 0.0) <= attack.limit_ms and not watched.failed
    good = f"good calls {len(watched.good_ms)} of {len(watched.good_ms) + len(watched.failed)}"
    worst = f", slowest {max(watched.good_ms):.0f} ms" if watched.good_ms else ""
    memory = f"memory {watched.growth_mb:+.0f} MB"
    return Finding(
        attack.name, slowest, "ms", f"refused in <= {attack.limit_ms:.0f}", met, f"{ways}; {good}{worst}; {memory}"
    )
