"""The images of the examples' stages, built from the examples' own Dockerfiles, for any engine that runs containers.

Owns what they are built on where no registry can be reached, and that their OpenCV is the one of this environment:
what they find is compared, pixel by pixel, with what is found here.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from support.cluster import images
from support.photos import WORKERS

_OPENCV: Final = f"opencv-python-headless=={version('opencv-python-headless')}"
# Debian's own Python has no pip, which the default base of these Dockerfiles has.
_WITH_PIP: Final = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN python3 -m venv /usr/local/venv
ENV PATH=/usr/local/venv/bin:$PATH
"""


def images_of_examples() -> Mapping[str, str]:
    """
    What each image is really called here, by what the examples' queue files call it; built where it was not yet.

    Raises:
        RuntimeError: a build failed; the text has its last words.
        tools.Missing: the base of all images can't be made here.
    """
    images.make_base()
    base = images.image_of("pip", _WITH_PIP)
    return {f"longshore-example/{name}:1": _image_of(name, worker.parent, base) for name, worker in WORKERS.items()}


def _image_of(name: str, folder: Path, base: str) -> str:
    digest = hashlib.sha256(f"{base}\0{_OPENCV}".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    reference = f"longshore-example/{name}:{digest.hexdigest()[:12]}"
    return images.built(reference, folder, f"--build-arg=BASE_IMAGE={base}", f"--build-arg=OPENCV={_OPENCV}")
