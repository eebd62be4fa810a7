#!/usr/bin/env bash
# Starts the playground of docker-compose.yml with the images tagged $TAG (default: latest), waits until
# the finite generators have ended, checks what each of them wrote, and stops the stream. Needs Docker
# with the compose plugin, curl and python3. Removes everything that it created.
set -euo pipefail
cd "$(dirname "$0")/.."

export TAG=${TAG:-latest} SESSION_PAUSE_MEAN=0.05 SESSION_PAUSE_STDDEV=0.01
export COMPOSE_PROJECT_NAME=playground-smoke
password=${SQL_PASSWORD:-Datove-hriste-2022}
passed=0

fail() {
    echo "FAILED: $*" >&2
    docker compose ps --all >&2
    docker compose logs --tail 50 >&2
    exit 1
}
ok() {
    passed=$((passed + 1))
    echo "ok: $*"
}
trap 'docker compose --profile inspect down --volumes --timeout 15 >/dev/null 2>&1' EXIT

for generator in gen-users gen-products gen-orders stream-pageviews; do
    bytes=$(docker image inspect --format '{{.Size}}' "ghcr.io/${OWNER:-tkubica12}/$generator:$TAG")
    [ "$bytes" -le 45000000 ] || fail "$generator: the image has $bytes bytes, more than 45 MB"
    ok "$generator: image of $bytes bytes"
done

docker compose --profile inspect up --detach --pull missing --quiet-pull

for generator in gen-users gen-products gen-orders; do
    container=$(docker compose ps --all --quiet "$generator")
    state=
    for _ in $(seq 300); do
        state=$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$container")
        [ "$state" = "exited 0" ] && break
        sleep 1
    done
    [ "$state" = "exited 0" ] || fail "$generator: $state after 5 minutes"
    ok "$generator ended with 0"
done

sas=$(sed -n 's/.*STORAGE_SAS: "[^?]*?\(.*\)"/\1/p' docker-compose.yml)
lake=http://127.0.0.1:10000/devstoreaccount1/bronze
users=$(curl --fail --silent --show-error "$lake/users/users.json?$sas" | wc -l)
[ "$users" = "${USERS_COUNT:-20000}" ] || fail "users.json has $users lines"
ok "$users users in the lake"
curl --fail --silent --show-error "$lake/products/product_0.json?$sas" | python3 -m json.tool >/dev/null ||
    fail "product_0.json is not there"
ok "products in the lake"

orders=$(docker compose exec -T --env SQLCMDPASSWORD="$password" sqlserver \
    /opt/mssql-tools18/bin/sqlcmd -C -b -S 127.0.0.1 -U sa -d orders -h -1 -W \
    -Q "SET NOCOUNT ON; SELECT COUNT_BIG(*) FROM orders" | tr -d '[:space:]')
[ "$orders" = "${ORDERS_COUNT:-50000}" ] || fail "the table orders has $orders rows"
ok "$orders orders in SQL Server"

# Prometheus scrapes the stream, and Grafana has its dashboard.
value=
for _ in $(seq 60); do
    value=$(curl --silent --get --data-urlencode 'query=sum(stream_pageviews_delivered_total) > 0' \
        http://127.0.0.1:9090/api/v1/query | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"]["result"])' || true)
    [ "${value:-[]}" != "[]" ] && break
    sleep 1
done
[ "${value:-[]}" != "[]" ] || fail "Prometheus has no delivered messages"
ok "Prometheus scrapes the stream"
curl --fail --silent --show-error --retry 30 --retry-connrefused --retry-delay 1 \
    http://127.0.0.1:3000/api/dashboards/uid/stream-pageviews | python3 -m json.tool >/dev/null ||
    fail "Grafana does not have the dashboard"
ok "Grafana has the dashboard"

# When the stream is stopped, it reports what it delivered; its exit code shows whether messages were lost.
sleep 15
container=$(docker compose ps --all --quiet stream-pageviews)
[ "$(docker inspect --format '{{.State.Running}}' "$container")" = true ] || fail "stream-pageviews does not run"
docker compose stop --timeout 15 stream-pageviews
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || fail "stream-pageviews: exit code $code after SIGTERM"
ok "stream-pageviews delivered and ended with 0"

echo "$passed passed, 0 failed"
