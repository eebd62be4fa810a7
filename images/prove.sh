#!/usr/bin/env bash
# Proves that images/Dockerfile builds and that its four images run, on a machine that cannot reach a
# container registry and has no container engine: Debian's buildah (with chroot isolation) builds
# them on local stand-ins for the two base images, under the real names:
#
#   docker.io/library/rust:1.95-slim-bookworm   a Debian 12 by debootstrap with gcc, and this
#                                               machine's Rust toolchain
#   gcr.io/distroless/cc-debian13:nonroot       libc6, libgcc-s1, ca-certificates, base-files and
#                                               tzdata of Debian 12, unpacked into an empty root: less
#                                               than the real one has (no libssl, no libstdc++) and an
#                                               older C library, so that an image that runs on it runs
#                                               on the real one
#
# Then each image is started like a container: with the image's entrypoint, user and environment, a
# read-only root file system, no capabilities, and one writable directory. Each image prints its
# `--help` and writes real data to a mounted directory.
#
# Run as root on Debian 12, with STORAGE_DRIVER=vfs where overlay mounts are not allowed. It takes as
# long as a whole build with fat LTO, so `.ci/run` leaves it out. The storage is kept in $PROVE_DIR
# (default: a temporary directory, removed at the end).
set -euo pipefail
cd "$(dirname "$0")/.."

generators=(gen-users gen-products gen-orders stream-pageviews)
# The maximum size of an unpacked image.
max_image_mb=45

if [ -n "${PROVE_DIR:-}" ]; then
    work=$PROVE_DIR
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
passed=0

say() { printf '\n== %s\n' "$*"; }
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
ok() {
    passed=$((passed + 1))
    echo "ok: $*"
}

export BUILDAH_ISOLATION=chroot
b() { buildah --root "$work/storage" --runroot "$work/run" ${STORAGE_DRIVER:+--storage-driver "$STORAGE_DRIVER"} "$@"; }

say "Tools"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    binutils buildah debootstrap >/dev/null
buildah --version

