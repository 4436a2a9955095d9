"""The queue file: what it may say, and how it is told what is wrong with it."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from longshore.queuefile import json_schema, load, parse
from longshore.sources import Source, source_variables
from longshore_ambassador_nfs.settings import NfsSettings
from longshore_kit.errors import SettingsError
from longshore_kit.programs import variable_text, volume_variable

GOOD = """\
queue: {name: thumbs}
volumes:
  media: {hostPath: {path: ./videos}, readOnly: true}
  out: {hostPath: {path: ./out, type: DirectoryOrCreate}}
source: {kind: nfs, volumes: [media], nfs: {pattern: "**/*.mp4"}}
worker:
  image: worker-ffmpeg
  env: {EVERY: 100}
  volumes: [media, out]
"""


def with_lines(**replaced: str) -> str:
    """The good file with lines that begin with a key replaced."""
    lines = GOOD.splitlines()
    for key, line in replaced.items():
        lines = [line if one.strip().startswith(f"{key}:") else one for one in lines]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_lines(image="  imag: x"), "f:7: worker.imag: no such key; did you mean 'image'?"),
        (with_lines(source=""), "f:1: source: is missing"),
        (GOOD + "scalin: {max: 2}", "f:10: scalin: no such key; did you mean 'scaling'?"),
        (GOOD + "scaling: {max: many}", "f:10: scaling.max: expected a whole number, such as 10"),
        (
            GOOD + "retry: {deadlineSeconds: 5m}",
            "f:10: retry.deadlineSeconds: expected seconds, a whole number, such as 3600",
        ),
        (GOOD + "retry: {attempts: 0}", "f:10: retry.attempts: expected 1 or more"),
        (GOOD + "retry: {ackFailed: maybe}", "f:10: retry.ackFailed: expected true or false"),
        (GOOD + "keep: nope", "f:10: keep: expected a mapping with the keys finished, failed"),
        (GOOD + "on: push", 'f:10: on: a key is a text: write "on" in quotes'),
        (
            with_lines(media="  media: ./in"),
            "f:3: volumes.media: expected a mapping, such as {hostPath: {path: ./in}}",
        ),
        (
            "source: {kind: list, list: {items: [a]}}\nworker: {image: x}\nvolumes: [media]",
            "f:3: volumes: expected a mapping, such as {media: {hostPath: {path: ./in}}}",
        ),
        (with_lines(env="  env: {A: [1]}"), "f:8: worker.env.A: expected a text, a number, or true or false"),
        (with_lines(env="  env: {str: [1]}"), "f:8: worker.env.str: expected a text, a number, or true or false"),
        (with_lines(env="  env: {3: a}"), 'f:8: worker.env.3: a key is a text: write "3" in quotes'),
        (with_lines(env="  env: {ON: a}"), 'f:8: worker.env.ON: a key is a text: write "ON" in quotes'),
        (with_lines(env="  env: [A]"), "f:8: worker.env: expected a mapping, such as {NAME: value}"),
        (with_lines(image="  image: 1.10"), 'f:7: worker.image: expected a text: write "1.10" in quotes'),
        (
            with_lines(source="source: {kind: list, list: {items: [a, 2]}}"),
            'f:5: source.list.items[1]: expected a text or a mapping: write "2" in quotes',
        ),
        (
            with_lines(source="source: {kind: list, list: {items: [true, b]}}"),
            'f:5: source.list.items[0]: expected a text or a mapping: write "true" in quotes',
        ),
        (
            with_lines(source="source: {kind: s3, s3: {bucket: videos/a}}"),
            "f:5: source.s3.bucket: 'videos/a' is more than a bucket's name: give 'videos', and 'a' as the prefix",
        ),
        (
            with_lines(source="source: {kind: redis, redis: {url: 'http://x', key: k}}"),
            (
                "f:5: source.redis.url: expected a URL such as redis://redis:6379/0, which begins with redis:// or "
                "rediss://, or with redis+sentinel:// or redis+cluster://"
            ),
        ),
        (
            with_lines(source="source: {kind: custom, custom: {url: 'x:8080'}}"),
            "f:5: source.custom.url: expected a URL such as http://127.0.0.1:8080",
        ),
        (
            with_lines(source="source: {kind: kafka, kafka: {bootstrapServers: a, topics: b, group: ''}}"),
            "f:5: source.kafka.group: expected a text of 1 character or more",
        ),
        (
            with_lines(source="source: {kind: nfs, volumes: [media], nfs: {pattern: [5]}}"),
            'f:5: source.nfs.pattern[0]: expected a text: write "5" in quotes',
        ),
        (GOOD + "scaling: {min: 5, max: 2}", "f:10: scaling: min is 5, more than max, 2"),
        (
            with_lines(media="  media: {}"),
            "f:3: volumes.media: give exactly one of hostPath, nfs and persistentVolumeClaim",
        ),
        (
            with_lines(env="  env: {WORK_ITEM_FILE: x}"),
            "f:8: worker.env: WORK_ITEM_FILE is set by Longshore for every worker",
        ),
        (
            with_lines(image="  podTemplate: {spec: {restartPolicy: Always}}\n  image: x"),
            "f:7: worker.podTemplate: spec.restartPolicy can't be set here: retry.attempts decides",
        ),
        (
            with_lines(image="  image: x\n  resources: {requests: {memory: 64MB}}"),
            "f:8: worker.resources.requests.memory: '64MB' is no quantity, such as 500m, 2, 64Mi",
        ),
        (
            with_lines(image="  image: x\n  resources: {limits: {cpu: lots}}"),
            "f:8: worker.resources.limits.cpu: 'lots' is no quantity, such as 500m, 2, 64Mi",
        ),
        (
            with_lines(image="  image: x\n  resources: {limits: {cpu: true}}"),
            "f:8: worker.resources.limits.cpu: 'true' is no quantity, such as 500m, 2, 64Mi",
        ),
        (
            with_lines(image="  image: x\n  resources: {limit: {cpu: 1}}"),
            "f:8: worker.resources.limit: no such key; did you mean 'limits'?",
        ),
        (
            with_lines(
                image="  image: x\n"
                "  podTemplate: {spec: {containers: [{name: worker, resources: {limits: {memory: 64MB}}}]}}"
            ),
            (
                "f:8: worker.podTemplate: spec.containers.worker.resources.limits.memory: "
                "'64MB' is no quantity, such as 500m, 2, 64Mi"
            ),
        ),
        (
            with_lines(queue="queue: {name: My Queue}"),
            "f:1: queue.name: use small letters, digits and inner dashes, 53 at most, such as 'my-queue'",
        ),
    ],
)
def test_a_mistake_is_told_with_line_key_and_what_to_do(text: str, message: str) -> None:
    """Whoever wrote the file finds the place, and the fix, in one line."""
    with pytest.raises(SettingsError) as caught:
        parse(text, "f")

    assert str(caught.value) == message


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody has to mend a file one run at a time."""
    with pytest.raises(SettingsError) as caught:
        parse(f"{with_lines(image='  imag: x')}\nscalin: 1\n", "f")

    assert str(caught.value).splitlines() == [
        "f:7: worker.imag: no such key; did you mean 'image'?",
        "f:10: scalin: no such key; did you mean 'scaling'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "f:1: a queue file is a mapping with the keys source: and worker:; this is a list"),
        ("# mine\nhello", "f:2: a queue file is a mapping with the keys source: and worker:; this is a text"),
        ("", "f: is empty: a queue needs the keys source: and worker:"),
        ("a: [", "f:1:5: no valid YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\na: 2", "f:2:1: no valid YAML: the key 'a' stands twice"),
        (f"{GOOD}---\n{GOOD}", "f:10: one file is one queue: put what follows this line into a file of its own"),
        ("source:\n\tkind: nfs", "f:2: begins with a tab: indent with spaces"),
        (
            with_lines(volumes="volumes: &x [*x]"),
            "f:3:3: no valid YAML: expected <block end>, but found '<block mapping start>'",
        ),
    ],
)
def test_what_is_no_queue_file_at_all_is_told_so(text: str, message: str) -> None:
    """A list, an empty file, broken YAML, a key that stands twice, two files in one: each in its own words."""
    with pytest.raises(SettingsError) as caught:
        parse(text, "f")

    assert str(caught.value) == message


