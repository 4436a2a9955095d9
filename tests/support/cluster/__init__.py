"""A real Kubernetes for the tests, on one machine, built from package registries alone. tests/cluster/README.md.

With `KUBECONFIG` set, the cluster that it names is used instead, and nothing here is built or started.
"""
