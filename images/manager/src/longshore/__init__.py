"""The Longshore manager: asks a source for its items and starts one worker per item, with all state in the Jobs.

docs/design.md says what each module owns. The pure heart: queuefile, names, references, manifests, state, plan,
scaling. The rest acts: source, ledger, manager, engines, cli.
"""

from importlib.metadata import version

__version__ = version("longshore")
