"""Which products did a user look at in the ten minutes before a bad rating? A batch job over all messages so far."""

import messages


def main():
    options = messages.arguments(__doc__).parse_args()
    spark = messages.spark_session("bad ratings, batch")
    pageviews, stars = (
        messages.messages(spark.read, topic, options).dropDuplicates(["event_id"]) for topic in ("pageviews", "stars")
    )
    result = messages.bad_ratings(pageviews, stars, messages.pages(spark, options)).orderBy("rated_at", "viewed_at")
    if options.out:
        result.write.mode("overwrite").json(options.out)
    else:
        result.show(50, truncate=False)


if __name__ == "__main__":
    main()
