"""Which products did a user look at in the ten minutes before a bad rating? A streaming job on arriving messages."""

import messages

# How long after its event time a message may arrive: late ones take up to ten minutes, duplicates half a minute more.
DELAY = "11 minutes"


def main():
    parser = messages.arguments(__doc__)
    parser.add_argument("--checkpoint", required=True, help="the directory that remembers what has been processed")
    parser.add_argument("--once", action="store_true", help="end when everything that is there has been processed")
    parser.add_argument("--files-per-trigger", type=int, default=1, help="how many files of each topic make a micro-batch")
    options = parser.parse_args()
    spark = messages.spark_session("bad ratings, streaming")
    reader = spark.readStream
    if not options.kafka:
        reader = reader.option("maxFilesPerTrigger", options.files_per_trigger)
    pageviews, stars = (
        messages.messages(reader, topic, options)
        .withWatermark("event_time", DELAY)
        .dropDuplicatesWithinWatermark(["event_id"])
        for topic in ("pageviews", "stars")
    )
    result = messages.bad_ratings(pageviews, stars, messages.pages(spark, options))
    writer = result.writeStream.outputMode("append").option("checkpointLocation", options.checkpoint)
    writer = writer.trigger(availableNow=True) if options.once else writer.trigger(processingTime="10 seconds")
    writer = writer.format("json").option("path", options.out) if options.out else writer.format("console")
    writer.start().awaitTermination()


if __name__ == "__main__":
    main()
