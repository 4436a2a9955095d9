"""The settings of ambassador-kafka, from the environment. In a queue file they stand under `source.kafka`."""

import json
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, field_validator

from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.settings import Boolean, Secret, TextList, setting

OWNED: Final = frozenset(
    {
        "bootstrap.servers",
        "group.id",
        "group.instance.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "auto.offset.reset",
        "sasl.username",
        "sasl.password",
    }
)
"""Settings of librdkafka that this ambassador depends on, or has variables of its own for."""


def _object(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as exc:
            raise ValueError("it is no JSON") from exc
    return value


Config = Annotated[dict[str, str | bool | int | float], BeforeValidator(_object)]


class KafkaSettings(AmbassadorSettings):
    """Which records are items, and how the cluster is reached."""

    kafka_bootstrap_servers: TextList = setting(
        "Where the cluster is found: host:9092.", unit="address, or a JSON list of them", min_length=1
    )
    kafka_topics: TextList = setting("The topics.", unit="name, or a JSON list of them", min_length=1)
    kafka_group: str = setting(
        "The consumer group whose committed offsets say what is done. Nobody else may consume with it; it is never "
        "joined, so no partitions are taken from anybody.",
        unit="name",
        min_length=1,
    )
    kafka_max_items: int = setting(
        "Records that are listed at most, oldest first: more are listed as these are done.",
        unit="number",
        default=10_000,
        ge=1,
        le=1_000_000,
    )
    kafka_ack: Boolean = setting(
        "Offer the capability `ack`: a record that is done is committed, once all before it in its partition are.",
        unit="true or false",
        default=True,
    )
    kafka_sasl_username: str = setting("The SASL user.", unit="name", default="")
    kafka_sasl_password: Secret = setting(
        "The SASL password; KAFKA_SASL_PASSWORD_FILE names a file with it.", unit="text", default=None
    )
    kafka_config: Config = setting(
        'Further settings of librdkafka by their own names: {"security.protocol": "SASL_SSL", "sasl.mechanism": '
        '"SCRAM-SHA-512", "ssl.ca.location": "/certs/ca.pem"}.',
        unit="JSON object",
        default={},
        is_shown=False,
    )

    @field_validator("kafka_config")
    @classmethod
    def _nothing_owned(cls, config: dict[str, Any]) -> dict[str, Any]:
        if owned := sorted(OWNED & config.keys()):
            raise ValueError(
                f"{', '.join(owned)} can't be set here: there are variables for it, or it must be as it is"
            )
        return config
