"""All constants of the simulator, and the sets of values that runs use."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from simulations.energy.constants import Constants, joined
from simulations.energy.device_constants import DEVICE_CONSTANTS
from simulations.energy.radio_constants import RADIO_CONSTANTS
from simulations.networks.constants import NETWORK_CONSTANTS
from simulations.radio.draws import uniform
from simulations.world.constants import WORLD_CONSTANTS

CONSTANTS: Final = joined((RADIO_CONSTANTS, DEVICE_CONSTANTS, NETWORK_CONSTANTS, WORLD_CONSTANTS))


def nominal() -> Constants:
    """Every constant at its nominal value."""
    return Constants.of({name: constant.value for name, constant in CONSTANTS.items()})


def draw(seed: int) -> Constants:
    """Every constant drawn from its range, independently.

    A value depends on the seed and the constant's name alone: a constant more or less changes no other.

    Args:
        seed: 0 to 2**63 - 1.
    """
    return Constants.of(
        {name: constant.quantile(uniform(seed, "constant", _number(name))) for name, constant in CONSTANTS.items()}
    )


def latin_hypercube(seed: int, count: int) -> list[Constants]:
    """`count` sets that cover every constant's range evenly (McKay, Beckman and Conover, Technometrics 1979).

    Each constant takes one value from each of `count` equally likely slices of its range, in an order of its own, so
    that few runs say as much about what matters as many independent ones.

    Args:
        seed: 0 to 2**63 - 1.
        count: how many sets.
    """
    columns: dict[str, list[float]] = {}
    for name, constant in CONSTANTS.items():
        number = _number(name)
        keys = [uniform(seed, "slice", number, index) for index in range(count)]
        slices = sorted(range(count), key=keys.__getitem__)
        columns[name] = [
            constant.quantile((place + uniform(seed, "within", number, index)) / count)
            for index, place in enumerate(slices)
        ]
    return [Constants.of({name: column[index] for name, column in columns.items()}) for index in range(count)]


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") >> 1