def test_a_reference_that_no_item_can_fill_is_refused() -> None:
    """A typing error in `${…}` is a mistake of the file, and the nearest name is told."""
    with pytest.raises(SettingsError) as caught:
        parse(with_lines(env='  env: {X: "${MEDA_PATH}/x"}'), "f")

    assert str(caught.value) == (
        "f:8: worker.env.X: ${MEDA_PATH} is neither ${item.…}, ${name} nor the folder of a volume in worker.volumes; "
        "did you mean 'MEDIA_PATH'?; write $${MEDA_PATH} for the text itself"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[media, out]",
            "[out]",
            "f:8: worker.env.X: ${MEDIA_PATH} is the folder of the volume media: add media to worker.volumes",
        ),
        ("[media, out]", "[medai, out]", "f:9: worker.volumes[0]: there is no volume 'medai'; did you mean 'media'?"),
        (
            "nfs, volumes: [media]",
            'list, volumes: [out], list: {file: "${MEDIA_PATH}/a.txt"}',
            "f:5: source.list.file: ${MEDIA_PATH} is the folder of the volume media: add media to source.volumes",
        ),
        (
            "nfs, volumes: [media]",
            'list, volumes: [medai], list: {file: "${MEDIA_PATH}/a.txt"}',
            "f:5: source.volumes[0]: there is no volume 'medai'; did you mean 'media'?",
        ),
    ],
)
def test_a_reference_to_a_volume_that_is_not_listed_says_where_to_add_it(old: str, new: str, message: str) -> None:
    """A right reference is never corrected: the volume is to be listed, or its misspelt name in the list is told."""
    with pytest.raises(SettingsError) as caught:
        parse(with_lines(env='  env: {X: "${MEDIA_PATH}/x"}').replace(old, new), "f")

    assert str(caught.value) == message


