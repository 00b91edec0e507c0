"""Emulated radio and world, the demo, benchmarks. Runs the tiers; holds no product logic."""

import glasses  # noqa: F401 - it sets up OpenCV, which has to happen before anything loads it
