-- Which products did a user look at in the ten minutes before a bad rating? For DuckDB, in the directory that contains the
-- playground. One row per pageview.

WITH star AS (
    SELECT DISTINCT ON (event_id) event_id, user_id, stars, event_time
    FROM read_json('playground/stream/stars.jsonl') WHERE stars <= 2
), view AS (
    SELECT DISTINCT ON (event_id) event_id, user_id, uri, event_time
    FROM read_json('playground/stream/pageviews.jsonl')
), page AS (
    SELECT unnest(pages) AS uri, id AS product_id, description
    FROM read_json('playground/lake/products/*.json')
)
SELECT star.event_id AS rating_id, star.user_id, star.stars, star.event_time AS rated_at,
       view.event_id AS view_id, view.event_time AS viewed_at, page.product_id, page.description
FROM star
JOIN view ON view.user_id = star.user_id
    AND view.event_time BETWEEN star.event_time - INTERVAL 10 MINUTES AND star.event_time
JOIN page ON page.uri = view.uri
ORDER BY rated_at, viewed_at;
