"""Files with lines NAME=value, in which a Docker host has what a cluster has in Secrets. Pure."""


def variables(text: str) -> dict[str, str]:
    """What such a file says, by name, as `docker run --env-file` reads it; nothing is unquoted."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value for name, _, value in pairs}
