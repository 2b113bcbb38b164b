"""What the report says about the data: its profile, its contract, its split."""

from __future__ import annotations

from stepworks.report.documents import (
    Check,
    ColumnProfile,
    ProfileDocument,
    SplitDocument,
    SplitPart,
    ValidationDocument,
)
from stepworks.report.marks import counts_mark, histogram_mark
from stepworks.report.markup import Markup, element, join, table
from stepworks.report.plots import period_plot
from stepworks.report.section import Section, facts, figure, plots, strip
from stepworks.report.wording import count, moment_of, percent, plural, short


def profile_section(profile: ProfileDocument, name: str) -> Section:
    """The table's size, the target's rate, and every column as a small multiple."""
    dropped = [f"{count(rows)} {reason.replace('_', ' ')}" for reason, rows in profile.dropped_rows.items()]
    known = facts(
        {
            "Rows": count(profile.rows),
            "Dropped before": ", ".join(dropped) or "none",
            "Target": f"{profile.target}, true in {percent(profile.target_rate)} of the rows",
            "Columns": count(len(profile.columns)),
        }
    )
    content = [known]
    if profile.periods:
        plot = period_plot(profile.periods, profile.target_rate, f"{name}-periods")
        told = "dashed: all rows"
        content = [plots([known, figure(plot, f"How often {profile.target} was true", told)])]
    content.append(element("h3", "Columns"))
    content.append(element("ul", (_column(column, profile.rows) for column in profile.columns), class_="columns"))
    return Section("Data profile", join(content))


def _column(column: ColumnProfile, rows: int) -> Markup:
    share = column.nulls / rows if rows else 0.0
    missing = f"{percent(share, 0 if share >= 0.1 else 1)} missing" if column.nulls else None
    told = ", ".join(filter(None, [column.type, None if column.role == "feature" else column.role, missing]))
    if column.histogram is not None:
        mark = histogram_mark(column.histogram)
        ends = (short(column.histogram.edges[0]), short(column.histogram.edges[-1]))
    elif column.top_values:
        mark = counts_mark([value.rows for value in column.top_values])
        ends = (column.top_values[0].value, plural(column.distinct, "value"))
    else:
        mark = None
        known = column.minimum is not None
        ends = (_plain(column.minimum), _plain(column.maximum) if known else plural(column.distinct, "value"))
    below = element("div", (element("span", end) for end in ends), class_="ends")
    return element("li", element("b", column.name, title=column.name), element("p", told), mark, below)


def _plain(value: float | str | None) -> str:
    # Of a moment, its day is enough.
    return "" if value is None else value[:10] if isinstance(value, str) else short(value)


def validation_section(validation: ValidationDocument) -> Section:
    """The checks that did not pass, and those that did, folded."""
    broken = [check for check in validation.checks if not check.passed]
    passed = [check for check in validation.checks if check.passed]
    told = f"All {plural(len(passed), 'check')} passed"
    if broken:
        told = f"{count(len(passed))} of {plural(len(validation.checks), 'check')} passed"
    said = element("p", told, class_=f"verdict {'good' if validation.passed else 'bad'}")
    head = ["Check", "Column", "Found", "Expected"]
    content = [said]
    if broken:
        content.append(table(["", *head], (_check(check) for check in broken), label="Checks that did not pass"))
    if passed:
        rows = ([check.name, check.column, check.received, check.expected] for check in passed)
        content.append(element("details", element("summary", "What passed"), table(head, rows)))
    return Section("Validation", join(content), f"{count(validation.rows)} rows against their contract")


def _check(check: Check) -> list[str | None]:
    tone, word = ("bad", "error") if check.severity == "error" else ("warn", "warning")
    return [element("b", word, class_=tone), check.name, check.column, check.received, check.expected]


def split_section(split: SplitDocument) -> Section:
    """The parts of a split, their bounds, and whether the target's rate differs between them."""
    rows = sum(part.rows for part in split.parts)

    def row(part: SplitPart) -> list[str]:
        return [
            part.name,
            moment_of(part.first),
            moment_of(part.last),
            count(part.rows),
            percent(part.rows / rows),
            percent(part.target_rate),
        ]

    head = ["Part", "First", "Last", "Rows", "Share", "Target rate"]
    content = join(
        strip([(part.name, part.rows) for part in split.parts]),
        table(head, map(row, split.parts), numbers=[3, 4, 5], label="Parts", class_="plain"),
    )
    return Section("Split", content, f"by {split.method}, column {split.column}")
