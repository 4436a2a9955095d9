"""worker-script as it is started in its image: a process, an environment, an exit code, and a real store behind it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.servers.s3 import ADMIN, S3Server

COMMAND: Final = (sys.executable, "-m", "longshore_worker_script")
TIMEOUT_SECONDS: Final = 240


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    log: str
    result: str


@dataclass(frozen=True)
class Place:
    """A bucket for input, one for output, and a folder of the test's own."""

    store: S3Server
    folder: Path
    inputs: str
    outputs: str

    def put(self, key: str, body: bytes = b"hello") -> dict[str, Any]:
        """An object, and the item that names it."""
        self.store.client().put_object(Bucket=self.inputs, Key=key, Body=body)
        return {"bucket": self.inputs, "key": key}

    def results(self) -> dict[str, bytes]:
        """Every object in the bucket for output."""
        client = self.store.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.outputs)
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return {key: client.get_object(Bucket=self.outputs, Key=key)["Body"].read() for key in keys}

    def environ(self, item: Mapping[str, Any], script: str, **settings: str) -> dict[str, str]:
        """The environment of a start."""
        file, result = self.folder / "item.json", self.folder / "result"
        file.write_text(json.dumps(item), encoding="utf-8")
        result.unlink(missing_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "WORK_ITEM_FILE": str(file),
            "LONGSHORE_ITEM": str(item.get("key", "")),
            "LONGSHORE_RESULT_FILE": str(result),
            "OUTPUT": f"s3://{self.outputs}/out/{{path}}/",
            **({"SCRIPT": script} if script else {}),
            **self.store.environ_of(ADMIN),
            **settings,
        }

    def start(self, environ: Mapping[str, str], *words: str) -> "subprocess.Popen[str]":
        """The worker, running."""
        return subprocess.Popen(
            [*COMMAND, *words], env=dict(environ), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        """How it ended."""
        out, log = process.communicate(timeout=TIMEOUT_SECONDS)
        result = self.folder / "result"
        return Ended(process.returncode, out, log, result.read_text(encoding="utf-8") if result.exists() else "")

    def run(self, item: Mapping[str, Any], script: str, *words: str, **settings: str) -> Ended:
        """One start, to its end."""
        return self.end(self.start(self.environ(item, script, **settings), *words))
