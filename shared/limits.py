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
MAX_JPEG_SCANS: Final = 32
"""Scans of one JPEG picture; progressive ones of common encoders have 10. Each costs a pass over the whole picture, so
that a small file with thousands of them would hold a worker for long."""
MAX_IMAGE_PIXELS: Final = 64_000_000
"""Largest picture file the glasses and the cloud's bulk jobs accept, in pixels."""
MAX_PICTURE_FILE_BYTES: Final = 256 * 1024 * 1024
"""Largest picture file of a bulk job: so many pixels at four bytes each."""
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
MAX_BATCH_STRIPS: Final = 64
"""Strips of one `ReadStrips` call: at the size of a message each has 8 kB, and a line of text about 3."""
MAX_TRANSLATE_CHARACTERS: Final = 4 * MAX_TEXT_CHARACTERS
"""Characters of one `Translate` call, all its lines together."""
MAX_WAITING_CROPS: Final = 1024
"""Crops of all calls that wait for the recogniser; a call has at most `MAX_READING_LINES` at once."""

# Places -------------------------------------------------------------------------------------------
MAX_PLACE_TEXT_CHARACTERS: Final = MAX_TEXT_CHARACTERS
MAX_PLACE_TRANSLATION_CHARACTERS: Final = 2 * MAX_TEXT_CHARACTERS
"""Longest text and translation of one sign that is remembered, in characters."""
MAX_LOOKUP_CELLS: Final = 28
"""Cells of one look-up: four places with their neighbours."""
MAX_LOOKUP_SIGNS: Final = 256
"""Signs of one answer to a look-up; at 160 characters each they are 50 kB."""
MAX_CONTRIBUTED_SIGNS: Final = 32
"""Readings of one contribution."""
MAX_CELL_READINGS: Final = 2_000
"""Readings kept of one cell and target language; a busy street has a hundred signs in a cell, each read by a few."""

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

# Signed updates of packs ----------------------------------------------------------------------------
MAX_ROOT_BYTES: Final = 64 * 1024
"""Largest root metadata; one with nine keys has about 4 kB."""
MAX_ROOT_ROTATIONS: Final = 64
"""New roots followed in one update: a device that was away longer than so many rotations has to be enrolled again."""
MAX_TIMESTAMP_BYTES: Final = 16 * 1024
MAX_SNAPSHOT_BYTES: Final = 64 * 1024
MAX_TARGETS_BYTES: Final = 4 * 1024 * 1024
"""Largest metadata of each role; targets.json needs about 1 kB for a version of a pack."""
MAX_PUBLISHED_PACKS: Final = 1024
"""Packs of one repository."""
MAX_DELTA_PACK_BYTES: Final = 64 * 1024 * 1024
"""Largest pack that deltas are made for and applied to: the old and the new one are both in memory then."""
MAX_UNPACKED_BYTES: Final = 2 * MAX_PACK_DOWNLOAD_BYTES
"""Largest pack as an archive, unpacked."""
MAX_FETCH_BYTES: Final = 256 * 1024
"""Bytes of a repository's file in one reply of the cloud; below `MAX_RPC_BYTES`, with room for the message."""

# Recognition --------------------------------------------------------------------------------------
MAX_DETECTION_SIDE: Final = 2560
"""Largest side of the picture the text detector works on, in pixels."""
MAX_DETECTION_CONTOURS: Final = 1000
"""Blobs of text probability looked at in one picture, as in PaddleOCR."""
MAX_CROP_SIDE: Final = 8192
"""Largest side of one line given to the recogniser, in pixels."""
MAX_RECOGNITION_WIDTH: Final = 3200
"""Widest input of the recogniser, in pixels at its height of 48; longer lines are squeezed into it."""
