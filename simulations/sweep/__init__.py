"""`wayword-sim sweep`: the designs compared in a simulated day, with the product's own code under virtual time.

How a run comes about, by module:

- `arms`, `grid`: what is compared, and every arm with every sample of the constants.
- `plan`: the world's encounters as looks at traces; `book` gives a trace a number that travels in its strip.
- `product`: the designs that run the product (`wearer`, `bluetooth`, `replay` for the phone's models, `uplink` and
  `ways` for the network, `cloudside` for the service; `relay` is the split design's phone); `simple`: the others.
- `outcomes`, `accounts`, `metrics`: what the wearer got, what it cost, and the numbers of a run.
- `results`, `table`, `command`: `results.json` and the table; `policies`, `devices`, `computing`: small helpers.

Import from the modules: this package imports nothing.
"""
