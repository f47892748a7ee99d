"""Where work runs. Nothing outside this package knows Ray."""
