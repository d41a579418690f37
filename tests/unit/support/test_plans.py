"""A plan that reads more than it must is noticed, of either database."""

from tests.support.plans import cockroach_waste, postgres_detours, postgres_waste

SMALL, MOST = {"clock"}, 1_000
LIMITED = """\
• limit
│ count: 5
│
└── • scan
      KV rows read: 5
      table: events@events_pk
      spans: [/'m'/4 - /'m']
"""


def test_a_table_that_is_read_from_end_to_end() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "events"}
    assert list(postgres_waste({"Node Type": "Limit", "Plans": [scan]}, SMALL, MOST)) == [
        "events is read from end to end"
    ]
    planned = LIMITED.replace("[/'m'/4 - /'m']", "FULL SCAN").replace("      KV rows read: 5\n", "")
    assert list(cockroach_waste(planned, SMALL, MOST)) == ["events is read from end to end"]
    assert not list(cockroach_waste(planned.replace("events", "clock"), SMALL, MOST))


def test_many_rows_for_few() -> None:
    many = {"Node Type": "Index Scan", "Relation Name": "events", "Actual Rows": 5, "Rows Removed by Filter": 20_000}
    assert list(postgres_waste(many, SMALL, MOST)) == ["Index Scan of events reads 20005 rows"]
    read = LIMITED.replace("read: 5", "read: 20,005")
    assert list(cockroach_waste(read, SMALL, MOST)) == ["scan of events reads 20,005 rows"]


def test_a_small_table_and_few_rows_are_no_waste() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "clock", "Actual Rows": 1}
    assert not list(postgres_waste(scan, SMALL, MOST))
    few = LIMITED.replace("[/'m'/4 - /'m']", "FULL SCAN")
    for plan in (few, LIMITED):
        assert not list(cockroach_waste(plan, SMALL, MOST))


def test_an_index_that_is_gone_through_for_its_later_columns() -> None:
    columns = {"events_by_time": ['"time"', "model", "sequence"]}

    def detours(condition: str) -> list[str]:
        scan = {"Node Type": "Index Scan", "Index Name": "events_by_time", "Index Cond": condition}
        return list(postgres_detours({"Node Type": "Limit", "Plans": [scan]}, columns))

    assert detours("((model = 'm'::text) AND (sequence = 5))") == ["events_by_time is gone through for model, sequence"]
    assert detours('(("time" < now()) AND (sequence = 5))') == ['events_by_time is gone through for "time", sequence']
    assert not detours("(ROW(\"time\", model, sequence) < ROW(now(), 'm'::text, 5))")
    assert not detours('("time" = old."time")')
    assert detours("(model = 'time'::text)") == ["events_by_time is gone through for model"]
