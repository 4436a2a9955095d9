"""What an ambassador is made of: write a `Source`, hand it to `serve`. docs/source-contract.md says what it answers.

sys.exit(serve(MySource(settings), settings))
"""

from longshore_kit.ambassador.app import create_app, create_health_app
from longshore_kit.ambassador.server import AmbassadorSettings, serve

__all__ = ["AmbassadorSettings", "create_app", "create_health_app", "serve"]
