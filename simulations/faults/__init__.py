"""Seeded faults for the glasses-phone link under virtual time: what must hold whatever happens to the connection.

`schedule` draws from a seed what happens, `world` lets it happen to two real links, `checks` says what must hold of the
record, `resume` counts what is sent again after a cut, `replay` runs seeds and says how to repeat one.
"""
