"""The wearer's day: where a tourist goes, which signs come into view and for how long. Pure and seeded, no asyncio.

Public names, by module:

- `destinations`: `Destination` (language mix), `DESTINATIONS` by name ("lisbon", "tokyo", "seoul", "paris", "berlin").
- `habits`: `Activity`, `Habits`, `habits(constants)`: all behavioural parameters of a run in one dataclass.
- `day`: `wear(destination, constants, seed, days=1)` -> `Wear` with `segments` (activity, place, network preset,
  charging) and `encounters` (`Encounter`: when, which sign, language, light, how long in view, looks).
- `choice`: `TraceChooser(traces)`; `choose(encounter, look)` gives the `SignTrace` of that sign: the same sign always
  the same phrase, and under the same light the same trace.
- `constants`: rates, durations and shares, assumptions nearly all of them.

Times are seconds since the first midnight. Import from the modules.
"""