def test_a_volume_that_is_not_there_is_named() -> None:
    """`volumes: [medai]` leads nowhere, and says where it may have been meant to."""
    with pytest.raises(SettingsError) as caught:
        parse(GOOD.replace("[media, out]", "[medai]"), "f")

    assert str(caught.value) == "f:9: worker.volumes[0]: there is no volume 'medai'; did you mean 'media'?"


def test_everything_that_does_not_fit_together_is_told_with_its_line() -> None:
    """Names that lead nowhere are found all at once, in the file's order."""
    text = GOOD.replace("[media, out]", "[medai]").replace(
        "{EVERY: 100}", '{A: "${OTU_PATH}", B: "${nme}", C: "a\\0b"}'
    )

    with pytest.raises(SettingsError) as caught:
        parse(text, "f")

    assert [line.partition(": ")[0] + " " + line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "f:8 worker.env.A",
        "f:8 worker.env.B",
        "f:8 worker.env.C",
        "f:9 worker.volumes[0]",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_lines(image='  command: "cp a b"'), "f:7: worker.command: expected a list, such as [a, b]"),
        (
            GOOD.replace("kind: nfs", "kind: nsf"),
            "f:5: source.kind: expected 'nfs', 's3', 'redis', 'kafka', 'list' or 'custom'; did you mean 'nfs'?",
        ),
        ("source: {kind: nfs\nworker: [", "f:2:7: no valid YAML: expected ',' or '}', but got ':'"),
    ],
)
def test_what_people_get_wrong_is_told_in_their_words(text: str, message: str) -> None:
    """No type names, no seven lines of a parser."""
    with pytest.raises(SettingsError) as caught:
        parse(text, "f")

    assert str(caught.value) == message


