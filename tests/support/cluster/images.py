"""Images for the test cluster: a base made of Debian packages, and the project's own, built from their Dockerfiles.

Owns how a build here reaches package registries: with the settings that this machine's own clients have. What is
built is kept, by the hash of what it was made from.
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from support import sharing
from support.cluster import tools

ROOT: Final = Path(__file__).parents[3]
BASE: Final = "longshore.test/base:trixie"
_SUITE: Final = "trixie"
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
_CLIENT_VARIABLES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def docker(*arguments: str) -> str:
    """
    What a docker command prints.

    Raises:
        RuntimeError: it failed; the text has its last words.
    """
    ended = subprocess.run(
        [tools.path_of("docker"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    if ended.returncode:
        # No tools.Missing: a build that fails is no machine that lacks something, and must not read as a skip.
        raise RuntimeError(f"docker {' '.join(arguments)}: {ended.stderr.strip()[-2000:]}")
    return ended.stdout.strip()


def has(reference: str) -> bool:
    """Whether this machine's Docker has an image."""
    return bool(docker("images", "-q", reference))


def project_tag() -> str:
    """The tag of all images of this repository as they are now: a digest of everything that goes into them."""
    digest = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    for folder in (ROOT / "images", ROOT / "packages"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    # With a letter: one digest in a hundred is a number for YAML, 0e7615620052 say.
    return f"t{digest.hexdigest()[:12]}"


def project_image(name: str) -> str:
    """The reference of an image of this repository, built where it was not yet."""
    dockerfile = ROOT / "images" / name / "Dockerfile"
    return built(f"longshore/{name}:{project_tag()}", ROOT, f"--build-arg=BASE_IMAGE={BASE}", f"--file={dockerfile}")


def image_of(name: str, dockerfile: str) -> str:
    """The reference of an image that is a test's own, on the base; built once for each text of its Dockerfile."""
    reference = f"longshore.test/{name}:{hashlib.sha256(dockerfile.encode()).hexdigest()[:12]}"
    with tempfile.TemporaryDirectory(prefix="longshore-image-") as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        return built(reference, Path(folder), f"--build-arg=BASE_IMAGE={BASE}")


def built(reference: str, folder: Path, *options: str) -> str:
    """The reference, of an image that is built of a folder where there is none of that name yet."""
    with sharing.alone("build"):
        if not has(reference):
            docker("build", "--quiet", "--network", "host", *options, "--tag", reference, str(folder))
    return reference


def make_base() -> str:
    """
    The base of all images where no registry can be reached: Debian with Python, as the official image has it.

    It carries this machine's certificate authorities, so that package clients in a build trust what they trust here.
    """
    with sharing.alone("build"):
        if not has(BASE):
            _make_base()
    return BASE


def _make_base() -> None:
    with tempfile.TemporaryDirectory(prefix="longshore-base-") as folder:
        command = [tools.path_of("debootstrap"), "--variant=minbase", f"--include={_PACKAGES}", _SUITE, folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if _AUTHORITIES.exists():
            (Path(folder) / _AUTHORITIES.relative_to("/")).write_bytes(_AUTHORITIES.read_bytes())
        settings = [f"ENV {name}={os.environ[name]}" for name in _CLIENT_VARIABLES if name in os.environ]
        changes = [part for setting in settings for part in ("--change", setting)]
        archive = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)  # noqa: S607 - the system's
        with archive:
            subprocess.run(
                [tools.path_of("docker"), "import", *changes, "-", BASE],
                stdin=archive.stdout,
                check=True,
                stdout=subprocess.DEVNULL,
            )
