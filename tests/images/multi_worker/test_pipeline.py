"""The pipeline file: what is wrong with one, with its place; and the adapter's command line."""

import subprocess
from typing import Final

import pytest

from images.multi_worker.conftest import COMMAND
from longshore_kit.errors import SettingsError
from longshore_multi_worker.pipeline import parse

GOOD: Final = """volumes:
  photos: {hostPath: {path: /srv/photos}, readOnly: true}
stages:
  - name: find
    image: finder
    volumes: [photos]
    item: {photo: "${PHOTOS_PATH}/${item.path}"}
  - name: blur
    image: blurrer
    resources: {limits: {cpu: 500m, memory: 1Gi}}
"""


def test_a_pipeline_is_read() -> None:
    """Stages as in a queue file, and folders of the host."""
    pipeline = parse(GOOD, "f")

    assert [stage.name for stage in pipeline.stages] == ["find", "blur"]
    assert pipeline.volumes["photos"].host_path.path == "/srv/photos"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: blur", "name: find", "f:8: stages[1].name: there is a stage 'find' before it already"),
        (
            "/srv/photos",
            "photos",
            "f:2: volumes.photos.hostPath.path: give the whole path: it is one of the Docker",
        ),
        ("image: blurrer", "command: [x]", "f:8: stages[1]: set image: on a Docker host every stage runs in one"),
        ("1Gi", "plenty", "f:10: stages[1].resources.limits.memory: 'plenty' is no quantity, such as 500m, 2, 64Mi"),
        ("cpu: 500m", "gpu: 1", "f:10: stages[1].resources.limits.gpu: Docker limits cpu and memory only"),
        ("${PHOTOS_PATH}", "${PHOTO_PATH}", "f:7: stages[0].item.photo: ${PHOTO_PATH} is neither"),
        ("stages:", "stage:", "f:3: stage: no such key; did you mean 'stages'?"),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, message: str) -> None:
    """Whoever wrote the file finds the line."""
    assert old in GOOD
    with pytest.raises(SettingsError) as caught:
        parse(GOOD.replace(old, new), "f")

    assert any(line.startswith(message) for line in str(caught.value).splitlines()), caught.value


@pytest.mark.parametrize("words", [(), ("run",), ("prepare", "x"), ("walk",)])
def test_a_word_that_is_none_is_misuse(words: tuple[str, ...]) -> None:
    """64, and what there is."""
    ended = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env={}, check=False)

    assert (ended.returncode, "expected prepare, or run PIPELINE; see --help" in ended.stderr) == (64, True)
