"""The command `longshore-ambassador-redis`: reads the environment, serves the items, chooses the exit code."""

import os
import sys
from typing import Final

from longshore_ambassador_redis.kinds import kind_of
from longshore_ambassador_redis.settings import RedisSettings
from longshore_ambassador_redis.source import AcknowledgingRedisSource, RedisSource
from longshore_ambassador_redis.wire import Redis
from longshore_kit.ambassador import serve
from longshore_kit.errors import SettingsError

_USAGE: Final = 64
"""EX_USAGE of sysexits: starting again does not help, editing does."""


def main() -> None:
    """Serve until SIGTERM; a wrong setting ends with exit code 64 and a line for each."""
    if "--help" in sys.argv[1:]:
        print(RedisSettings.help("longshore-ambassador-redis"))  # noqa: T201 - what was asked for
        return
    try:
        settings = RedisSettings.from_environment(os.environ)
        source = AcknowledgingRedisSource if settings.redis_ack else RedisSource
        serve(source(kind_of(Redis(settings), settings)), settings)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