def test_the_printed_schema_takes_what_the_models_take() -> None:
    """An editor that knows the schema and Longshore agree on a good file and on a bad key."""
    validator = jsonschema.Draft202012Validator(json_schema())
    good, bad = yaml.safe_load(GOOD), yaml.safe_load(with_lines(image="  imag: x"))

    assert ([*validator.iter_errors(good)], len([*validator.iter_errors(bad)])) == ([], 1)


@pytest.mark.parametrize(
    "amount", ["500m", "64Mi", "1e3", ".5", "2", 2, 0.5, "64MB", "lots", "-1", -1, "", "1 Gi", True]
)
def test_the_printed_schema_takes_the_same_amounts(amount: object) -> None:
    """A quantity that an editor or Helm takes is one that `check` takes, and the other way round."""
    document = yaml.safe_load(GOOD)
    document["worker"]["resources"] = {"limits": {"memory": amount}}
    errors = [*jsonschema.Draft202012Validator(json_schema()).iter_errors(document)]

    try:
        parse(yaml.safe_dump(document))
    except SettingsError:
        assert len(errors) == 1
    else:
        assert errors == []


def test_the_queue_is_called_after_its_folder(tmp_path: Path) -> None:
    """Without a name, a `queue.yaml` is called as its folder, and any other file as itself."""
    folder = tmp_path / "My Videos"
    folder.mkdir()
    for name in ("queue.yaml", "night shift.yaml"):
        (folder / name).write_text(GOOD.replace("queue: {name: thumbs}", ""), encoding="utf-8")

    assert [load(folder / name).name for name in ("queue.yaml", "night shift.yaml")] == ["my-videos", "night-shift"]


def test_a_folder_of_this_machine_takes_a_volumes_place(tmp_path: Path) -> None:
    """`--volume media=FOLDER` runs a cluster's queue file on a laptop."""
    file = tmp_path / "queue.yaml"
    file.write_text(GOOD.replace("hostPath: {path: ./videos}", "nfs: {server: nas, path: /x}"), encoding="utf-8")

    volume = load(file, folders={"media": tmp_path}).spec.volumes["media"]

    assert volume.model_dump(by_alias=True, exclude_none=True) == {
        "hostPath": {"path": str(tmp_path), "type": "Directory"},
        "readOnly": True,
    }


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    """No traceback for a path that leads nowhere."""
    with pytest.raises(SettingsError, match=r"nothing\.yaml: can't be read: .*No such file"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("value", "text"), [(100, "100"), (0.5, "0.5"), (30.0, "30"), (True, "true"), (False, "false"), ("x", "x")]
)
def test_values_become_texts_as_people_write_them(value: Any, text: str) -> None:
    """A variable holds text; numbers and booleans look as they did in the file."""
    assert variable_text(value) == text


@pytest.mark.parametrize(("name", "variable"), [("media", "MEDIA_PATH"), ("raw-video", "RAW_VIDEO_PATH")])
def test_a_volume_is_named_by_a_variable(name: str, variable: str) -> None:
    """`media` is MEDIA_PATH, the book's own variable."""
    assert volume_variable(name) == variable


def test_source_settings_become_the_ambassadors_variables() -> None:
    """One rule: `source.nfs.settleSeconds` is NFS_SETTLE_SECONDS, and the first volume is MEDIA_PATH."""
    source = Source.model_validate(
        {
            "kind": "nfs",
            "volumes": ["clips", "media-2"],
            "nfs": {"pattern": ["*.mp4", "*.mov"], "settleSeconds": 0, "markerFile": ".here"},
        }
    )

    assert source_variables(source, {"clips": "/clips", "media-2": "/media-2"}) == {
        "CLIPS_PATH": "/clips",
        "MEDIA_2_PATH": "/media-2",
        "MEDIA_PATH": "/clips",
        "NFS_PATTERN": '["*.mp4", "*.mov"]',
        "NFS_SETTLE_SECONDS": "0",
        "NFS_MARKER_FILE": ".here",
    }


