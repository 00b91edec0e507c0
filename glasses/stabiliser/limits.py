"""Sizes of everything the stabiliser holds: nothing in it grows. Working pixels are those of level 0."""

from __future__ import annotations

from typing import Final

WORKING_SIDE: Final = 640
"""Frames are reduced by a whole factor until their longer side is near this: 1280x720 becomes 640x360."""
LEVELS: Final = 3
"""Level 0 has the working size; each further level has half the width and height of the one before."""
LEVEL_SCALE: Final = (1, 2, 4)
MINIMUM_FRAME_SIDE: Final = 64
MAXIMUM_FRAME_SIDE: Final = 8192
"""Of a frame, in its own pixels."""
REMEMBERED_FRAMES: Final = 96
"""Reduced frames kept for late results: 3.2 s at 30 frames a second, 302 kB each for 1280x720."""
PLANES: Final = 32
REGIONS_PER_PLANE: Final = 16
TEMPLATES: Final = 2 * PLANES
"""A plane's next template is made while its present one is in use."""
POINTS: Final = 320
"""Template points of a plane on one level, at most."""
POINTS_WANTED: Final = (260, 180, 110)
"""Template points of a plane on levels 0, 1 and 2, where the texture has so many."""
GYRO_SAMPLES: Final = 256
"""Gyro readings kept: 1.3 s at 200 Hz."""
