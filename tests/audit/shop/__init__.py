"""An app of a project whose orders are tracked."""
