"""What signs at a place say: cells, readings, which two are the same sign, and how far several readers are trusted.

Pure, but for the protocol `memory.PlaceMemory`, which the phone's and the cloud's stores implement. `docs/places.md`
says what is stored where, for how long, and against whom.
"""
