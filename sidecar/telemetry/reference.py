"""The reference table of the metrics as Markdown, made from the table of families so that it cannot be out of date."""

from typing import Final

from sidecar.telemetry.families import FAMILIES, Family, Kind, Merge
from sidecar.telemetry.snapshot import SHARED_GAUGES

BEGIN: Final = "<!-- families: made from sidecar/telemetry/families.py -->"
END: Final = "<!-- /families -->"

_MERGED: Final = {Merge.SUM: "sum", Merge.MAX: "highest", Merge.MIN: "lowest", Merge.NEWEST: "newest"}


def table() -> str:
    """Render every family as a row."""
    head = "| name | type | unit | labels | over processes | what it tells |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(family) for family in FAMILIES)


def updated(page: str) -> str:
    """Return a page with what stands between the marks replaced by the table as it is now."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} followed by {END!r}: put them where the table belongs")
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def _row(family: Family) -> str:
    apart = family.kind is Kind.GAUGE and family not in SHARED_GAUGES
    merged = "" if apart else _MERGED[family.merge]
    labels = ", ".join(f"`{label}`" for label in family.labels)
    cells = (f"`{family.name}`", family.kind.value, family.unit, labels, merged, family.help.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |\n"
