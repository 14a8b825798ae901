"""What commands about alerts refuse."""

from cloud.errors import CloudError


class UnknownAlert(CloudError):
    """There is no such alert."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no alert {number}; segs-cloud alerts list names them")


class UnknownRule(CloudError):
    """No alert was ever raised by a rule of that name."""

    def __init__(self, rule: str, there: str) -> None:
        super().__init__(f"there is no rule {rule}; {there}")


class UnknownSite(CloudError):
    """No meter is at such a site."""

    def __init__(self, site: str, there: str) -> None:
        super().__init__(f"there is no site {site}; {there}")


class NoOperator(CloudError):
    """Nobody of that address may take alerts on."""

    def __init__(self, email: str) -> None:
        super().__init__(f"there is no operator or admin {email}; segs-cloud user list names them")
