"""The tables of MovieLens-100K from either of its two shapes, the same from both."""

from __future__ import annotations

import io

import polars as pl

Frames = dict[str, pl.DataFrame]

GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def frames_of_grouplens(data: bytes, item: bytes, user: bytes) -> Frames:
    """The tables of GroupLens' ``u.data`` (tabs), ``u.item`` and ``u.user`` (bars, Latin-1)."""

    def table(raw: bytes, separator: str, names: list[str]) -> pl.DataFrame:
        text = io.BytesIO(raw.decode("latin-1").encode())
        return pl.read_csv(
            text, has_header=False, separator=separator, new_columns=names, quote_char=None, infer_schema=False
        )

    events = table(data, "\t", ["user_id", "item_id", "rating", "timestamp"])
    flags = [f"genre_{genre}" for genre in GENRES]
    films = table(item, "|", ["item_id", "title", "released", "video_released", "url", *flags])
    genres = pl.concat_list([pl.when(pl.col(f"genre_{genre}") == "1").then(pl.lit(genre)) for genre in GENRES])
    items = films.select(
        "item_id",
        pl.col("title").str.strip_chars(),
        pl.lit("").alias("text"),
        genres.list.drop_nulls().alias("category"),
        pl.col("title").str.extract(r"\((\d{4})\)").cast(pl.Int32).alias("year"),
    )
    users = table(user, "|", ["user_id", "age", "gender", "occupation", "zip_code"])
    return {"interactions": _numbers(events), "items": items, "users": users}


def frames_of_atomic(inter: bytes, item: bytes, user: bytes) -> Frames:
    """The tables of RecBole's atomic files of MovieLens-100K.

    RecBole cut the year from the title at the last bracket, which went wrong for a title that ends in
    "(1995) (V)" and for the film that is called "unknown"; both get their GroupLens title again.
    """

    def table(raw: bytes, names: list[str]) -> pl.DataFrame:
        return pl.read_csv(
            io.BytesIO(raw),
            separator="\t",
            quote_char=None,
            infer_schema=False,
            skip_rows=1,
            has_header=False,
            new_columns=names,
        )

    films = table(item, ["item_id", "title", "year", "category"])
    whole = pl.when(pl.col("item_id") == "267").then(pl.lit("unknown")).otherwise(pl.format("{} ({})", "title", "year"))
    films = films.with_columns(whole.alias("title"), pl.col("category").str.split(" "))
    items = films.select(
        "item_id",
        "title",
        pl.lit("").alias("text"),
        "category",
        pl.col("title").str.extract(r"\((\d{4})\)").cast(pl.Int32).alias("year"),
    )
    users = table(user, ["user_id", "age", "gender", "occupation", "zip_code"])
    return {
        "interactions": _numbers(table(inter, ["user_id", "item_id", "rating", "timestamp"])),
        "items": items,
        "users": users,
    }


def _numbers(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(pl.col("rating").cast(pl.Float64), pl.col("timestamp").cast(pl.Int64))
