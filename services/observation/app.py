"""The observation service's API."""

from fastapi import FastAPI

from shared.app import Api, build
from shared.house import House
from shared.settings import Settings

API = Api(title="Fangxian observation", routers=[], snapshots={})


def create_app(settings: Settings, house: House | None = None) -> FastAPI:
    """The application of one API process."""
    return build(settings, API, house)
