"""The designs that do without the product's link: all on the glasses, and all in the cloud by video or by stills.

They share the world, the energy and the networks with the others; what they compute is said here in a few lines. The
cloud of the stills design is the service's own code; for video, which the service does not take, a call costs what its
traces say.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from glasses.exchange import ReadingRank
from phone.cascade.inputs import Recogniser
from phone.cloud import CallCost, CloudClient
from shared.errors import CloudError
from shared.messages.wayword.v1 import cloud_pb2, link_pb2, types_pb2
from shared.models.sign_translation import TranslationEngine
from shared.wire import frames
from simulations.energy.constants import Constants
from simulations.energy.radio import PhoneRadios, RadioKind
from simulations.networks.presets import ble_profile
from simulations.sweep.arms import Arm, Design
from simulations.sweep.cloudside import FRAME_DETECTION_S, CloudSide
from simulations.sweep.computing import compute
from simulations.sweep.devices import Pair
from simulations.sweep.outcomes import Shown
from simulations.sweep.plan import Opening, Plan
from simulations.sweep.replay import Work
from simulations.sweep.uplink import (
    CALL_DOWN_BYTES,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    Internet,
    Sent,
    SimulatedTransport,
)
from simulations.sweep.ways import ways_of
from simulations.virtual_time import VirtualClock

LOOK_LIFE_S: Final = 20.0
"""How long an answer is worth waiting for, as on the phone (`phone.settings.PhoneSettings.answer_life_s`)."""
ENCODE_S: Final = 0.1
"""From a frame until its bytes are with the phone: hardware encoder, one frame of buffering, Wi-Fi. An assumption."""
STILL_ENCODE_S: Final = 0.05
"""Encoding one still in hardware; an assumption."""
ATT_VALUE_BYTES: Final = 509
"""As `simulations.sweep.bluetooth.MAX_WRITE`."""
POOR_BELOW: Final = 0.6
"""Recognition below which the glasses look again (`glasses.exchange.SignReading.poor`)."""
VIDEO_FRAMES_PER_S: Final = 30.0
"""Pictures of a second of the stream."""
STREAM_HEADERS: Final = 1 + SEGMENT_HEADER_BYTES / SEGMENT_BYTES
"""Bytes of the stream on the internet relative to those of its pictures."""
SHARE_OF_ANSWER_BYTES: Final = 1.1
"""An answer on the link with its headers and acknowledgements, relative to the message."""


@dataclass(slots=True)
class SimpleOutcome:
    """What a run without the product's link came to.

    Attributes:
        shown: by region the look whose answer is shown, for every look that was asked about.
        glasses_work: detection and reading on the glasses; runs count readings.
        detections: seconds of detection on the glasses.
        link_up_bytes, link_down_bytes: over Bluetooth LE, headers included.
        stills: encoded.
        asked: stills about which the cloud was asked, each once.
        stream_seconds: for which the camera filmed and video was encoded.
        stream_wifi_seconds: of it, those in which the phone passed it on over Wi-Fi.
        internet: with radios and what was sent.
        lost: pictures that could not be delivered in time.
    """

    internet: Internet
    shown: dict[int, Shown] = field(default_factory=dict)
    glasses_work: Work = field(default_factory=Work)
    detections: float = 0.0
    link_up_bytes: int = 0
    link_down_bytes: int = 0
    stills: int = 0
    asked: int = 0
    stream_seconds: float = 0.0
    stream_wifi_seconds: float = 0.0
    lost: int = 0

    @property
    def sent(self) -> Sent:
        """What left the phone."""
        return self.internet.sent


async def run_simple(clock: VirtualClock, arm: Arm, plan: Plan, constants: Constants, *, seed: int) -> SimpleOutcome:
    """Run one arm of these designs; must be called inside a `ComputingLoop`."""
    start = clock.monotonic()
    internet = Internet(ways_of(arm, plan, constants, seed), PhoneRadios(constants), clock=clock, start_s=start)
    outcome = SimpleOutcome(internet)
    world = _World(clock, start, plan, constants, arm, outcome)
    cloud_side = CloudSide(plan.book, clock=clock)
    transport = SimulatedTransport(
        internet,
        cloud_side,
        clock=clock,
        server_overhead_s=constants["net.server_ms_overhead"] / 1e3,
        is_private=plan.is_private,
    )
    world.cloud = CloudClient(transport, clock=clock)
    see = {Design.GLASSES: world.read_alone, Design.STILLS: world.send_still, Design.VIDEO: world.ask_of_video}
    tasks: list[asyncio.Task[None]] = []
    for opening in plan.openings:
        await clock.sleep(max(0.0, start + opening.at - clock.monotonic()))
        tasks.append(asyncio.create_task(see[arm.design](opening), name="opening"))
    await asyncio.gather(*tasks)
    if arm.design is Design.VIDEO:
        _stream(plan, constants, outcome)
    await world.cloud.close()
    await cloud_side.close()
    return outcome


class _World:
    def __init__(
        self,
        clock: VirtualClock,
        start: float,
        plan: Plan,
        constants: Constants,
        arm: Arm,
        outcome: SimpleOutcome,
    ) -> None:
        self.cloud: CloudClient
        self._clock = clock
        self._start = start
        self._book = plan.book
        self._plan = plan
        self._constants = constants
        self._outcome = outcome
        self._glasses = Pair.of(arm, constants).glasses
        self._processor = ThreadPoolExecutor(1)
        profile = ble_profile(arm.link)
        assert profile.rate_bytes_per_s is not None
        # A missed connection event takes its capacity along.
        self._rate = profile.rate_bytes_per_s * (1 - profile.miss)
        self._latency = profile.latency_s + (profile.interval_s or 0.0)
        self._link_free_at = 0.0
        self._asked = 0
        self._poor: set[int] = set()  # regions whose answer on the glasses is poor

    @property
    def now(self) -> float:
        """Seconds since the first midnight."""
        return self._clock.monotonic() - self._start

    async def read_alone(self, opening: Opening) -> None:
        """The glasses detect, then read one sign after the other."""
        loop, factor = asyncio.get_running_loop(), 1 / self._glasses.speed
        detection = max(self._book[number].detection_ms for number in opening.in_view) / 1e3 * factor
        self._outcome.detections += detection
        await loop.run_in_executor(self._processor, compute, detection)
        for look in opening.looks:
            if look.again and look.region_id in self._outcome.shown and look.region_id not in self._poor:
                continue
            if self.now - look.at > LOOK_LIFE_S:
                self._outcome.lost += 1  # a queue that is longer than that is of no use to anybody
                continue
            local = self._book[look.number].local[Recogniser.TINY.value]
            seconds = local.milliseconds / 1e3 * factor
            self._outcome.glasses_work.add(seconds)
            shown = self._outcome.shown.setdefault(look.region_id, Shown(look.until))
            await loop.run_in_executor(self._processor, compute, seconds)
            shown.answer(
                self.now, look, right=local.right, rank=ReadingRank.KEPT, from_cloud=False, says=_says(local.engine)
            )
            if local.trouble is not None or (local.confidence.recognition or 0.0) < POOR_BELOW:
                self._poor.add(look.region_id)
            else:
                self._poor.discard(look.region_id)

    async def send_still(self, opening: Opening) -> None:
        """One picture over Bluetooth LE, through the phone, to the cloud; its answers back."""
        outcome, clock = self._outcome, self._clock
        size = round(self._constants["still.bytes"])  # rendered scenes compress better than the world does
        outcome.stills += 1
        for look in opening.pictured:
            outcome.shown.setdefault(look.region_id, Shown(look.until))
        deadline = clock.monotonic() + LOOK_LIFE_S
        await clock.sleep(STILL_ENCODE_S)
        fragments = -(-size // (ATT_VALUE_BYTES - frames.HEADER_BYTES))
        on_air = size + fragments * (frames.ATT_OVERHEAD_BYTES + frames.HEADER_BYTES)
        begin = max(self.now, self._link_free_at)
        done = begin + on_air / self._rate
        if self._start + done > deadline:
            outcome.lost += 1  # the link is so far behind that this picture would be worthless
            return
        self._link_free_at = done
        outcome.link_up_bytes += on_air
        await clock.sleep(done + self._latency - self.now)
        payload = self._book.still_object(opening.in_view, size, frame_id=1, captured_us=1)
        self._asked += 1
        request = cloud_pb2.ReadStripRequest(
            idempotency_key=f"{self._asked:032x}",
            strip=link_pb2.LinkObject.FromString(payload).strip,
            direction=types_pb2.Direction(target="en"),
        )
        cost = CallCost()
        try:
            await self.cloud.read_strip(request, deadline=deadline, cost=cost)
        except CloudError:
            outcome.lost += 1
            return
        finally:
            outcome.asked += cost.attempts > 0
        await clock.sleep(self._latency)
        self._answer_all(opening)

    async def ask_of_video(self, opening: Opening) -> None:
        """The cloud sees the signs in a stream that flows anyway; its answers come back."""
        for look in opening.pictured:
            self._outcome.shown.setdefault(look.region_id, Shown(look.until))
        internet, path = self._outcome.internet, self._outcome.internet.path
        await self._clock.sleep(ENCODE_S)
        if not fast_enough(path.profile.up_bytes_per_s, self._constants):
            self._outcome.lost += 1
            return
        if path.covered(internet.now):
            internet.sent.private += sum(self._plan.is_private(number) for number in opening.in_view)
        seen = sum(self._book[number].cloud.milliseconds for number in opening.in_view) / 1e3
        answer = sum(self._book[number].cloud.reply_bytes for number in opening.in_view)
        # The stream has a connection, and its own bytes are counted with the stream: one frame's are on the way.
        exchange = path.call(
            internet.now,
            round(self._constants["video.bytes_per_second"] / VIDEO_FRAMES_PER_S),
            self._constants["net.server_ms_overhead"] / 1e3 + FRAME_DETECTION_S + seen,
            answer + CALL_DOWN_BYTES,
            timeout_s=LOOK_LIFE_S,
        )
        await self._clock.sleep(exchange.seconds)
        if exchange.failure is not None:
            self._outcome.lost += 1
            return
        internet.sent.down_bytes += exchange.bytes_down
        await self._clock.sleep(self._latency)
        self._answer_all(opening)

    def _answer_all(self, opening: Opening) -> None:
        """The cloud's answers to a picture: to what is new or closer in it, and to what an earlier one was lost of."""
        for look in opening.pictured:
            shown = self._outcome.shown[look.region_id]
            if look not in opening.looks and shown.replied_after is not None:
                continue
            cloud = self._book[look.number].cloud
            self._outcome.link_down_bytes += round(cloud.reply_bytes * SHARE_OF_ANSWER_BYTES)
            shown.answer(
                self.now, look, right=cloud.right, rank=ReadingRank.REFINED, from_cloud=True, says=_says(cloud.engine)
            )


