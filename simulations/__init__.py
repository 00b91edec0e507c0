"""Emulated radio and world, the demo, benchmarks. Runs the tiers; holds no product logic."""
