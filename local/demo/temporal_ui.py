"""Links to runs in the Temporal UI."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import httpx
from temporalio.envconfig import ClientConfig

from local.ports import LOOPBACK


@dataclass(frozen=True)
class TemporalUI:
    """The web UI of the Temporal server in use; `address` is None when it does not run at the settings' port."""

    address: str | None
    namespace: str

    def run(self, workflow_id: str) -> str:
        """Where to see a workflow's newest run, or its id when there is no UI here."""
        if self.address is None:
            return f"workflow {workflow_id}"
        return f"{self.address}/namespaces/{self.namespace}/workflows/{quote(workflow_id, safe='')}"


async def temporal_ui(port: int) -> TemporalUI:
    """The UI at this port, looked for."""
    namespace = ClientConfig.load_client_connect_config().get("namespace") or "default"
    address = f"http://{LOOPBACK}:{port}"
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        try:
            await http.get(address)
        except httpx.TransportError:
            return TemporalUI(None, namespace)
    return TemporalUI(address, namespace)
