"""Clients that other people's generators make of the document, against a real installation. Run by hand."""
