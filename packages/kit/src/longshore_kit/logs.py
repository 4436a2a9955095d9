"""Structured logs on stderr: JSON lines where a program reads them, text where a person does.

Bind once, then say events in the past tense with fields: `log.info("job created", job=name)`.
WARNING means somebody should look, ERROR that the work of the moment failed. A quiet healthy hour logs nothing.
"""

import json
import logging
import sys
from typing import Any, Literal, TextIO, TypeAlias

import structlog
from structlog.tracebacks import ExceptionDictTransformer

Logger: TypeAlias = structlog.stdlib.BoundLogger
LogFormat: TypeAlias = Literal["auto", "json", "text"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def configure(log_format: LogFormat = "auto", *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """
    Set up logging for this process, once, in `__main__`. `auto` is text when `stream` (default: stderr) is a terminal.

    Libraries that use the standard library's logging come out in the same form, from WARNING upwards.
    """
    stream = stream or sys.stderr
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        last: list[structlog.typing.Processor] = [
            # Without local variables: there are secrets among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    else:
        # structlog writes control characters in values with repr(): a name can't forge a line or colour a terminal.
        last = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("longshore", "longshore_kit"):
        logging.getLogger(ours).setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _to_json(line: Any, **options: Any) -> str:  # noqa: ANN401 - as structlog hands them to json.dumps
    """As readable as it may be: JSON itself lets C1 controls, bidi marks and half characters through as they are."""
    text = json.dumps(line, ensure_ascii=False, **options)
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def get_logger(name: str, **bound: Any) -> Logger:  # noqa: ANN401 - log fields are whatever prints
    """A logger under `name` (its level follows `longshore…`), with fields that every line of it carries."""
    logger: Logger = structlog.stdlib.get_logger(name, **bound)
    return logger
