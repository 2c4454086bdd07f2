"""Turning raw columns into ids, times, numbers, texts and category lists, without a loop over rows."""

from __future__ import annotations

import logging

import polars as pl

from flanrec.errors import DataError

log = logging.getLogger(__name__)

WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
NO_VALUE = ("", "nan", "null", "none")
NO_CATEGORY = ("", "(no genres listed)")
LATEST = 4_102_444_800  # 2100-01-01T00:00:00Z
TIME_UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))
TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
)
ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d")


def text_column(values: pl.Series) -> pl.Series:
    """Text with outer white space removed; nothing becomes the empty string. Lists are joined by spaces."""
    if isinstance(values.dtype, pl.List):
        values = _text_list(values).list.join(" ", ignore_nulls=True)
    elif values.dtype != pl.String:
        values = values.cast(pl.String, strict=False)
    return values.str.strip_chars().fill_null("")


def _text_list(values: pl.Series) -> pl.Series:
    """Lists as List[String]; lists of lists, as in old Amazon files, become one list a row."""
    while isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.List):
        values = values.list.eval(pl.element().explode())
    return values.cast(pl.List(pl.String), strict=False)


def id_column(values: pl.Series, typed: bool, file: str) -> pl.Series:
    """Ids in the type they came in; null where there is none.

    Text files carry no types: a column that holds whole numbers only, without leading zeros, is read
    as integers, any other as text. Whole numbers that came as floats (pandas makes them so when some
    are missing) become integers.

    Raises
    ------
    DataError
        The ids are fractions, lists or another type that cannot name a user or an item.
    """
    if values.dtype == pl.Null:
        return values.cast(pl.String)
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        stripped = values.str.strip_chars()
        stripped = stripped.set(stripped.str.to_lowercase().is_in(NO_VALUE), None)
        return stripped if typed else whole_numbers(stripped)
    if values.dtype.is_integer():
        return values
    if values.dtype.is_float():
        known = values.drop_nulls().drop_nans()
        if bool((known == known.floor()).all()):
            log.info("%s: the ids of column %r came as floats and are read as integers", file, values.name)
            return values.fill_nan(None).cast(pl.Int64, strict=False)
    raise DataError(
        f"{file}: column {values.name!r} holds {values.dtype}, which cannot be an id. Use text or integers."
    )


def whole_numbers(values: pl.Series) -> pl.Series:
    """Int64 if every text is a whole number written the usual way, else the texts unchanged.

    >>> whole_numbers(pl.Series(["1", "20"])).dtype, whole_numbers(pl.Series(["1", "020"])).dtype
    (Int64, String)
    """
    known = values.drop_nulls()
    if known.len() and bool(known.str.contains(WHOLE_NUMBER).all()):
        return values.cast(pl.Int64)
    return values


def same_id_type(first: pl.Series, second: pl.Series, what: str) -> tuple[pl.Series, pl.Series]:
    """Give the ids of two tables one type, so that they can be joined.

    The first keeps its type where the second can take it; else both become text and the log says so.
    """
    if first.dtype == second.dtype:
        return first, second
    if first.dtype.is_integer() and second.dtype.is_integer():
        return first, _try_cast(second, first.dtype)
    if first.null_count() == first.len():
        return first.cast(second.dtype), second
    if second.null_count() == second.len():
        return first, second.cast(first.dtype)
    if first.dtype.is_integer() and second.dtype == pl.String:
        numbers = whole_numbers(second)
        if numbers.dtype.is_integer():
            return first, _try_cast(numbers, first.dtype)
    log.warning("%s is %s in one table and %s in another: read as text in both", what, first.dtype, second.dtype)
    return first.cast(pl.String), second.cast(pl.String)


def _try_cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        return values.cast(dtype)
    except pl.exceptions.InvalidOperationError as error:
        raise DataError(f"ids do not fit {dtype}: {error}. Give both tables the same integer type.") from error


