"""The connection to Temporal."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.envconfig import ClientConfig


async def connect(default_address: str, *, lazy: bool = False) -> Client:
    """A client as `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_…` or a profile say.

    `default_address` is used when they name none. With `lazy` it connects at its first call, and again after a failure.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", default_address)
    return await Client.connect(**config, lazy=lazy)
