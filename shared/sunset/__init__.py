"""Sunset: the emergency is over. Nothing more is collected about anybody, in any service."""
