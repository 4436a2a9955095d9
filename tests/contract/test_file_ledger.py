"""The ledger in a file keeps the ledgers' contract."""

from pathlib import Path

from contract.ledger_contract import LedgerContract
from longshore.ledger import FileLedger, Ledger


class TestFileLedger(LedgerContract):
    """Every rule."""

    def make_ledger(self, folder: Path) -> Ledger:
        return FileLedger(folder / "state" / "ledger.jsonl")
