"""Every cap of the product, in one place, with units. Inputs above a cap are refused with a typed reason."""

from __future__ import annotations

from typing import Final

# Link ---------------------------------------------------------------------------------------------
MAX_OBJECT_BYTES: Final = 256 * 1024
"""Largest object one transfer may carry; a whole sign is 2-20 kB, a frame scaled down about 60 kB."""
MAX_CONCURRENT_TRANSFERS: Final = 8
"""Incoming transfers held at once, per lane."""
MAX_LANE_BYTES: Final = 1024 * 1024
"""Bytes held for incoming objects, per lane: unfinished ones count whole, finished ones until they are taken."""
WINDOW_FRAGMENTS: Final = 32
"""Fragments of a lane in flight without an acknowledgement: 100 kB/s at a 50 ms interval has 15 kB, 31 fragments, on
its way within a round trip of three intervals. The window in use follows the radio and is mostly much smaller."""
ACK_EVERY_FRAGMENTS: Final = 2
"""A receiver acknowledges at least every so many fragments: with more, a slow link's window could not be short."""
MAX_QUEUED_OBJECTS: Final = 64
"""Objects that wait to be sent, per lane; when one more comes the oldest that has not been started is dropped."""
MAX_REMEMBERED_TRANSFERS: Final = 256
"""Completed incoming transfers remembered so that a repeated one is not delivered twice."""
MAX_PENDING_REPLIES: Final = 64
"""Answers to frames (DONE, REFUSE) that wait to be sent."""
MAX_TRANSFER_SECONDS: Final = 600.0
"""Longest time an unfinished incoming transfer is kept, whatever deadline its sender states."""

# Pictures -----------------------------------------------------------------------------------------
MAX_IMAGE_PIXELS: Final = 64_000_000
"""Largest picture file the glasses accept, in pixels."""
MAX_STRIP_LINES: Final = 24
"""Lines of one sign."""
MAX_STRIP_WIDTH: Final = 2048
MAX_STRIP_HEIGHT: Final = 128
"""Largest decoded strip line, in pixels."""
MAX_FRAME_SIDE: Final = 1280
"""Largest side of a whole frame sent with `is_frame`, in pixels."""
MAX_COORDINATE: Final = 1e6
"""Largest coordinate of a quad, in pixels: far outside any picture, and still exact in float32."""

# Text ---------------------------------------------------------------------------------------------
MAX_TEXT_CHARACTERS: Final = 512
"""Longest text that is translated or stored, in characters."""
MAX_READING_LINES: Final = 4 * MAX_STRIP_LINES
"""Lines of one answer; a second look may find several in one strip."""

# Phrasebook ---------------------------------------------------------------------------------------
MAX_PHRASE_CHARACTERS: Final = 160
"""Longest phrase and longest text looked up, in characters; the longest phrase that ships has about 80."""
MAX_PHRASE_LINE_CHARACTERS: Final = 4096
"""Longest line of a phrase file, with all its variants."""
MAX_PHRASE_FILE_BYTES: Final = 16_000_000
"""Largest phrase file."""
MAX_PHRASES: Final = 500_000
"""Phrases of one phrasebook, variants included."""
MAX_PATTERN_PHRASES: Final = 8_000
"""Phrases that the patterns of one file make together, variants and repetitions included."""
MAX_OPEN_DATA_FILE_BYTES: Final = 64_000_000
"""Largest file of open data from which phrases are imported; the largest of the sources known has 3 MB."""

# Cloud --------------------------------------------------------------------------------------------
MAX_RPC_BYTES: Final = 512 * 1024
"""Largest gRPC message in either direction."""

# Model packs --------------------------------------------------------------------------------------
MAX_MANIFEST_BYTES: Final = 1024 * 1024
"""Largest manifest.json of a pack."""
MAX_PACK_FILES: Final = 64
"""Files of one pack."""
MAX_PACK_FILE_BYTES: Final = 512 * 1024 * 1024
"""Largest file of a pack; the largest default one has 21 MB."""
MAX_PACK_DOWNLOAD_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Largest archive a pack may be downloaded in."""
MAX_UPSTREAM_MODEL_BYTES: Final = 128 * 1024 * 1024
"""Largest unpacked model, shortlist or vocabulary that is converted; the converter holds it in memory. The largest
"base-memory" models of the Firefox registry have 44 MB."""
MAX_REGISTRY_BYTES: Final = 16 * 1024 * 1024
"""Largest catalogue of a registry, all its pages together; that of Firefox has about 1 MB."""
MAX_REGISTRY_RECORDS: Final = 20_000
"""Records of one catalogue."""
MAX_REFERENCE_LINES: Final = 200
"""Reference translations one model is checked against."""

# Recognition --------------------------------------------------------------------------------------
MAX_DETECTION_SIDE: Final = 2560
"""Largest side of the picture the text detector works on, in pixels."""
MAX_DETECTION_CONTOURS: Final = 1000
"""Blobs of text probability looked at in one picture, as in PaddleOCR."""
MAX_CROP_SIDE: Final = 8192
"""Largest side of one line given to the recogniser, in pixels."""
MAX_RECOGNITION_WIDTH: Final = 3200
"""Widest input of the recogniser, in pixels at its height of 48; longer lines are squeezed into it."""
