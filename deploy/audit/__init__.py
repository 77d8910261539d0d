"""The export of the audit, and the scripts that check an export on any machine."""
