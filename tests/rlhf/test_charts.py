import math

import pytest

from rlhf.charts import Band, Point, Reference, Series, plot, shows_as_table, smoothed, thinned, trend
from rlhf.forests import connectors, forests
from rlhf.run_charts import calibration, charts_of
from rlhf.scales import Axis, Scale, percent_words, steps, tick_words


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, (0, 2, 4, 6, 8, 10)),
        (0, 1.84, (0, 0.5, 1, 1.5, 2)),
        (-0.3, 0.4, (-0.4, -0.2, 0, 0.2, 0.4)),
        (0.5, 1, (0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        (0, 2000, (0, 500, 1000, 1500, 2000)),
        (-1e-6, 2, (0, 0.5, 1, 1.5, 2)),
    ],
)
def test_ticks_are_round_and_hold_the_data(low, high, expected):
    assert steps(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0, 3, -2.5, 1e-6, 1e9])
def test_one_single_value_still_gets_an_axis(value):
    marks = steps(value, value)
    assert marks[0] < value < marks[-1]


def test_tick_words_have_the_digits_that_the_step_needs():
    assert tick_words((0, 0.5, 1))(0.5) == "0.5"
    assert tick_words((0, 0.25, 0.5))(0.25) == "0.25"
    assert tick_words((0, 500, 1000))(1000) == "1,000"
    assert tick_words((0, 1e-6, 2e-6))(1e-6) == "1.0e-6"


def test_a_value_outside_the_scale_sticks_to_its_edge():
    scale = Scale(0, 10, ())
    assert [scale.share(value) for value in (-5, 0, 5, 99)] == [0, 0, 0.5, 1]


def lines(**options):
    options = {"x": Axis(low=0, high=10, fixed=True), "y": Axis(low=0, high=10, fixed=True)} | options
    return plot("key", "Title", **options)


def test_a_line_runs_from_bottom_left_to_top_right():
    chart = lines(series=[Series("One", [(0, 0), (5, 5), (10, 10)])])
    assert chart.lines == [{"d": "M0 1000L500 500L1000 0", "css": "ln c1"}]
    assert [tick.at for tick in chart.y_ticks] == ["100%", "80%", "60%", "40%", "20%", "0%"]
    assert chart.x_ticks[-1].last and not chart.x_ticks[0].last


def test_a_gap_breaks_the_line_instead_of_bridging_it():
    chart = lines(series=[Series("One", [(0, 0), (2, None), (4, 4), (6, math.nan), (10, 10)])])
    assert chart.lines[0]["d"] == "M0 1000M400 600M1000 0"


def test_a_single_point_is_a_dot():
    chart = lines(series=[Series("One", [(5, 5)])])
    assert chart.lines == [] and chart.dots == [{"x": "50%", "y": "50%", "color": "c1"}]


@pytest.mark.parametrize("points", [[], [(1, None)], [(1, math.inf), (2, math.nan)]])
def test_nothing_finite_gives_an_empty_chart_that_says_so(points):
    chart = lines(series=[Series("One", points)])
    assert chart.is_empty and chart.finding == "Title: no data yet"


def test_a_band_goes_along_the_top_and_back_along_the_bottom():
    chart = lines(series=[Series("One", [(0, 5), (10, 5)])], bands=[Band("Range", [(0, 2, 8), (10, 4, 6)])])
    assert chart.areas[0]["d"] == "M0 200L1000 400L1000 600L0 800Z"
    assert chart.columns == ["Step", "One", "Range, low", "Range, high"]


def test_references_lie_where_their_value_is_and_widen_the_axis():
    chart = plot(
        "key",
        "Title",
        x=Axis(low=0, high=4),
        y=Axis(low=0),
        series=[Series("One", [(0, 1), (4, 2)])],
        references=[Reference(8, "target 8", tone="warn"), Reference(2, "now", across=False)],
    )
    assert chart.y_ticks[-1].text == "8" and chart.references[0]["at"] == "0%"
    assert chart.references[0]["below"]  # its words would leave the plot above it
    assert chart.references[1]["at"] == "50%"


def test_points_carry_their_interval_and_words():
    chart = lines(points=[Point(8, 5, 4, 7, "policy", title="policy: 5")])
    assert chart.whiskers == [{"x": "80%", "y1": "60%", "y2": "30%", "color": "c1"}]
    assert chart.labels[0]["text"] == "policy" and chart.labels[0]["end"]
    assert chart.hits[0]["title"] == "policy: 5"


def test_the_words_of_points_that_lie_together_keep_apart():
    points = [Point(x, 4.4, label=name) for x, name in ((0.1, "start"), (0.81, "ppo-r1"), (0.82, "dpo-r1"))]
    side = Axis(low=0, high=1, fixed=True)
    labels = plot("both", "Both", x=side, y=Axis(low=0), points=points).labels
    assert [(each["end"], each["dy"]) for each in labels] == [(False, 14), (True, -8), (True, 14)]


def test_every_place_has_a_title_and_the_same_numbers_are_in_the_table():
    chart = lines(series=[Series("Reward", [(step, step / 2) for step in range(11)])])
    assert [hit["title"] for hit in chart.hits][:2] == ["Step 0: reward 0.0", "Step 1: reward 0.5"]
    assert chart.rows[:2] == [["0", "0.0"], ["1", "0.5"]]


def test_long_runs_stay_light_and_keep_first_last_and_spikes():
    points = [(step, 100.0 if step == 777 else 1.0) for step in range(5000)]
    kept = thinned(points)
    assert len(kept) == 240 and kept[0] == points[0] and kept[-1] == points[-1]
    assert (777, 100.0) in kept
    chart = lines(x=Axis(), y=Axis(), series=[Series("One", points)])
    assert len(chart.hits) <= 50 and len(chart.rows) <= 60 and chart.rows[-1][0] == "4,999"


