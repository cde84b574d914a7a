"""What scripts/bench reckons with, tried on texts of known content."""

import unittest

import columns
import metrics
import split
import store
import tables

BEFORE = """\
# HELP tidegate_messages_total …
tidegate_messages_total{stage="stored"} 10
tidegate_link_calls_total{gateway="gateway-1"} 5
tidegate_receipt_seconds_sum 1.5
tidegate_receipt_seconds_count 100
"""
GATEWAY = """\
tidegate_messages_total{stage="stored"} 0
tidegate_receipt_seconds_bucket{le="0.001"} 70
tidegate_receipt_seconds_sum 2.5
tidegate_receipt_seconds_count 300
"""
PIPELINE = """\
tidegate_messages_total{stage="stored"} 30
tidegate_messages_total{stage="received"} 99
tidegate_link_calls_total{gateway="gateway-1"} 15
tidegate_link_calls_total{gateway="gateway-2"} 20
"""
STORE = """\
100000 stored, on average 9000 msg/s
200000 stored, on average 8000 msg/s
batch   500:    7000 msg/s  p50 50.10 ms  p90 60.00 ms  p99 70.20 ms  p99.9 80.00 ms  max 90.00 ms  105.0 µs of CPU a message
batch    50:    6000 msg/s  p50 7.00 ms  p90 8.00 ms  p99 17.20 ms  p99.9 18.00 ms  max 19.00 ms  153.0 µs of CPU a message
batch     1:    1500 msg/s  p50 0.52 ms  p90 0.60 ms  p99 4.01 ms  p99.9 5.00 ms  max 6.00 ms  518.0 µs of CPU a message
calm  1000/s: p50 0.64 ms  p90 0.70 ms  p99 26.10 ms  p99.9 27.00 ms  max 28.00 ms  503.0 µs of CPU a message, 5.0 waits of a thread
page of 1: 100 µs
page of 50: 300 µs
10000 heads: 62.0 ms
300000 messages sent so far
"""


class Reckoning(unittest.TestCase):
    def test_metrics_are_summed_over_processes_and_taken_since(self):
        added = metrics.parse(GATEWAY, PIPELINE) - metrics.parse(BEFORE)
        self.assertEqual(added.total("tidegate_messages_total", stage="stored"), 20)
        self.assertEqual(added.total("tidegate_link_calls_total"), 30)
        self.assertEqual(added.mean("tidegate_receipt_seconds"), 0.005)
        self.assertIsNone(added.mean("tidegate_delivery_seconds"))

    def test_calls_are_by_message_stored(self):
        result = {"added": metrics.parse(GATEWAY, PIPELINE) - metrics.parse(BEFORE)}
        self.assertEqual(split.per_stored("link_calls_total")(result), 1.5)
        self.assertEqual(split.mean_ms("receipt_seconds")(result), 5)

    def test_a_cell_is_the_median_and_the_range(self):
        self.assertEqual(tables.cell([3000.0, 1000.0, 2000.0], 0), "2,000 [1,000–3,000]")
        self.assertEqual(tables.cell([1.001, 1.002], 2), "1.00")
        self.assertEqual(tables.cell([None], 1), "–")

    def test_a_fanout_s_columns_are_each_from_their_figure(self):
        result = {"deliveries_per_second": 50_000.4, "deliveries_per_server_cpu_second": 102_000.0,
                  "server_cpu_us_per_delivery": 9.8, "client_cpu_us_per_delivery": 3.21, "messages_per_write": 1.0,
                  "delivered_us": {"p50": 4_600, "p99": 9_100}, "lost": 1, "doubled": 2, "reordered": 4, "misplaced": 8}
        cells = [tables.cell([value(result)], digits) for _, value, digits in columns.FANOUT]
        self.assertEqual(cells, ["50,000", "102,000", "9.80", "3.21", "1.0", "4.60", "9.10", "15"])

    def test_the_store_s_figures_are_each_from_their_line(self):
        expected = ["8,000", "7,000", "50.1", "70.2", "6,000", "0.52", "4.01", "0.64", "26.10", "300", "62.0"]
        self.assertEqual(store.cells(STORE), expected)
        self.assertEqual(store.last(r"^(\d+) messages sent so far", STORE), "300000")


def run() -> int:
    """An exit code."""
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(Reckoning)
    return 0 if unittest.TextTestRunner().run(tests).wasSuccessful() else 1
