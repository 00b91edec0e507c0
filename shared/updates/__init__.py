"""Signed updates of model packs: what is published, how it is packed, fetched, judged and installed."""
