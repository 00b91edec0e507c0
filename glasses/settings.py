"""Every setting of the glasses, in one typed class: environment over TOML file over defaults."""

from __future__ import annotations

import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import platformdirs
from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import TierSettings

Positive = Annotated[float, Field(gt=0)]


def _possible_interval(milliseconds: float) -> float:
    if milliseconds and not 7.5 <= milliseconds <= 4000:  # Core 5.4, Vol 6, Part B, 4.5.1
        raise ValueError("use 7.5 to 4000 ms, or 0 to leave the phone's choice")
    return milliseconds


class WholeFrames(StrEnum):
    """When a whole frame is sent because the detector is unsure (it costs about ten strips, and shows more)."""

    NEVER = "never"
    STILLS = "stills"
    ALWAYS = "always"


class GlassesSettings(TierSettings):
    """Settings of the glasses process.

    Environment variables are prefixed with ``WAYWORD_GLASSES_``. Durations are in seconds, lengths in pixels of
    the frame.

    Attributes:
        detector_pack: pack of the text detector.
        packs: folder of the pack store; None for the default one.
        still_longest_side: a still picture is scaled down to this for processing.
        live_longest_side: a video or camera frame is scaled down to this.
        still_frame_rate: frames a second a still picture is repeated at.
        detect_longest_side_still: longest side the detector sees, for a still picture.
        detect_longest_side_live: the same for live frames: fewer pixels, so that a detection takes about 0.1 s.
        detector_threads: threads of the detector.
        gyro_offset_s: added to the gyro's times to get the camera's clock.
        readout_s: from the exposure of the camera's first row to that of the last; 0 for a global shutter.
        minimum_line_height: lower lines are counted, not sent: no recogniser reads below about 12 px.
        strip_height: strips are scaled down (never up) to this height; the recognisers see 48 px.
        strip_margin: margin around a line, as a share of its height.
        strip_quality: WebP or JPEG quality, 0..100.
        whole_frames: when an unsure detector leads to a whole frame being sent.
        unsure_box_threshold: box score that makes a candidate "maybe text".
        frame_longest_side: a whole frame is scaled down to this.
        frame_quality: WebP or JPEG quality of a whole frame.
        strip_deadline_s: a strip is dropped when it is not delivered so long after its turn came.
        strips_in_flight: strips handed to the link at once.
        outbox_signs: signs waiting for the link; above it the oldest gives way.
        answer_timeout_s: how long a run that is over waits for answers still missing.
        answer_patience_s: a delivered sign without any reading is sent again after this.
        reconnect_patience_s: the same once the phone came back after a lost connection: it may have restarted.
        send_attempts: how often one sign is sent at most while no reading arrives.
        advertise_name: name in the Bluetooth advertisement.
        display_width: the augmented view of a video or camera is scaled down to this; a still keeps its size.
        display_height: likewise.
        font: a font file for scripts the built-in face lacks; None for those that fontconfig finds.
        fade_s: a label fades over this time once its sign is lost.
        text_hold_s: a translation is left for this long before a better one replaces it: three words, the length of
            a common sign, take 0.76 s at 238 words a minute (Brysbaert, 2019).
        cross_fade_s: time that takes.
        connection_interval_ms: asked of a phone for the Bluetooth connection, 7.5..4000 ms; 0 leaves its own choice.
            The default is the shortest that Apple grants (Accessory Design Guidelines R21, 49.6).
        link_poll_s: how often the state of the link is looked at.
        bonds: file of the paired phones; None for the user's own.
        control: socket that stands in for the button; None for the user's own.
        pairing_open_s: pairing mode closes by itself after this time.
        pairing_answer_s: the wearer compares the numbers within this time.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="WAYWORD_GLASSES_")
    show_command: ClassVar[str] = "wayword-glasses --show-settings"

    detector_pack: str = "ocr-tiny-det"
    packs: Path | None = None
    still_longest_side: Annotated[int, Field(ge=320, le=4096)] = 1920
    live_longest_side: Annotated[int, Field(ge=320, le=4096)] = 1280
    still_frame_rate: Positive = 5.0
    detect_longest_side_still: Annotated[int, Field(ge=320, le=2048)] = 1280
    detect_longest_side_live: Annotated[int, Field(ge=320, le=2048)] = 960
    detector_threads: Annotated[int, Field(ge=1, le=16)] = 1
    gyro_offset_s: Annotated[float, Field(ge=-0.2, le=0.2)] = 0.0
    readout_s: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    minimum_line_height: Positive = 10.0
    strip_height: Annotated[int, Field(ge=32, le=128)] = 64
    strip_margin: Annotated[float, Field(ge=0, le=1)] = 0.2
    strip_quality: Annotated[int, Field(ge=1, le=100)] = 75
    whole_frames: WholeFrames = WholeFrames.STILLS
    unsure_box_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    frame_longest_side: Annotated[int, Field(ge=320, le=1280)] = 960
    frame_quality: Annotated[int, Field(ge=1, le=100)] = 60
    strip_deadline_s: Positive = 8.0
    strips_in_flight: Annotated[int, Field(ge=1, le=8)] = 4
    outbox_signs: Annotated[int, Field(ge=1, le=1024)] = 64
    answer_timeout_s: Positive = 30.0
    answer_patience_s: Positive = 12.0
    reconnect_patience_s: Positive = 2.0
    send_attempts: Annotated[int, Field(ge=1, le=20)] = 4
    advertise_name: Annotated[str, Field(min_length=1, max_length=20)] = "Wayword"
    display_width: Annotated[int, Field(ge=160, le=4096)] = 640
    display_height: Annotated[int, Field(ge=90, le=4096)] = 360
    font: Path | None = None
    fade_s: Positive = 0.5
    text_hold_s: Annotated[float, Field(ge=0)] = 0.8
    cross_fade_s: Annotated[float, Field(ge=0)] = 0.25
    connection_interval_ms: Annotated[float, AfterValidator(_possible_interval)] = 15.0
    link_poll_s: Positive = 0.25
    bonds: Path | None = None
    control: Path | None = None
    pairing_open_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    pairing_answer_s: Annotated[float, Field(gt=0, le=30)] = 30.0

    def bonds_path(self) -> Path:
        """The file of paired phones in use."""
        return self.bonds or platformdirs.user_data_path("wayword") / "glasses-bonds.json"

    def control_path(self) -> Path:
        """The button's socket in use: where only this user can reach it."""
        if self.control is not None:
            return self.control
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if runtime and Path(runtime).is_dir():
            return Path(runtime) / "wayword-glasses.sock"
        return Path(tempfile.gettempdir()) / f"wayword-{os.getuid()}" / "glasses.sock"
