"""The cloud tier measured: what `wayword-cloud bench` runs."""
