"""The adapter that makes a chain of ordinary workers look like one."""
