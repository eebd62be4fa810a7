"""Reads the two streams and the products, and joins them: the code that the batch job and the streaming job share."""

import argparse
import os

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

SCHEMAS = {
    "pageviews": "user_id LONG, http_method STRING, uri STRING, client_ip STRING, user_agent STRING, latency DOUBLE, "
    "event_time TIMESTAMP, session_id STRING, event_id STRING",
    "stars": "user_id LONG, stars INT, event_time TIMESTAMP, session_id STRING, event_id STRING",
}
PRODUCT = "id LONG, name STRING, description STRING, pages ARRAY<STRING>"


def arguments(description):
    """Returns a parser with the options of both jobs, to which a job can add further ones."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--lake", default="playground/lake", help="the lake: a path, or abfss://…")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--files", default="playground/stream", help="the directory with pageviews*.jsonl and stars*.jsonl")
    source.add_argument("--kafka", metavar="SERVERS", help="bootstrap servers; for Event Hubs NAMESPACE.servicebus.windows.net:9093")
    parser.add_argument("--out", help="the directory for the result as JSON; without it, the result is printed")
    return parser


def spark_session(name):
    # Times are UTC. Shuffles are small.
    builder = SparkSession.builder.appName(name).config("spark.sql.session.timeZone", "UTC")
    return builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()


def kafka_options(servers):
    """Returns the options of the Kafka source. LISTEN_CONNECTION_STRING is the connection string of Event Hubs."""
    options = {"kafka.bootstrap.servers": servers, "startingOffsets": "earliest"}
    if connection_string := os.environ.get("LISTEN_CONNECTION_STRING"):
        # On Databricks, the class is kafkashaded.org.apache.kafka.common.security.plain.PlainLoginModule.
        options |= {
            "kafka.security.protocol": "SASL_SSL",
            "kafka.sasl.mechanism": "PLAIN",
            "kafka.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="$ConnectionString" password="{connection_string}";',
        }
    return options


def messages(reader, topic, options):
    """Returns the messages of a topic, read by `spark.read` or `spark.readStream`. Duplicates are included."""
    if options.kafka:
        lines = reader.format("kafka").options(**kafka_options(options.kafka)).option("subscribe", topic).load()
    else:
        lines = reader.format("text").load(f"{options.files}/{topic}*.jsonl")
    message = F.from_json(F.col("value").cast("string"), SCHEMAS[topic])
    return lines.select(message.alias("message")).select("message.*")


def pages(spark, options):
    """Returns the pages of all products."""
    # With a schema, Spark need not read a thousand small files to infer one. They are read once, not in every micro-batch.
    products = spark.read.schema(PRODUCT).json(f"{options.lake}/products").coalesce(1)
    return products.select(F.explode("pages").alias("uri"), F.col("id").alias("product_id"), "description").cache()


def bad_ratings(pageviews, stars, pages):
    """Returns the product pages that users viewed in the ten minutes before a bad rating, one row per pageview."""
    star = stars.where("stars <= 2").selectExpr(
        "event_id AS rating_id", "user_id AS rated_by", "stars", "event_time AS rated_at"
    )
    view = pageviews.select("user_id", "uri", F.col("event_id").alias("view_id"), F.col("event_time").alias("viewed_at"))
    seen_before = "user_id = rated_by AND viewed_at BETWEEN rated_at - INTERVAL 10 MINUTES AND rated_at"
    joined = view.join(pages, "uri").join(star, F.expr(seen_before))
    return joined.select(
        "rating_id", "user_id", "stars", "rated_at", "view_id", "viewed_at", "product_id", "description"
    )
