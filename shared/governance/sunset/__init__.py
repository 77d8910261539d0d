"""Sunset: the emergency is over, and no service collects personal data any longer."""
