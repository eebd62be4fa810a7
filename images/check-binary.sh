#!/bin/sh
# Checks what the images rely on: each given binary needs only the shared libraries of glibc and libgcc
# (the only ones that distroless `cc` is expected to have), and is at most 20 MB large, unless MAX_MB
# is set. Needs readelf (binutils). Exits with 1 after printing one line for each problem.
set -eu

max_mb=${MAX_MB:-20}
bad=0
for binary in "$@"; do
    needed=$(readelf --dynamic --wide "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    if [ -z "$needed" ]; then
        echo "$binary: needs no shared library at all: not the glibc binary that was expected" >&2
        bad=1
    fi
    for library in $needed; do
        case $library in
            libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libgcc_s.so.1) ;;
            ld-linux-x86-64.so.2 | ld-linux-aarch64.so.1) ;;
            *)
                echo "$binary: needs $library, which is neither of glibc nor of libgcc" >&2
                bad=1
                ;;
        esac
    done
    size=$(wc -c <"$binary")
    if [ "$size" -gt $((max_mb * 1000000)) ]; then
        echo "$binary: $size bytes, more than $max_mb MB" >&2
        bad=1
    fi
    echo "$binary: $size bytes, needs $(echo "$needed" | tr '\n' ' ')"
done
exit $bad
