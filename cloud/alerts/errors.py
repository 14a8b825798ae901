"""What commands about alerts refuse."""

from cloud.errors import CloudError


class UnknownAlert(CloudError):
    """There is no such alert."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no alert {number}; segs-cloud alerts list names them")


class NoOperator(CloudError):
    """Nobody of that address may take alerts on."""

    def __init__(self, email: str) -> None:
        super().__init__(f"there is no operator or admin {email}; segs-cloud user list names them")
