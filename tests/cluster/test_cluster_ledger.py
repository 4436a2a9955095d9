"""The ledger in ConfigMaps against a real API server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contract.ledger_contract import LedgerContract, states_of
from longshore import cluster_ledger
from longshore.cluster_ledger import LEDGER_LABEL, ClusterLedger
from longshore.ledger import Ledger, LedgerUnavailable
from longshore.state import Record, State
from support.cluster.cluster import Cluster

pytestmark = pytest.mark.slow


class TestClusterLedger(LedgerContract):
    """Every rule, and those of its own."""

    @pytest.fixture(autouse=True)
    def _place(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def make_ledger(self, folder: Path) -> Ledger:  # noqa: ARG002 - state lies in the cluster
        """A fresh ledger, as another manager would have it."""
        return ClusterLedger(self.cluster.api(self.namespace), "q")

    def shards(self) -> list[str]:
        """The ConfigMaps that there are."""
        found = self.cluster.kubectl(
            *("get", "configmaps", "-n", self.namespace, "-l", f"{LEDGER_LABEL}=q", "-o", "name")
        )
        return found.split()

    def test_what_is_full_is_sealed(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """No ConfigMap grows beyond its size; each record is in one of them, and can be removed from there."""
        monkeypatch.setattr(cluster_ledger, "SHARD_BYTES", 3000)
        items = [f"item {number}" for number in range(1000)]
        for start in range(0, 1000, 100):
            ledger.enter([Record(item, State.DONE, 1.0) for item in items[start : start + 100]])
        ledger.remove([ledger.read().key_of(item) for item in items[:500]])

        assert states_of(ledger, *items) == dict.fromkeys(items[500:], State.DONE)
        assert len(self.shards()) > 2

    def test_what_was_sealed_in_vain_counts_for_nothing(self, ledger: Ledger) -> None:
        """A crash, or a removal, between sealing and emptying the head: only what the head names is a record."""
        ledger.enter([Record("a", State.DONE, 1.0)])
        assert isinstance(ledger, ClusterLedger)
        ledger._create(f"{ledger._head}-crashed", cluster_ledger.Shard.of(ledger._read_head()))
        ledger.remove([ledger.read().key_of("a")])

        assert (states_of(ledger, "a"), len(self.shards())) == ({}, 2)

    def test_a_removal_while_a_shard_is_sealed_wins(
        self, make: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody retries an item just when the head, which holds its record, is full: the record is gone."""
        monkeypatch.setattr(cluster_ledger, "SHARD_BYTES", 100)
        ledger, other = make(), make()
        ledger.enter([Record("bad", State.FAILED, 1.0, "x" * 90)])
        assert isinstance(ledger, ClusterLedger)
        create = ledger._create

        def create_after_removal(name: str, shard: cluster_ledger.Shard) -> None:
            other.remove(["bad"])
            create(name, shard)

        monkeypatch.setattr(ledger, "_create", create_after_removal)
        ledger.enter([Record("good", State.FAILED, 1.0, "y" * 90)])

        assert states_of(make(), "bad", "good") == {"good": State.FAILED}

    def test_a_part_that_is_gone_is_told(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """Records that can't be seen are no records that are not there."""
        monkeypatch.setattr(cluster_ledger, "SHARD_BYTES", 100)
        for number in range(20):
            ledger.enter([Record(f"item {number}", State.DONE, 1.0)])
        sealed = next(name for name in self.shards() if not name.endswith("-longshore-ledger"))
        self.cluster.kubectl("delete", "-n", self.namespace, sealed)
        fresh = ClusterLedger(self.cluster.api(self.namespace), "q")

        with pytest.raises(LedgerUnavailable, match="is not seen, which q-longshore-ledger names"):
            fresh.read()
        fresh.close()

    def test_what_does_not_fit_at_once_is_entered_bit_by_bit(self, ledger: Ledger) -> None:
        """A thousand failures with long reasons: more than a ConfigMap may have, and no reason to stop."""
        records = [Record(f"item {number}", State.FAILED, 1.0, "é" * 2000) for number in range(200)]
        left = {record.item: record for record in records}
        while left:
            for item in ledger.enter(list(left.values())):
                del left[item]

        assert states_of(ledger, *(record.item for record in records)) == {
            record.item: State.FAILED for record in records
        }

    def test_it_takes_little(self, ledger: Ledger) -> None:
        """20,000 done items are one ConfigMap of 240 KB."""
        ledger.enter([Record(f"a/rather/long/name/of/an/item/{number:06}.mp4", State.DONE) for number in range(20_000)])

        assert (len(ledger.read()), len(self.shards())) == (20_000, 1)

    def test_a_damaged_one_is_told(self, ledger: Ledger) -> None:
        """Records that can't be read are no records that are not there."""
        ledger.enter([Record("a", State.DONE, 1.0)])
        patch = '{"binaryData": {"done": "YWJj"}}'
        self.cluster.kubectl("patch", "-n", self.namespace, self.shards()[0], "--type=merge", "-p", patch)
        fresh = ClusterLedger(self.cluster.api(self.namespace), "q")

        with pytest.raises(LedgerUnavailable, match="ConfigMap q-longshore-ledger is damaged"):
            fresh.read()
        fresh.close()
