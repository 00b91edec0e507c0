"""Traces: what the small and the large pipeline make of labelled signs, and everything known before deciding."""
