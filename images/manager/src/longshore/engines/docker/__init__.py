"""Jobs as containers of a Docker daemon.

api.py      the wire: the only module that imports docker; the daemon's errors as our few
fields.py   what Docker can honour of a Job's manifest, and what a container is made with; pure
objects.py  how a Job lies on a daemon, in names and labels, and what that says about an item; pure
steps.py    what is to be done next for a Job; pure
images.py   images that are not there yet, pulled beside the loop
engine.py   the engine: the seam's methods over the five
"""

from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.engine import DockerEngine

__all__ = ["DockerApi", "DockerEngine"]
