"""The one error tree of Longshore, raised at every edge. The class says whether to retry.

Adapters translate what their library raises into one of these and chain it (`raise … from exc`). Only a program's
`__main__` turns an error into an exit code. Messages say what, which item, and what to do next.
"""


class LongshoreError(Exception):
    """Anything that Longshore itself reports; its message is written for a person."""


class SettingsError(LongshoreError):
    """A setting or a queue file is wrong; retrying does not help, editing does."""


class SourceError(LongshoreError):
    """The source did not give what was asked for."""


class SourceUnavailable(SourceError):
    """The source, or the store behind it, did not answer, or not in the contract's words; safe to retry."""


class ItemNotFound(SourceError):
    """The source answered that it has no such item; it may have had it a moment ago."""


class EngineError(LongshoreError):
    """An engine could not look at or change its Jobs."""


class EngineUnavailable(EngineError):
    """The engine did not answer; nothing is known of its Jobs now; safe to retry."""


class EngineFull(EngineError):
    """There is no room, or no right, for another Job now, whichever item it is for; safe to retry later."""


class ManifestRefused(EngineError):
    """The engine can't honour this Job; retrying does not help. The message names the field."""


class WorkerError(LongshoreError):
    """A worker could not finish its item."""


class ItemRejected(WorkerError):
    """The item itself is bad; no other attempt would end better (exit code 65)."""


class ItemFailed(WorkerError):
    """This attempt failed; another one may succeed (exit code 1)."""
