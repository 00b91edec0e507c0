"""Experiments: arms, what is counted of them, and canaries that stop themselves."""
