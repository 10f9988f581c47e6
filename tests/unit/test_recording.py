from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from models.recording import RecordingError, VolSeries, load_recording, load_recordings, load_vol, with_vol

GOOD = {
    "ts": [0, 3_600, 7_200, 14_400],
    "open": [100.0, 101.0, 102.0, 103.0],
    "high": [102.0, 103.0, 104.0, 105.0],
    "low": [99.0, 100.0, 101.0, 102.0],
    "close": [101.0, 102.0, 103.0, 104.0],
}
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def write(folder: Path, columns: dict, name: str = "coin.parquet") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        rows = [",".join(columns)] + [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join(rows) + "\n")
    else:
        pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def test_load_recording__parquet_with_a_gap__keeps_the_gap_and_the_commonest_spacing(tmp_path):
    recording = load_recording(write(tmp_path, GOOD))
    assert (recording.asset, recording.bar_seconds) == ("coin", 3_600)
    assert [bar.start for bar in recording.bars] == GOOD["ts"]
    assert recording.bars[2].close == 103.0
    assert recording.bars[2].volume is None


def test_load_recording__csv_of_the_same_rows__has_the_same_digest(tmp_path):
    as_csv = load_recording(write(tmp_path, GOOD, "coin.csv"))
    assert as_csv.digest == load_recording(write(tmp_path, GOOD)).digest


def test_load_recording__one_price_changed__has_another_digest(tmp_path):
    digest = load_recording(write(tmp_path, GOOD)).digest
    changed = GOOD | {"close": [101.0, 102.0, 103.0, 104.000001]}
    assert load_recording(write(tmp_path, changed)).digest != digest


def test_load_recording__optional_columns__are_read_with_nulls(tmp_path):
    extras = {"volume": [1.0, None, 3.0, 4.0], "iv": [0.6, None, 0.7, 0.8]}
    bars = load_recording(write(tmp_path, GOOD | extras)).bars
    assert [bar.volume for bar in bars] == extras["volume"]
    assert [bar.iv for bar in bars] == extras["iv"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ts": [0, 7_200, 3_600, 14_400]}, ["row 2", "ts 3600", "above"]),
        ({"ts": [0, 3_600, 3_600, 14_400]}, ["row 2", "ts 3600", "repeated"]),
        ({"ts": [0.5, 3_600.0, 7_200.0, 14_400.0]}, ["row 0", "ts 0.5", "whole"]),
        ({"ts": [0, 7, 14, 21]}, ["bar_seconds 7", "divide a day"]),
        ({"close": [101.0, float("nan"), 103.0, 104.0]}, ["row 1", "close nan", "finite"]),
        ({"close": [101.0, None, 103.0, 104.0]}, ["row 1", "close None", "finite"]),
        ({"low": [99.0, 100.0, 0.0, 102.0]}, ["row 2", "low 0.0", "above 0"]),
        ({"open": [100.0, 101.0, -1.0, 103.0]}, ["row 2", "open -1.0", "above 0"]),
        ({"high": [102.0, 101.5, 104.0, 105.0]}, ["row 1", "high 101.5", "below"]),
        ({"low": [99.0, 101.5, 101.0, 102.0]}, ["row 1", "low 101.5", "above"]),
        ({"volume": [1.0, -1.0, 1.0, 1.0]}, ["row 1", "volume -1.0", "0 or more"]),
        ({"iv": [0.6, -0.6, 0.6, 0.6]}, ["row 1", "iv -0.6", "above 0"]),
        ({"iv": [60.0, 61.0, 62.0, None]}, ["row 0", "iv 60", "iv has median 61", "decimal expected"]),
        ({"iv": [0.6, 0.61, 65.0, None]}, ["row 2", "iv 65", "decimal expected"]),
        ({"ts": [0, 3_600, 7_200, 7_500]}, ["row 3", "ts 7500", "300 s after", "mixed frequencies"]),
        ({"open": ["a", "b", "c", "d"]}, ["row 0", "open 'a'", "finite number"]),
    ],
)
def test_load_recording__bad_rows__are_refused_by_file_row_and_rule(tmp_path, change, words):
    with pytest.raises(RecordingError) as refused:
        load_recording(write(tmp_path, GOOD | change))
    assert all(word in str(refused.value) for word in ["coin.parquet", *words]), refused.value