def number_column(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Numbers as Float64 (null where there is none or it is unreadable) and a mask of unreadable values."""
    if values.dtype.is_temporal():
        numbers, given = pl.Series(values.name, [None] * values.len(), dtype=pl.Float64), values.is_not_null()
    elif values.dtype == pl.String:
        stripped = values.str.strip_chars()
        given = stripped.is_not_null() & ~stripped.str.to_lowercase().is_in(NO_VALUE)
        numbers = stripped.cast(pl.Float64, strict=False)
    else:
        given = values.is_not_null()
        try:
            numbers = values.cast(pl.Float64, strict=False)
        except pl.exceptions.PolarsError:
            numbers = pl.Series(values.name, [None] * values.len(), dtype=pl.Float64)
        if values.dtype.is_float():
            given = given & values.is_not_nan().fill_null(False)
    numbers = numbers.set(~numbers.is_finite().fill_null(False), None)
    return numbers, (given & numbers.is_null()).fill_null(False)


def time_column(values: pl.Series, file: str) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Times in seconds since 1970 (UTC), a mask of unreadable values and a mask of absurd ones.

    Numbers are seconds; where the median of the column says that it is in milliseconds, microseconds
    or nanoseconds, the whole column is converted and the log says so. Text may also be an ISO date,
    with or without time and zone (none means UTC). Absurd is before 1970 or after 2100.
    """
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        moments = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values
        seconds = moments.dt.timestamp("us").cast(pl.Float64) / 1e6
        return _whole_seconds(seconds), pl.repeat(False, values.len(), eager=True, dtype=pl.Boolean), _absurd(seconds)
    seconds, unreadable = number_column(values)
    odd = pl.repeat(False, values.len(), eager=True, dtype=pl.Boolean)
    median = seconds.median()
    for smallest, unit, name in TIME_UNITS:
        if isinstance(median, float) and median > smallest:
            log.info("%s: column %r is in %s and is converted to seconds", file, values.name, name)
            odd = (seconds <= smallest).fill_null(False)  # another unit than the rest: not to be trusted
            seconds = seconds / unit
            break
    if values.dtype == pl.String and bool(unreadable.any()):
        seconds = seconds.scatter(unreadable.arg_true(), _parse_dates(values.filter(unreadable)))
        unreadable = unreadable & seconds.is_null()
    return _whole_seconds(seconds), unreadable, _absurd(seconds) | odd


def _absurd(seconds: pl.Series) -> pl.Series:
    return ((seconds < 0) | (seconds > LATEST)).fill_null(False)


def _whole_seconds(seconds: pl.Series) -> pl.Series:
    sensible = seconds.filter(~_absurd(seconds)).drop_nulls()
    if bool((sensible == sensible.floor()).all()):
        return seconds.cast(pl.Int64, strict=False)
    return seconds


def _parse_dates(values: pl.Series) -> pl.Series:
    texts = pl.col("text").str.strip_chars()
    attempts = [texts.str.to_datetime(form, strict=False, time_unit="us") for form in TIME_FORMATS]
    attempts += [
        texts.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC").dt.replace_time_zone(None)
        for form in ZONED_FORMATS
    ]
    attempts += [texts.str.to_date(form, strict=False).cast(pl.Datetime("us")) for form in DATE_FORMATS]
    frame = pl.DataFrame({"text": values})
    return frame.select((pl.coalesce(attempts).dt.timestamp("us").cast(pl.Float64) / 1e6).alias("time"))["time"]


def category_column(values: pl.Series, sequence: bool) -> pl.Series:
    """Category names as List[String].

    Lists stay. A RecBole ``token_seq`` is split at spaces. Other text is split at ``|``; in a column
    without any, at ``;``; in one without either, at commas. ``['A', 'B']`` is read as a list.
    """
    if isinstance(values.dtype, pl.List):
        names = _text_list(values)
        names = names.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
    else:
        texts = text_column(values)
        if sequence:
            separator = " "
        else:
            brackets = texts.str.starts_with("[") & texts.str.ends_with("]")
            if bool(brackets.any()):
                inner = texts.str.slice(1).str.head(-1).str.replace_all(r"""["']\s*,\s*["']""", "|")
                texts = texts.zip_with(~brackets, inner.str.strip_chars("\"' "))
            found = (mark for mark in ("|", ";") if bool(texts.str.contains(mark, literal=True).any()))
            separator = next(found, ",")
        names = texts.str.split(separator)
    element = pl.element().str.strip_chars()
    frame = pl.DataFrame({"category": names})
    return frame.select(
        pl.col("category")
        .list.eval(element.filter(element.is_not_null() & ~element.is_in(NO_CATEGORY)))
        .list.unique(maintain_order=True)
    )["category"]


def year_column(values: pl.Series) -> pl.Series:
    """Int32 years; anything that is not a year from 1 to 2999 is null."""
    if values.dtype.is_temporal():
        return values.dt.year().cast(pl.Int32)
    numbers, _ = number_column(values)
    return numbers.set((numbers < 1) | (numbers > 2999), None).cast(pl.Int32)
