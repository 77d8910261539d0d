"""The audit outside the services: its export, and the script that checks one anywhere."""
