"""Jobs as Jobs of a Kubernetes cluster.

api.py      the wire: configuration, authentication, timeouts, retries, and the API's errors as our few
objects.py  what is read of Jobs and Pods, and what it says about an item; pure
cache.py    a mirror of one kind of object, by list and watch
engine.py   the engine: the seam's methods over the three
notices.py  what a person should be told, in which words and how often; pure
events.py   notices as Events, sent beside the loop
"""

from longshore.engines.kubernetes.api import Api
from longshore.engines.kubernetes.engine import KubernetesEngine
from longshore.engines.kubernetes.events import Recorder
from longshore.engines.kubernetes.notices import Reference

__all__ = ["Api", "KubernetesEngine", "Recorder", "Reference"]
