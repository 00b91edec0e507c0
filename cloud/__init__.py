"""The cloud: large reading and translation behind gRPC. Keeps no picture after the reply."""

import os

from shared.limits import MAX_IMAGE_PIXELS

# OpenCV reads this once, when it is imported: a picture that claims more is refused before memory is taken for it.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_IMAGE_PIXELS))
# Its decoders write to standard error on their own; what is wrong with an input is ours to say, in one line.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