def test_every_setting_of_the_file_is_one_of_the_ambassador() -> None:
    """What the rule makes of `source.nfs` is what ambassador-nfs reads: neither can drift from the other."""
    everything = {"pattern": "x", "exclude": "y", "settleSeconds": 1, "markerFile": "m"}
    source = Source.model_validate({"kind": "nfs", "volumes": ["media"], "nfs": everything})

    variables = source_variables(source, {"media": "/media"})

    assert {name.lower() for name in variables} - set(NfsSettings.model_fields) == set()


CHAIN = """volumes:
  photos: {hostPath: {path: p}}
source: {kind: nfs, volumes: [photos]}
worker:
  stages:
    - name: find
      image: finder
      volumes: [photos]
      item: {photo: "${PHOTOS_PATH}/${item.path}", boxes: "${work}/boxes.json", deep: [{n: "${item.n}"}]}
    - name: blur
      image: blurrer
      args: ["${work}/boxes.json", "${name}"]
"""


def test_a_chain_of_stages_is_read() -> None:
    """Each stage is a worker like any other, and its item a template of any JSON."""
    stages = parse(CHAIN).worker.stages

    assert [(stage.name, stage.image, stage.item) for stage in stages] == [
        (
            "find",
            "finder",
            {"photo": "${PHOTOS_PATH}/${item.path}", "boxes": "${work}/boxes.json", "deep": [{"n": "${item.n}"}]},
        ),
        ("blur", "blurrer", None),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: blur", "name: find", "f:10: worker.stages[1].name: there is a stage 'find' before it already"),
        (
            "name: blur",
            "name: Blur",
            "f:10: worker.stages[1].name: use small letters, digits and inner dashes, 40 at most, and a letter first",
        ),
        (
            "name: blur",
            "name: multi-worker",
            "f:10: worker.stages[1].name: 'multi-worker' is one of Longshore's own names: call it otherwise",
        ),
        ("- name: blur\n      image", "- image", "f:10: worker.stages[1].name: is missing"),
        (
            "image: blurrer",
            "env: {A: b}",
            "f:10: worker.stages[1]: set image, or command to run a program of this machine",
        ),
        ("image: blurrer", "imag: b", "f:11: worker.stages[1].imag: no such key; did you mean 'image'?"),
        (
            "      volumes: [photos]\n",
            "",
            (
                "f:8: worker.stages[0].item.photo: ${PHOTOS_PATH} is the folder of the volume photos: "
                "add photos to worker.stages[0].volumes"
            ),
        ),
        (
            "${item.n}",
            "${itm.n}",
            (
                "f:9: worker.stages[0].item.deep[0].n: ${itm.n} is neither ${item.…}, ${name}, ${work} nor the "
                "folder of a volume in worker.stages[0].volumes; write $${itm.n} for the text itself"
            ),
        ),
        ("volumes: [photos]\n      item", "volumes: [photo]\n      item", None),
        ('n: "${item.n}"', "n: .nan", "f:9: worker.stages[0].item: Out of range float values are not JSON compliant"),
        (
            "  stages:",
            "  image: x\n  stages:",
            "f:4: worker: image can't be set beside stages: each stage has its own",
        ),
        (
            "volumes:\n",
            "volumes:\n  work: {hostPath: {path: w}}\n",
            "f:2: volumes.work: ${work} is the folder that stages share: call this volume otherwise",
        ),
    ],
)
def test_what_is_wrong_with_a_chain_is_told_with_its_place(old: str, new: str, message: str | None) -> None:
    """A name that stands twice or can be none, a reference to nothing, a volume that is not there, two workers."""
    assert old in CHAIN
    with pytest.raises(SettingsError) as caught:
        parse(CHAIN.replace(old, new), "f")

    lines = str(caught.value).splitlines()
    if message is None:
        assert lines[0] == "f:8: worker.stages[0].volumes[0]: there is no volume 'photo'; did you mean 'photos'?"
    else:
        assert lines == [message]
