"""What a day costs in joules: constants with sources and ranges, radios with tails, devices, batteries. Pure, no clock.

Public names, by module:

- `constants`: `Constant` (value, range, unit, source, how far it was checked), `Constants` (one set of values by name).
- `registry`: `CONSTANTS` (all of them, those of networks and of the wearer too), `nominal()`, `draw(seed)`,
  `latin_hypercube(seed, count)`: the sets of values that a sweep runs with.
- `radio`: `RadioKind`, `radio_model(kind, constants)`, `PhoneRadio` (told of transfers, gives joules with tails that
  they share), `PhoneRadios` (one per technology), `RadioSummary`.
- `ble`: `BleRadio` and `ble_model(end, constants)`: the link between glasses and phone.
- `devices`: `DeviceClass`, `device(name, constants)`, `PHONES`, `GLASSES`, `ocr_runs_per_charge`, `runs_table`.
- `battery`: `SimulatedBattery`.
- `command`: `wayword-sim constants`.

Times are seconds, powers watts, energies joules, sizes bytes. Import from the modules: this package imports nothing.
"""
