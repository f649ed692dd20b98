"""What 1,000 photos cost: the formula, and what is no price."""

import re
from pathlib import Path

import pytest

import birefcli
from birefcli.bench import cost
from birefcli.cli import bench_table
from birefcli.errors import UsageError

GUIDE = Path(__file__).parents[2] / "man" / "guide" / "cost.md"


@pytest.mark.parametrize(
    ("price", "rate", "usd"),
    [
        (3.6, 1, 1.0),  # 1,000 photos take 1,000 seconds, of which an hour has 3,600
        (4.59, 80, 0.0159375),
        (0.80, 2.364, 0.094),
        (1.79, 5.290, 0.094),
        (3.99, 11.791, 0.094),
    ],
)
def test_cost_is_the_price_of_the_seconds_that_a_thousand_photos_take(price, rate, usd):
    assert cost.usd_per_1000(price, rate) == pytest.approx(usd, rel=1e-4)
    assert cost.usd_per_1000(price, rate) == pytest.approx(price * (1000 / rate) / 3600)


def test_twice_as_fast_or_half_the_price_is_half_the_cost():
    whole = cost.usd_per_1000(2.0, 5.0)
    assert cost.usd_per_1000(2.0, 10.0) == pytest.approx(whole / 2)
    assert cost.usd_per_1000(1.0, 5.0) == pytest.approx(whole / 2)


@pytest.mark.parametrize("price", [0.0, -0.0, -1.0, float("nan"), float("inf"), -float("inf"), 2e6])
def test_what_is_no_price_is_refused_by_its_option(price):
    with pytest.raises(UsageError) as refused:
        cost.check_price(price)
    assert refused.value.option == "price"


@pytest.mark.parametrize("price", [1e-6, 0.05, 4.59, cost.MOST])
def test_every_price_above_zero_is_one(price):
    cost.check_price(price)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0159375, "0.0159"),
        (80.0, "80"),
        (123.4, "123"),
        (38800.0, "38800"),
        (5.39e-7, "0.000000539"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(value, shown):
    assert bench_table._plain(value, 3) == shown


def test_rates_of_the_guide_follow_from_the_formula():
    text = GUIDE.read_text(encoding="utf-8").partition("## How fast a machine must be")[2]
    amounts = [float(cell) for cell in re.findall(r"([\d.]+) USD \|", text)[:3]]
    rows = re.findall(r"^\| (\d[\d.]*) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert amounts == [0.094, 1, 10]
    assert len(rows) == 7
    for price, *rates in rows:
        for amount, rate in zip(amounts, rates, strict=True):
            assert cost.usd_per_1000(float(price), float(rate)) == pytest.approx(amount, rel=0.05)


def test_costs_of_the_guide_follow_from_its_rates():
    text = GUIDE.read_text(encoding="utf-8")
    rows = re.findall(r"\| cutout as png \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert len(rows) == 2
    for rate, usd in rows:
        assert cost.usd_per_1000(0.10, float(rate)) == pytest.approx(float(usd), rel=0.02)
    for seconds, usd in ((4.22, "0.12"), (14.06, "0.39")):  # of large networks, at least
        assert f"{seconds:.2f} s" in text
        assert f"{cost.usd_per_1000(0.10, 1 / seconds):.2f}" == usd
        assert re.search(rf"at least .*\b{usd}\b.* per 1,000", text)


def test_the_package_knows_no_price():
    amounts = re.compile(r"(USD|EUR|\$)\s*\d|\d\s*(USD|EUR)\b|usd\w*\s*(:\s*float\s*)?=\s*\d", re.I)
    for path in Path(birefcli.__file__).parent.rglob("*.py"):
        assert amounts.search(path.read_text(encoding="utf-8")) is None, path
