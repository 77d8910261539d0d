"""The paths: each module measures one target of the architecture and returns figures for the page."""