def _says(engine: str) -> bool:
    """Whether an answer says anything, as the glasses decide it (`glasses.exchange.SignReading.rendering`)."""
    return engine != TranslationEngine.NONE.value


def fast_enough(up_bytes_per_s: float, constants: Constants) -> bool:
    """Whether a network carries the stream: on a slower one its frames would come later and later."""
    return up_bytes_per_s >= constants["video.bytes_per_second"]


def _stream(plan: Plan, constants: Constants, outcome: SimpleOutcome) -> None:
    """Account for the stream itself: it flows while the camera films, and where there is a network.

    A visit's stream counts as one piece, with one wake of the radio and one tail: the least that it can cost.
    """
    internet = outcome.internet
    duty, rate = constants["glasses.camera_duty"], constants["video.bytes_per_second"]
    for segment in plan.wear.segments:
        if not segment.awake:
            continue
        path = internet.path_at(segment.start_s)
        filmed = segment.seconds * duty
        outcome.stream_seconds += filmed
        if path.radio is None or not fast_enough(path.profile.up_bytes_per_s, constants):
            continue
        # Without coverage nothing crosses; how often that is, a thousand moments of the visit tell.
        moments = [segment.start_s + segment.seconds * (index + 0.5) / 1000 for index in range(1000)]
        covered = sum(path.covered(moment) for moment in moments) / 1000 * filmed
        if not covered:
            continue
        sent = round(covered * rate * STREAM_HEADERS)
        if path.radio is RadioKind.WIFI:
            outcome.stream_wifi_seconds += covered
        internet.sent.up_bytes += sent
        internet.sent.frames += round(covered * VIDEO_FRAMES_PER_S)
        internet.radios.radio(path.radio).transfer(segment.start_s, covered, sent, 0)
        if path.profile.price_per_mb is not None:
            internet.sent.cost += sent / 1e6 * path.profile.price_per_mb
