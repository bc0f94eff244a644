"""Numbers as people read them: rates, intervals, shares and differences."""

from collections.abc import Mapping

UNDEFINED = "not defined"
MAX_DIGITS = 7  # as many as float32 has


def rate(value: float | None) -> str:
    """Three decimals, which is finer than any interval of a few thousand images."""
    return UNDEFINED if value is None else f"{value:.3f}"


def against(first: float, second: float) -> str:
    """Two values, with more than three decimals only where different ones would look equal."""
    digits = 3
    while digits < MAX_DIGITS and first != second and f"{first:.{digits}f}" == f"{second:.{digits}f}":
        digits += 1
    return f"{first:.{digits}f} against {second:.{digits}f}"


def probability(value: float) -> str:
    """Four decimals; a value that rounds to 0 or 1 without being equal gets a `<` or `>`."""
    if 0 < value < 0.00005:
        return "< 0.0001"
    return "> 0.9999" if 0.99995 <= value < 1 else f"{value:.4f}"


def signed(difference: float) -> str:
    """Three decimals with their sign; a value that rounds to zero has a plus."""
    return f"{round(difference, 3) + 0.0:+.3f}"


def p_value(value: float) -> str:
    if value < 0.001:
        return "p < 0.001"
    return "p > 0.999" if value > 0.999 else f"p = {value:.3f}"


def interval(limits: Mapping[str, float] | None, decimals: int = 3) -> str:
    return UNDEFINED if limits is None else f"{limits['low']:.{decimals}f} to {limits['high']:.{decimals}f}"


def percent(share: float) -> str:
    """As many digits as the share was given with, such as 97.5 %."""
    return f"{100 * share:.4g} %"


def measured_percent(share: float) -> str:
    """One decimal, for a share of images that was counted."""
    return f"{100 * share:.1f} %"


def expected_patients(number: float | None) -> str:
    """Of a thousand: whole patients, and one decimal below ten."""
    if number is None:
        return UNDEFINED
    return f"{number:.1f}" if round(number, 1) < 10 else f"{number:.0f}"


def target(share: float) -> str:
    """At least two decimals, and as many as it was given with."""
    return max(f"{share:.2f}", f"{share:g}", key=len)
