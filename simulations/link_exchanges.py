"""Scripted conversations of glasses and phone, recorded for docs/link-vectors.json."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from shared import limits
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Ack, Data, Frame, FrameType, Hello, Refuse, Start
from shared.wire.sender import Delivered
from shared.wire.session import Session

GLASSES_EPOCH: Final = 0x5EED_0002
PHONE_EPOCH: Final = 0x5EED_0001
BEGIN_S: Final = 100.0
SIDES: Final = ("glasses", "phone")
_BATTERY: Final = {"glasses": 80, "phone": None}
_EPOCHS: Final = {"glasses": GLASSES_EPOCH, "phone": PHONE_EPOCH}

OBJECTS: Final = {
    "empty": b"",
    "word": "Straße".encode(),
    "strip": random.Random(200).randbytes(500),
}
"""Contents do not matter to the link. In 64-byte values "word" fits into START, "strip" takes nine fragments."""


@dataclass(slots=True)
class Exchange:
    """One conversation.

    Attributes:
        name: short.
        about: what it shows.
        versions: oldest and newest version that each side speaks.
        steps: as docs/link-vectors.json has them.
    """

    name: str
    about: str
    versions: dict[str, tuple[int, int]]
    steps: list[dict[str, Any]]


Fate = Callable[[str, Frame], bytes | str | None]
"""What becomes of a value: "lost", other bytes, or None for nothing."""


def _arrives(side: str, frame: Frame) -> bytes | str | None:
    return None


@dataclass(slots=True)
class Script:
    """Drives two sessions, one value at a time, and writes down what they say."""

    versions: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(SIDES, (1, 1)))
    max_write: int = 64
    now: float = BEGIN_S
    connected: bool = False
    fate: Fate = _arrives
    steps: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    submitted: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in SIDES:
            self._begin(side, _EPOCHS[side])

    @classmethod
    def greeted(cls, *, phone_versions: tuple[int, int] = (1, 1), fate: Fate = _arrives) -> Self:
        """Both sides, connected, once they have said what they have to; `fate` befalls values from the first on."""
        script = cls(versions={"glasses": (1, 1), "phone": phone_versions}, fate=fate)
        script.connect()
        return script

    def _begin(self, side: str, epoch: int) -> None:
        oldest, newest = self.versions[side]
        battery = _BATTERY[side]
        self.sessions[side] = Session(
            epoch=epoch, name=side, battery_percent=lambda: battery, oldest_version=oldest, version=newest
        )

    # Events ------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._note(event="connect", side="both", max_write=self.max_write)
        self.connected = True
        for session in self.sessions.values():
            session.connected(max_write=self.max_write, now=self.now)
        self._talk()

    def cut(self) -> None:
        self._note(event="cut", side="both")
        self.connected = False
        for session in self.sessions.values():
            session.disconnected(self.now)

    def grow(self, max_write: int) -> None:
        self.max_write = max_write
        self._note(event="max_write", side="both", max_write=max_write)
        for session in self.sessions.values():
            session.set_max_write(max_write)
        self._talk()

    def restart(self, side: str, epoch: int) -> None:
        self._note(event="restart", side=side, epoch=epoch)
        self._begin(side, epoch)

    def submit(self, side: str, name: str, lane: Lane, seconds: float) -> None:
        self._note(event="submit", side=side, object=name, lane=lane.name.lower(), seconds=seconds)
        ticket = self.sessions[side].submit(OBJECTS[name], lane=lane, deadline=self.now + seconds, now=self.now)
        self.submitted[side, ticket] = name
        self._talk()

    def take(self, side: str) -> None:
        payload = self.sessions[side].take_object()
        if payload is None:
            raise AssertionError("the script takes what is not there")
        self._note(event="take", side=side, object=next(name for name in OBJECTS if OBJECTS[name] == payload))

    def wait(self, seconds: float) -> None:
        """Let time pass, from one moment at which something happens to the next."""
        until = self.now + seconds
        while (wakeup := self._wakeup()) is not None and wakeup <= until:
            self.now = max(self.now, wakeup)
            self._talk()
        self.now = until

    def _wakeup(self) -> float | None:
        times = [session.wakeup(self.now) for session in self.sessions.values()]
        return min((time for time in times if time is not None), default=None)

    # Talking -----------------------------------------------------------------------------------------

    def _talk(self) -> None:
        """Let the sides speak in turn until neither has anything to say."""
        silent = 0
        while silent < len(SIDES):
            silent = 0
            for side in SIDES:
                session = self.sessions[side]
                session.tick(self.now)
                session.stalled(self.now)
                self._outcomes(side)
                value = session.next_value(self.now)
                if value is None:
                    silent += 1
                else:
                    self._carry(side, value)

    def _carry(self, side: str, value: bytes) -> None:
        other = SIDES[1 - SIDES.index(side)]
        frame = frames.decode(value)
        step: dict[str, Any] = {"from": side, "hex": value.hex(), "frame": describe(frame)}
        fate = self.fate(side, frame)
        if fate == "lost":
            step["lost"] = True
        else:
            arrived = fate if isinstance(fate, bytes) else value
            if arrived != value:
                step["arrives_as"] = arrived.hex()
            refusal = self.sessions[other].on_value(arrived, self.now)
            if refusal is not None:
                step["refused_as"] = refusal.value
        self._note(**step)
        self._outcomes(other)

    def _outcomes(self, side: str) -> None:
        for outcome in self.sessions[side].outcomes():
            result = "delivered" if isinstance(outcome, Delivered) else type(outcome.error).__name__
            self._note(event="outcome", side=side, object=self.submitted[side, outcome.ticket], outcome=result)

    def _note(self, **step: Any) -> None:
        self.steps.append({"at": round(self.now, 6), **step})


def describe(frame: Frame) -> str:
    """A frame in a few words."""
    match frame:
        case Hello():
            return f"HELLO{' REPLY' if frame.reply else ''} epoch {frame.epoch:#x}, max write {frame.max_write}"
        case Start():
            carries = ", carries it" if frame.payload is not None or not frame.length else ""
            return f"START {_which(frame)}, {frame.length} bytes in fragments of {frame.fragment_size}{carries}"
        case Data():
            return f"DATA {_which(frame)}, fragment {frame.index}"
        case Ack():
            return f"ACK {_which(frame)}, next {frame.next_index}, bitmap {frame.bitmap:#b}, credits {frame.credits}"
        case Refuse():
            return f"REFUSE {_which(frame)}, {frame.reason.name}"
        case _:
            return f"{type(frame).__name__.upper()} {_which(frame)}"


def _which(frame: Frame) -> str:
    return "" if isinstance(frame, Hello) else f"{frame.lane.name.lower()} {frame.transfer_id}"


class _Once:
    """A fate that befalls the first value of a kind."""

    def __init__(
        self, side: str, kind: FrameType, what: bytes | str | Callable[[Frame], bytes], index: int = 0
    ) -> None:
        self._side, self._kind, self._what, self._index = side, kind, what, index
        self._spent = False

    def __call__(self, side: str, frame: Frame) -> bytes | str | None:
        if self._spent or side != self._side or type(frame).__name__.upper() != self._kind.name:
            return None
        if isinstance(frame, Data) and frame.index != self._index:
            return None
        self._spent = True
        return self._what(frame) if callable(self._what) else self._what


def _flipped(frame: Frame) -> bytes:
    value = bytearray(frames.encode(frame))
    value[-1] ^= 0x10
    return bytes(value)


def _without_object(frame: Frame) -> bytes:
    return frames.encode(frame)[: frames.START_BYTES]


def exchanges() -> Iterable[Exchange]:
    """Every conversation, each from its own beginning."""
    for play, about in _PLAYS:
        script = play()
        name = play.__name__.strip("_").replace("_", " ")
        yield Exchange(name, about, script.versions, script.steps)


def _greeting() -> Script:
    script = Script.greeted(phone_versions=(1, 3), fate=_Once("phone", FrameType.HELLO, "lost"))
    script.wait(1.0)
    return script


def _no_common_version() -> Script:
    script = Script.greeted(phone_versions=(2, 3))
    script.submit("glasses", "word", Lane.CONTROL, 0.25)
    script.wait(0.4)
    return script


def _objects_in_start() -> Script:
    script = Script.greeted()
    script.submit("glasses", "word", Lane.CONTROL, 2.0)
    script.take("phone")
    script.submit("phone", "empty", Lane.BULK, 2.0)
    script.take("glasses")
    return script


def _arrives_in_spite_of(fate: Fate, name: str, lane: Lane, *, within: float) -> Script:
    """The glasses send one object, and `within` seconds the phone has it."""
    script = Script.greeted(fate=fate)
    script.submit("glasses", name, lane, 5.0)
    script.wait(within)
    script.take("phone")
    return script


def _lost_fragment() -> Script:
    return _arrives_in_spite_of(_Once("glasses", FrameType.DATA, "lost", index=2), "strip", Lane.BULK, within=0.5)


def _lost_done() -> Script:
    return _arrives_in_spite_of(_Once("phone", FrameType.DONE, "lost"), "strip", Lane.BULK, within=2.0)


def _cut_start() -> Script:
    return _arrives_in_spite_of(_Once("glasses", FrameType.START, _without_object), "word", Lane.CONTROL, within=2.5)


def _corrupt() -> Script:
    return _arrives_in_spite_of(_Once("glasses", FrameType.DATA, _flipped, index=1), "strip", Lane.BULK, within=0.5)


def _cut_behind_fragment_3(phone_epoch: int = PHONE_EPOCH) -> Script:
    """The connection is cut during a transfer and comes back; the phone has been restarted if its epoch is another."""
    script = Script.greeted(fate=lambda side, frame: "lost" if isinstance(frame, Data) and frame.index >= 4 else None)
    script.submit("glasses", "strip", Lane.BULK, 30.0)
    script.wait(0.02)
    script.cut()
    if phone_epoch != PHONE_EPOCH:
        script.restart("phone", phone_epoch)
    script.wait(2.0)
    script.fate = _arrives
    script.connect()
    script.wait(0.2)
    script.take("phone")
    return script


def _resume() -> Script:
    return _cut_behind_fragment_3()


def _new_epoch() -> Script:
    return _cut_behind_fragment_3(PHONE_EPOCH + 2)


def _busy() -> Script:
    script = Script.greeted()
    for _ in range(limits.MAX_CONCURRENT_TRANSFERS + 1):
        script.submit("glasses", "word", Lane.CONTROL, 10.0)
    for _ in range(limits.MAX_CONCURRENT_TRANSFERS):
        script.take("phone")
    script.wait(1.5)
    script.take("phone")
    return script


def _expired() -> Script:
    script = Script.greeted(fate=lambda side, frame: "lost" if isinstance(frame, Data) and frame.index == 3 else None)
    script.submit("glasses", "strip", Lane.BULK, 0.25)
    script.wait(0.3)
    return script


def _larger_values() -> Script:
    script = Script.greeted(fate=lambda side, frame: "lost" if isinstance(frame, Data | Ack) else None)
    script.submit("glasses", "strip", Lane.BULK, 30.0)
    script.fate = _arrives
    script.grow(244)
    script.wait(0.5)
    script.take("phone")
    return script


_PLAYS: Final[tuple[tuple[Callable[[], Script], str], ...]] = (
    (
        _greeting,
        "HELLO is answered by HELLO with REPLY; the first answer is lost, so HELLO is repeated. Version 1 it is.",
    ),
    (_no_common_version, "The phone speaks versions 2 to 3 only: no greeting, and nothing else is sent."),
    (_objects_in_start, "An object that fits travels in START and is answered with DONE; an empty one does, too."),
    (
        _lost_fragment,
        "Fragment 2 is lost: ACKs tell by their bitmap what came behind the gap, and it alone is repeated.",
    ),
    (_lost_done, "DONE is lost: START asks after the timeout, DONE again; the object is handed over once."),
    (_cut_start, "The object is cut off START: the repeated START brings it."),
    (_corrupt, "A bit flips in fragment 1: the checksum of the whole fails, and everything is sent again."),
    (_resume, "The connection is cut behind fragment 3: START asks, ACK states the position, the rest follows."),
    (_new_epoch, "As before, but the phone has a new epoch: it has forgotten everything, so everything is sent again."),
    (_busy, "The phone's owner takes nothing: the ninth object is refused as busy, and sent when there is room."),
    (_expired, "Fragment 3 never arrives: at the deadline CANCEL is sent."),
    (
        _larger_values,
        "Values grow from 64 to 244 bytes: both tell by HELLO, and the transfer starts over under a new id.",
    ),
)
