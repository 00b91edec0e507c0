"""Places as cells of the H3 grid (Uber, https://h3geo.org): hexagons of about 15,000 square metres."""

from __future__ import annotations

import math
from typing import Final

import h3

from shared.errors import InputError

RESOLUTION: Final = 10
"""Edges of 76 m on average (h3geo.org, "Tables of cell statistics"): a few shop fronts, coarser than a position."""
RING: Final = 1
"""A sign read near a border belongs to either side, and a position in a street errs by tens of metres: look-ups take
the neighbours along."""
CELLS_AROUND: Final = 1 + 3 * RING * (RING + 1)
"""Cells of a look-up."""
_MAX_CHARACTERS: Final = 16


def cell_at(latitude: float, longitude: float) -> str:
    """The cell of a position, as lower-case hex.

    Args:
        latitude: WGS 84 degrees, -90..90.
        longitude: WGS 84 degrees, -180..180.

    Raises:
        InputError: it is no position on Earth.
    """
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        raise InputError("a latitude is -90..90 degrees and a longitude -180..180")
    return str(h3.latlng_to_cell(latitude, longitude, RESOLUTION))


def check_cell(cell: str) -> str:
    """A cell as others sent it.

    Raises:
        InputError: it is no cell of this resolution, or not in lower-case hex.
    """
    sound = 0 < len(cell) <= _MAX_CHARACTERS and cell.isascii() and cell == cell.lower() and h3.is_valid_cell(cell)
    if not sound or h3.get_resolution(cell) != RESOLUTION or h3.int_to_str(h3.str_to_int(cell)) != cell:
        raise InputError(f"a place cell is an H3 index of resolution {RESOLUTION} in lower-case hex")
    return cell


def around(cell: str) -> tuple[str, ...]:
    """A cell and its neighbours, the cell first.

    Args:
        cell: a sound one, see `check_cell`.
    """
    return (cell, *sorted(str(other) for other in h3.grid_disk(cell, RING) if other != cell))


def cell_number(cell: str) -> int:
    """A cell as a positive 64-bit integer, for stores: its highest bit is always 0."""
    return int(h3.str_to_int(cell))


def cell_name(number: int) -> str:
    """The inverse of `cell_number`."""
    return str(h3.int_to_str(number))
