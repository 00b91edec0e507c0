"""Fuzz targets for the link: functions of bytes that raise when the codec or the session breaks a promise.

| target | what the bytes mean | promises |
|---|---|---|
| `codec` | one ATT value | a frame or `FrameMalformed`; what is decoded encodes to the same bytes |
| `session` | a hostile peer and a careless owner of one `Session` | no exception, memory and answers bounded |
| `pair` | two sessions and what happens to the values between them | only what was sent arrives, once, in time |

`targets.py` lists them; `random_engine.py`, `atheris_main.py` and, in CI, tests/shared/test_wire_fuzz.py feed them.
"""
