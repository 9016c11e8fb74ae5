"""A cluster that runs elsewhere: its kubeconfig was given, so nothing is started here."""

from pathlib import Path

from typing_extensions import override

from slipway_local.cluster.api import Api
from slipway_local.cluster.members import ELSEWHERE
from slipway_local.errors import LocalError, PartError
from slipway_local.external import External

VARIABLE = "SLIPWAY_KUBECONFIG"


class Outside(External):
    """Stands in for the parts of our own. Starting it checks that somebody is there."""

    def __init__(self, kubeconfig: Path, *, variable: str = VARIABLE) -> None:
        super().__init__(ELSEWHERE, str(kubeconfig), variable=variable)
        self.kubeconfig = kubeconfig
        self._named_by = variable

    @override
    async def start(self) -> None:
        if not self.kubeconfig.is_file():
            raise PartError(self.name, f"{self.kubeconfig} does not exist (from {self._named_by})")
        async with await Api.open(self.kubeconfig) as api:
            try:
                ready = await api.is_ready()
            except (OSError, TimeoutError) as error:
                raise PartError(
                    self.name,
                    f"nothing answers at {api.server} (from {self.kubeconfig}, which "
                    f"{self._named_by} names): {error}",
                ) from error
            if not ready:
                raise PartError(self.name, f"{api.server} answers that it is not ready")

    def refusal(self, what: str) -> LocalError:
        return LocalError(f"{what} is not known of a cluster that runs elsewhere ({VARIABLE})")
