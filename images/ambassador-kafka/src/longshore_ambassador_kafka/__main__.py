"""The command `longshore-ambassador-kafka`: reads the environment, serves the records, chooses the exit code."""

import os
import sys
from typing import Final

from longshore_ambassador_kafka.cluster import Cluster
from longshore_ambassador_kafka.settings import KafkaSettings
from longshore_ambassador_kafka.source import AcknowledgingKafkaSource, KafkaSource
from longshore_kit.ambassador import serve
from longshore_kit.errors import SettingsError

_USAGE: Final = 64
"""EX_USAGE of sysexits: starting again does not help, editing does."""


def main() -> None:
    """Serve until SIGTERM; a wrong setting ends with exit code 64 and a line for each."""
    if "--help" in sys.argv[1:]:
        print(KafkaSettings.help("longshore-ambassador-kafka"))  # noqa: T201 - what was asked for
        return
    try:
        settings = KafkaSettings.from_environment(os.environ)
        kind = AcknowledgingKafkaSource if settings.kafka_ack else KafkaSource
        serve(kind(Cluster(settings), settings.kafka_topics, max_items=settings.kafka_max_items), settings)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
