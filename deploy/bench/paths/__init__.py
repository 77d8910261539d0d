"""The paths: each module measures one promise of the architecture and gives figures for the page."""