def test_the_table_leaves_out_no_value_that_is_logged_rarely():
    steps_of_run = [(step, 1.0) for step in range(1000)]
    held_out = [(step, 2.0) for step in range(7, 1000, 90)]
    chart = lines(x=Axis(), y=Axis(), series=[Series("Training", steps_of_run), Series("Held out", held_out)])
    assert sum(row[2] != "" for row in chart.rows) == len(held_out)


def test_smoothing_follows_a_constant_exactly_and_skips_gaps():
    assert smoothed([(0, 2.0), (1, None), (2, 2.0)]) == [(0, 2.0), (1, None), (2, 2.0)]
    noisy = [(step, float(step % 2)) for step in range(200)]
    assert abs(smoothed(noisy)[-1][1] - 0.5) < 0.1


def test_the_spoken_trend_says_rises_falls_or_stays():
    words = "{:.1f}".format
    assert trend([(step, step / 10) for step in range(11)], words) == "rises from 0.0 to 1.0"
    assert trend([(step, -step / 10) for step in range(11)], words).startswith("falls from")
    assert trend([(0, 1.0), (1, 1.0)], words) == "stays near 1.0"
    assert trend([], words) == "no data yet"


def test_the_toggle_keeps_what_other_charts_show():
    chart = shows_as_table(lines(series=[Series("One", [(0, 1)])]), ["key", "other"])
    assert chart.as_table and chart.toggle == "?table=other"
    chart = shows_as_table(lines(), ["other"])
    assert not chart.as_table and chart.toggle == "?table=other&table=key"


def test_intervals_of_a_table_share_one_scale_and_gray_means_undecided():
    rows = forests([{"value": 0.7, "low": 0.6, "high": 0.8}, None, {"value": 0.52, "low": 0.45, "high": 0.6}])
    sure, missing, unsure = rows
    assert missing is None and sure.reference == unsure.reference
    assert (sure.color, unsure.color) == ("c1", "c5")
    assert float(unsure.dot.strip("%")) < float(sure.low.strip("%")) < float(sure.dot.strip("%"))
    assert sure.label == "70.0 percent, 60.0 to 80.0"


def test_connectors_join_the_middles_of_boxes():
    assert connectors([(0, 1)], 1, 2) == ["M0 50.0C55 50.0 45 75.0 100 75.0"]


PPO = [
    {"step": step, "reward": step / 10, "kl": step / 5, "policy_loss": 0.1, "value_loss": 0.2, "length": 50.0}
    | {"length_p10": 30.0, "length_p90": 80.0}
    for step in range(1, 61)
]


def test_a_ppo_run_shows_reward_kl_loss_and_length():
    config = {"params": {"kl_target": 10.0, "max_new_tokens": 100}}
    reward, kl, loss, length = charts_of("ppo", PPO, config, 100)
    assert [chart.title for chart in (reward, kl, loss, length)] == [
        "Reward",
        "KL to reference",
        "Loss",
        "Answer length",
    ]
    assert kl.tag == "above target" and kl.references[0]["text"] == "target 10"
    assert "rises" in kl.finding and "target 10" in kl.finding
    assert length.areas and length.unit == "tokens" and length.references[0]["text"] == "limit 100"
    assert reward.x_ticks[-1].text == "100"  # the whole run, not only what is done
    (reward, *_) = charts_of("ppo", [*PPO, {"step": 60, "eval_reward": 5.0}], config, 100)
    assert [item["label"] for item in reward.legend] == ["Mean, smoothed", "Held out"]


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("reward", ["Loss", "Accuracy", "Margin", "Gradient norm"]),
        ("dpo", ["Loss", "Accuracy", "Margin", "Implied reward"]),
        ("sft", ["Loss", "Gradient norm"]),
        ("pretrain", ["Loss", "Gradient norm"]),
        ("evaluate", []),
    ],
)
def test_each_kind_has_its_charts_even_before_the_first_metric(kind, titles):
    charts = charts_of(kind, [], {})
    assert [chart.title for chart in charts] == titles
    assert all(chart.is_empty for chart in charts)


def test_held_out_rows_are_drawn_beside_the_training_rows():
    rows = [
        {"step": 1, "loss": 1.0, "eval_loss": 1.2},
        {"step": 2, "loss": 0.9},
        {"step": 3, "loss": 0.8, "eval_loss": 1},
    ]
    loss = charts_of("sft", rows, {})[0]
    assert [item["label"] for item in loss.legend] == ["Training, smoothed", "Held out"]


def test_calibration_says_which_way_the_model_errs():
    bins = [{"low": 0.5, "high": 0.75, "predicted": 0.6, "observed": 0.5, "n": 40}]
    bins += [{"low": 0.75, "high": 1.0, "predicted": None, "observed": None, "n": 0}]
    chart = calibration("calibration", {"calibration": bins, "ece": 0.1}, title="Calibration")
    assert "over-confident" in chart.finding and chart.footnote == "Expected calibration error 0.100"
    assert chart.rows == [["0.60", "0.50", "40"]] and chart.x_ticks[0].text == "50%"
    assert [hit["title"] for hit in chart.hits] == ["Predicted 0.60, observed 0.50, 40 pairs"]
    assert calibration("calibration", {}, title="Calibration").is_empty


def test_percent_ticks_read_as_percent():
    chart = lines(y=Axis(low=0, high=1, fixed=True, words=percent_words), series=[Series("One", [(0, 0.5), (10, 1)])])
    assert chart.y_ticks[-1].text == "100%" and chart.rows[0][1] == "50.0%"
