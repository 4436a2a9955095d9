"""The status page: what a manager sees, for people and as JSON. docs/status-page.md describes all of it."""