def test_load_recording__hourly_rows_that_become_daily__are_refused_where_it_shows(tmp_path):
    hourly = [3_600 * hour for hour in range(20)]
    starts = hourly + [hourly[-1] + 86_400 * day for day in range(1, 13)]
    columns = {"ts": starts} | {name: [100.0] * len(starts) for name in ("open", "high", "low", "close")}
    with pytest.raises(RecordingError, match=r"coin\.parquet: row 29: .* 10 rows in a row are 86400 s apart"):
        load_recording(write(tmp_path, columns))


def test_load_recording__missing_columns__are_named(tmp_path):
    with pytest.raises(RecordingError, match=r"coin\.parquet: missing column open, close"):
        load_recording(write(tmp_path, {key: GOOD[key] for key in ("ts", "high", "low")}))


def test_load_recording__no_rows__is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"coin\.parquet: has no rows"):
        load_recording(write(tmp_path, {key: pa.array([], pa.float64()) for key in GOOD}))


def test_load_recording__text_called_parquet__is_refused(tmp_path):
    path = tmp_path / "coin.parquet"
    path.write_text("ts,open\n1,2\n")
    with pytest.raises(RecordingError, match=r"coin\.parquet: not a readable parquet file"):
        load_recording(path)


@pytest.mark.parametrize(
    ("source", "rule"),
    [("gone.parquet", "no such file"), ("coin.xlsx", "must end in"), ("builtin:gold", "one of builtin:spx")],
)
def test_load_recording__unknown_source__is_refused(tmp_path, source, rule):
    with pytest.raises(RecordingError, match=rule):
        load_recording(source if source.startswith("builtin") else tmp_path / source)


def test_load_recording__builtin_spx__carries_vix_as_a_decimal_or_nothing():
    recording = load_recording("builtin:spx")
    assert (recording.bar_seconds, len(recording.bars)) == (86_400, 5_031)
    by_year = {bar.start // 31_556_952 + 1970: bar.iv for bar in recording.bars}
    assert by_year[2010] is None
    assert 0.05 < by_year[2018] < 0.9


def test_load_vol__builtin_vix__leaves_holidays_out():
    closes = load_vol("builtin:vix").closes
    assert len(closes) == 1_305 - 46
    assert closes[1_388_707_200] == pytest.approx(0.1376)


def test_load_vol__in_percent__is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"vol\.csv: row 0: close 19, .* decimal expected"):
        load_vol(write(tmp_path, {"ts": [0, 86_400], "close": [19.0, 21.0]}, "vol.csv"))


@pytest.mark.parametrize("value", [0.0, -0.2])
def test_load_vol__not_above_zero__is_refused_by_row(tmp_path, value):
    with pytest.raises(RecordingError, match=r"vol\.csv: row 1: close"):
        load_vol(write(tmp_path, {"ts": [0, 86_400], "close": [0.2, value]}, "vol.csv"))


def test_with_vol__joins_by_exact_second__and_leaves_the_rest_none(tmp_path):
    recording = load_recording(write(tmp_path, GOOD))
    joined = with_vol(recording, VolSeries("v", {3_600: 0.5, 7_201: 0.6}))
    assert [bar.iv for bar in joined.bars] == [None, 0.5, None, None]
    assert joined.digest != recording.digest


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not on this machine")
def test_load_recording__recorded_bitcoin__joins_its_volatility_index():
    recording = with_vol(load_recording(DATA / "btc_usdt_perp_1h.parquet"), load_vol(DATA / "btc_dvol_1h.parquet"))
    assert recording.bar_seconds == 3_600
    assert sum(bar.iv is not None for bar in recording.bars) == 15_552


def test_load_recordings__two_files_of_one_name__are_refused_with_both(tmp_path):
    """They would be taken for one asset."""
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(str(write(tmp_path / folder, GOOD)))
    with pytest.raises(RecordingError, match="both are called") as caught:
        load_recordings(files)
    assert all(file in str(caught.value) for file in files)
    assert [one.asset for one in load_recordings([files[0], "builtin:wti"])] == [Path(files[0]).stem, "wti"]
