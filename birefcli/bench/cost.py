"""What 1,000 photos cost on a machine that is paid by the hour. There is no list of prices."""

from birefcli.errors import UsageError

MOST = 1e6
"""USD an hour: what is above it was typed wrong."""


def check_price(price: float) -> None:
    """Raise UsageError for what is no price: ``price`` is in USD an hour of this machine."""
    if not 0 < price <= MOST:  # which NaN is not either
        raise UsageError(
            f"give what this machine costs an hour in USD, above 0 and at most {MOST:.0f}",
            option="price",
            value=f"{price:g}",
        )


def usd_per_1000(price: float, photos_per_second: float) -> float:
    """USD for 1,000 photos at ``price`` USD an hour: 1,000 photos take 1 / (3.6 × rate) hours."""
    return price / (3.6 * photos_per_second)
