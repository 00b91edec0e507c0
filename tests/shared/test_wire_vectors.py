"""docs/link-vectors.json, from which other implementations are checked, is what this one does: read here anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.errors import FrameMalformed
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Content, Hello, RefuseReason, decode, encode
from shared.wire.sender import Delivered
from shared.wire.session import Session
from simulations import link_vectors

DOCUMENT: Mapping[str, Any] = json.loads(link_vectors.PATH.read_text(encoding="utf-8"))
OBJECTS = {name: bytes.fromhex(text) for name, text in DOCUMENT["objects"].items()}
TYPES = {kind.__name__.upper(): kind for kind in frames.Frame.__args__}
READ = {"lane": Lane, "reason": RefuseReason, "content": Content}
NAMES = {"glasses": 80, "phone": None}


def by_name(section: str) -> list[Any]:
    return [pytest.param(entry, id=entry["name"].replace(" ", "-")) for entry in DOCUMENT[section]]


def frame_of(vector: Mapping[str, Any]) -> frames.Frame:
    fields = {name: READ[name](value) if name in READ else value for name, value in vector["fields"].items()}
    if fields.get("payload") is not None:
        fields["payload"] = bytes.fromhex(fields["payload"])
    return TYPES[vector["type"]](**fields)


def test_the_file_is_what_the_generator_writes() -> None:
    assert link_vectors.PATH.read_text(encoding="utf-8") == link_vectors.document(), (
        "run `python -m simulations.link_vectors`"
    )


def test_there_are_vectors_of_every_type_refusal_and_answer() -> None:
    assert {vector["type"] for vector in DOCUMENT["frames"]} == {kind.name for kind in frames.FrameType}
    steps = [step for exchange in DOCUMENT["exchanges"] for step in exchange["steps"]]
    assert {step["frame"].split()[0] for step in steps if "hex" in step} == {kind.name for kind in frames.FrameType}
    refused = {vector["refused_as"] for vector in DOCUMENT["bad_frames"]}
    refused |= {step.get("refused_as") for step in steps} - {None}
    assert {"malformed", "unknown_version", "oversize", "busy", "corrupt", "duplicate", "wrong_epoch"} <= refused


@pytest.mark.parametrize("vector", by_name("frames"))
def test_a_frame_and_its_bytes_are_the_same(vector: Mapping[str, Any]) -> None:
    value = bytes.fromhex(vector["hex"])
    assert decode(value) == frame_of(vector)
    assert (encode(frame_of(vector)) == value) is not vector.get("decode_only", False)


@pytest.mark.parametrize("vector", by_name("bad_frames"))
def test_a_bad_frame_is_refused_and_survived(vector: Mapping[str, Any]) -> None:
    session = new_session("glasses", DOCUMENT["sides"]["glasses"]["epoch"], (1, 1))
    session.connected(max_write=512, now=100.0)
    hello = encode(Hello(DOCUMENT["sides"]["phone"]["epoch"], 1, 32, 512, None, 1, "phone"))
    if vector["when"] == "greeted":
        session.on_value(hello, 100.0)
    while session.next_value(100.0) is not None:
        pass
    value = bytes.fromhex(vector["hex"])
    refusal = session.on_value(value, 100.0)
    assert refusal is not None
    assert refusal.value == vector["refused_as"]
    assert dict(session.refusals) == {refusal: 1}
    answer = session.next_value(100.0)
    assert (answer.hex() if answer else None) == vector.get("answer")
    if vector["refused_as"] in ("malformed", "oversize") and answer is None:
        with pytest.raises(FrameMalformed):
            decode(value)
    assert session.on_value(hello, 100.1) is None
    assert session.greeted


@pytest.mark.parametrize("side", NAMES)
@pytest.mark.parametrize("exchange", by_name("exchanges"))
def test_a_conversation_goes_as_written(exchange: Mapping[str, Any], side: str) -> None:
    player = Player(side, exchange["versions"][side])
    for step in exchange["steps"]:
        player.play(step)
    player.has_said_everything()
    assert player.session.take_object() is None, "every object that arrives is in the file"


def new_session(name: str, epoch: int, versions: tuple[int, int]) -> Session:
    return Session(
        epoch=epoch,
        name=name,
        battery_percent=lambda: NAMES[name],
        oldest_version=versions[0],
        version=versions[1],
    )


class Player:
    """Plays one side of a conversation as the file tells another implementation to."""

    def __init__(self, side: str, versions: tuple[int, int]) -> None:
        self.side = side
        self.versions = versions
        self.session = new_session(side, DOCUMENT["sides"][side]["epoch"], versions)
        self.now = 0.0
        self.objects: dict[int, str] = {}
        self.outcomes: list[tuple[str, str]] = []

    def play(self, step: Mapping[str, Any]) -> None:
        if step["at"] > self.now:
            self.has_said_everything()
            self.now = step["at"]
            self.session.tick(self.now)
            self.note_outcomes()
        if "event" in step:
            if step["side"] in (self.side, "both"):
                self.happens(step)
        elif step["from"] == self.side:
            value = self.session.next_value(self.now)
            assert value is not None, step
            assert value.hex() == step["hex"], step
        elif not step.get("lost", False):
            refusal = self.session.on_value(bytes.fromhex(step.get("arrives_as", step["hex"])), self.now)
            assert (refusal.value if refusal else None) == step.get("refused_as"), step
        self.note_outcomes()

    def note_outcomes(self) -> None:
        for outcome in self.session.outcomes():
            result = "delivered" if isinstance(outcome, Delivered) else type(outcome.error).__name__
            self.outcomes.append((self.objects[outcome.ticket], result))

    def happens(self, step: Mapping[str, Any]) -> None:
        session = self.session
        match step["event"]:
            case "connect":
                session.connected(max_write=step["max_write"], now=self.now)
            case "cut":
                session.disconnected(self.now)
            case "max_write":
                session.set_max_write(step["max_write"])
            case "restart":
                self.session = new_session(self.side, step["epoch"], self.versions)
            case "submit":
                lane, deadline = Lane[step["lane"].upper()], self.now + step["seconds"]
                ticket = session.submit(OBJECTS[step["object"]], lane=lane, deadline=deadline, now=self.now)
                self.objects[ticket] = step["object"]
            case "take":
                assert session.take_object() == OBJECTS[step["object"]], step
            case "outcome":
                assert self.outcomes.pop(0) == (step["object"], step["outcome"])
            case other:
                pytest.fail(f"the file has an event that it does not explain: {other}")

    def has_said_everything(self) -> None:
        assert self.session.next_value(self.now) is None
        assert self.outcomes == []
