"""What authors of a Longshore ambassador or worker build on, and all that the images share.

Import from the module that owns a thing (`from longshore_kit.worker import run`); nothing is re-exported here,
so that a worker never pays for the web framework.
"""
