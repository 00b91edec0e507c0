"""The glasses: camera, stabiliser, text detection, line strips, overlay, GATT peripheral."""

import os

from shared.limits import MAX_IMAGE_PIXELS

# OpenCV reads this once, when it is loaded: a picture whose header announces more is refused before it is decoded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_IMAGE_PIXELS))
# Its decoders write to standard error on their own; what is wrong with an input is ours to say, in one line.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