# --- stand-in for the build image ---------------------------------------------------------------
rust_image=docker.io/library/rust:1.95-slim-bookworm
if ! b inspect --type image "$rust_image" >/dev/null 2>&1; then
    say "Stand-in for $rust_image"
    root=$work/rust-root
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$root" \
        >"$work/debootstrap.log" 2>&1 || {
        tail "$work/debootstrap.log" >&2
        fail "debootstrap"
    }
    # Use the package sources and certificate authorities of this machine.
    cp -a /etc/apt/sources.list.d/*.sources "$root/etc/apt/sources.list.d/" 2>/dev/null || true
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    # Install the toolchain in the same place as in the official image.
    sysroot=$(rustc --print sysroot)
    mkdir -p "$root/usr/local/cargo/bin"
    cp -a "$sysroot/." "$root/usr/local/rust/"
    rm -rf "$root/usr/local/rust/share"
    ctr=$(b from scratch)
    b copy --quiet "$ctr" "$root" /
    b config --env PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env CARGO_HOME=/usr/local/cargo "$ctr"
    b commit --quiet --rm "$ctr" "$rust_image" >/dev/null
    rm -rf "$root"
fi

# --- stand-in for the run-time image ------------------------------------------------------------
base_image=gcr.io/distroless/cc-debian13:nonroot
if ! b inspect --type image "$base_image" >/dev/null 2>&1; then
    say "Stand-in for $base_image"
    root=$work/base-root debs=$work/debs
    rm -rf "$root" "$debs"
    mkdir -p "$root" "$debs"
    (cd "$debs" && chmod 777 . && apt-get download -qq libc6 libgcc-s1 ca-certificates base-files tzdata)
    for deb in "$debs"/*.deb; do dpkg-deb --extract "$deb" "$root"; done
    rm -rf "$root"/usr/share/{doc,man,locale,lintian}
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    echo 'root:x:0:0:root:/root:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$root/etc/passwd"
    echo 'root:x:0:
nonroot:x:65532:' >"$root/etc/group"
    install -d -o 65532 -g 65532 "$root/home/nonroot"
    ctr=$(b from scratch)
    b copy --quiet "$ctr" "$root" /
    b config --user 65532 --workingdir /home/nonroot \
        --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$ctr"
    b commit --quiet --rm "$ctr" "$base_image" >/dev/null
    rm -rf "$root" "$debs"
fi

# --- the images ---------------------------------------------------------------------------------
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
revision=$(git rev-parse HEAD)
for generator in "${generators[@]}"; do
    say "Image $generator"
    # --layers: the stages that compile are shared, so that only the build of the first image compiles.
    b build --layers --pull-never --file images/Dockerfile --target "$generator" \
        --build-arg VERSION="$version" --build-arg REVISION="$revision" \
        --tag "ghcr.io/tkubica12/$generator:latest" . >"$work/build-$generator.log" 2>&1 || {
        tail -50 "$work/build-$generator.log" >&2
        fail "the build of $generator"
    }
    grep -E "^target/dist/" "$work/build-$generator.log" || true
done

# inspect IMAGE FORMAT: prints one field of the image's configuration.
inspect() { b inspect --type image --format "$2" "ghcr.io/tkubica12/$1:latest"; }

# start GENERATOR OUTPUT_DIR NAME=VALUE...: starts a generator as a container engine would; the directory
# is mounted at /data. `unshare` creates separate mounts and processes; `setpriv` leaves only the
# capabilities that `chroot --userspec` needs, which drops them together with root's identity, and
# prevents the process from regaining any.
start() {
    local generator=$1 data=$2
    shift 2
    local ctr mnt entrypoint
    ctr=$(b from --pull-never "ghcr.io/tkubica12/$generator:latest")
    mnt=$(b mount "$ctr")
    entrypoint=$(inspect "$generator" '{{index .OCIv1.Config.Entrypoint 0}}')
    mkdir -p "$data" "$mnt/data"
    chown 65532:65532 "$data"
    # shellcheck disable=SC2016  # for the inner shell
    unshare --mount --pid --fork --kill-child sh -euc '
        mnt=$1 data=$2 entrypoint=$3
        shift 3
        mount --bind "$mnt" "$mnt"
        mount --bind "$data" "$mnt/data"
        mount -t proc proc "$mnt/proc"
        mount -o remount,bind,ro "$mnt"
        # `--help` is an argument, everything else is an environment variable.
        argument=
        if [ "${1:-}" = --help ]; then argument=--help; shift; fi
        exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$@" \
            setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid \
            chroot --userspec=65532:65532 --groups=65532 "$mnt" "$entrypoint" $argument
    ' sh "$mnt" "$data" "$entrypoint" "$@"
    local status=$?
    b umount "$ctr" >/dev/null
    b rm "$ctr" >/dev/null
    return $status
}

say "What the images are"
for generator in "${generators[@]}"; do
    [ "$(inspect "$generator" '{{.OCIv1.Config.User}}')" = 65532:65532 ] || fail "$generator: user"
    [ "$(inspect "$generator" '{{.OCIv1.Config.Entrypoint}}')" = "[/$generator]" ] || fail "$generator: entrypoint"
    [ "$(inspect "$generator" '{{.OCIv1.Config.StopSignal}}')" = SIGTERM ] || fail "$generator: stop signal"
    for label in source version revision licenses title; do
        [ -n "$(inspect "$generator" "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$label\"}}")" ] ||
            fail "$generator: no label $label"
    done
    ctr=$(b from --pull-never "ghcr.io/tkubica12/$generator:latest")
    mnt=$(b mount "$ctr")
    sh images/check-binary.sh "$mnt/$generator" || fail "$generator: its binary"
    base=$(b from --pull-never "$base_image")
    base_mnt=$(b mount "$base")
    # diff exits with 1 when it finds differences, as expected here.
    added=$({ diff -rq --no-dereference "$base_mnt" "$mnt" || true; } | sed 's/^Only in .*: //' | tr '\n' ' ')
    [ "$added" = "$generator " ] || fail "$generator: the image holds more than its binary: $added"
    mb=$(($(du -sb "$mnt" | cut -f1) / 1000000))
    [ "$mb" -le "$max_image_mb" ] || fail "$generator: $mb MB, more than $max_image_mb MB"
    b rm "$ctr" "$base" >/dev/null
    ok "$generator: entrypoint, user, stop signal, labels, only its binary added, $mb MB"
done

say "--help of each"
for generator in "${generators[@]}"; do
    start "$generator" "$work/data" --help >"$work/help-$generator" || fail "$generator --help"
    grep -q SEED "$work/help-$generator" || fail "$generator --help does not name SEED"
    ok "$generator --help: $(wc -l <"$work/help-$generator") lines"
done

say "A real run of each"
data=$work/data
rm -rf "$data"
start gen-users "$data" LAKE_URL=file:///data/lake COUNT=20000 VIP_COUNT=500 || fail "gen-users"
[ "$(wc -l <"$data/lake/users/users.json")" = 20000 ] || fail "gen-users: not 20000 users"
[ "$(wc -l <"$data/lake/vipusers/vipusers.json")" = 500 ] || fail "gen-users: not 500 VIP users"
ok "gen-users wrote 20000 users and 500 VIP users"

start gen-products "$data" LAKE_URL=file:///data/lake COUNT=1000 || fail "gen-products"
[ "$(find "$data/lake/products" -name 'product_*.json' | wc -l)" = 1000 ] || fail "gen-products: not 1000 files"
ok "gen-products wrote 1000 files"

start gen-orders "$data" SQL_URL=sqlite:///data/orders.db COUNT=5000 USER_MAX_ID=19999 PRODUCT_MAX_ID=999 ||
    fail "gen-orders"
orders=$(python3 -c "
import sqlite3
db = sqlite3.connect('$data/orders.db')
print(db.execute('select count(*) from orders').fetchone()[0],
      db.execute('select count(*) from orders o where not exists (select 1 from items i where i.orderId = o.orderId)').fetchone()[0])")
[ "$orders" = "5000 0" ] || fail "gen-orders: orders, orders without items: $orders"
ok "gen-orders wrote 5000 orders, none without items"

start stream-pageviews "$data" STREAM_URL=file:///data/stream SESSIONS=500 SESSION_PAUSE_MEAN=0 \
    SESSION_PAUSE_STDDEV=0 USER_MAX_ID=19999 PRODUCT_MAX_ID=999 || fail "stream-pageviews"
[ "$(wc -l <"$data/stream/pageviews.jsonl")" -ge 500 ] || fail "stream-pageviews: too few pageviews"
ok "stream-pageviews wrote $(wc -l <"$data/stream/pageviews.jsonl") pageviews of 500 sessions"

say "Stopped and misconfigured"
start stream-pageviews "$data" STREAM_URL=file:///data/forever &
sleep 3
# The stream is the newest process of that name; it receives SIGTERM, as from a container engine.
pid=$(pgrep --newest --exact --full /stream-pageviews) || fail "stream-pageviews did not start"
confined=$(awk '/^(Uid|Gid|CapEff|CapBnd|NoNewPrivs):/ { printf "%s ", $1 $2 }' "/proc/$pid/status")
case $confined in
    "Uid:65532 Gid:65532 CapEff:0000000000000000 "*"NoNewPrivs:1 ") ok "stream-pageviews runs with $confined" ;;
    *) fail "stream-pageviews runs with $confined" ;;
esac
kill -TERM "$pid"
wait $! || fail "stream-pageviews: exit code $? after SIGTERM"
ok "stream-pageviews ended with 0 after SIGTERM"
status=0
start gen-users "$data" COUNT=1 2>"$work/no-destination" || status=$?
[ "$status" = 2 ] || fail "gen-users without a destination: exit code $status instead of 2"
ok "gen-users without a destination: $(head -1 "$work/no-destination")"
status=0
start gen-users "$data" LAKE_URL=file:///etc COUNT=1 2>"$work/read-only" || status=$?
[ "$status" != 0 ] || fail "gen-users wrote to a read-only root file system"
ok "gen-users outside of the mounted directory: exit code $status, $(head -1 "$work/read-only")"

say "Done"
echo "$passed passed, 0 failed"
