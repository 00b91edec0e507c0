"""The phone's way to the internet, and presets for the link between glasses and phone. Pure and seeded, no asyncio.

Public names, by module:

- `profile`: `NetworkProfile` (one line of text, `parse` and `str`), `Access` (technology).
- `presets`: `PROFILES` (names), `network_profile(name, constants)`, `BLE_PROFILES`, `ble_profile(name)`.
- `path`: `NetworkPath(profile, seed)`: `state(time)` for `phone.network`, `request` and `reply` legs or a whole `call`,
  each with how long it takes, what was on the air, or how and when it fails.
- `constants`: rates, round trips and failures with their sources.

Times are seconds since the run began, sizes bytes, rates bytes a second. Import from the modules.
"""
