"""A Longshore worker: one video in, thumbnails out. README.md says what it is asked, docs/worker-contract.md how."""
