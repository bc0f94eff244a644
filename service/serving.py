"""The application as each web process makes it."""

from fastapi import FastAPI

from models_store.settings import Settings
from service import logs
from service.app import create_app


def create() -> FastAPI:
    """Reads the settings of the environment. Raises `OpenAccessRefused`."""
    logs.configure()
    return create_app(Settings())
