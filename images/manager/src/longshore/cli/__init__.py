"""The `longshore` command: each module owns some of its commands. Words only; decisions are made elsewhere."""
