#!/bin/sh
# debuginfod.sh CHECKER [FILE [INQUEST DUMP]]: a real server on the loopback serves FILE (a small program by default); CHECKER,
# which prints the path that fetch_debug_file gives for a build id, must fetch it.  With INQUEST, the program must then list
# DUMP's tasks with nothing but the server to get the vmlinux FILE from.  Skips (77) where there is no server program.
set -eu
checker=$1 file=${2:-} inquest=${3:-} dump=${4:-}
command -v debuginfod >/dev/null && command -v readelf >/dev/null || exit 77

work=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/files"
if [ -z "$file" ]; then
  printf 'int main(void) { return 0; }\n' | cc -g -Wl,--build-id -x c -o "$work/files/small" - || exit 77
  file=$work/files/small
else
  ln "$file" "$work/files/" 2>/dev/null || cp "$file" "$work/files/"
fi
id=$(readelf -n "$file" | sed -n 's/.*Build ID: //p' | head -1)

port=$(( 20000 + $$ % 20000 ))
debuginfod -d "$work/index.sqlite" -p "$port" -F "$work/files" >"$work/log" 2>&1 &
server=$!
export DEBUGINFOD_CACHE_PATH="$work/cache" DEBUGINFOD_TIMEOUT=30

if DEBUGINFOD_URLS='' "$checker" "$id"; then echo "found without a server"; exit 1; fi
export DEBUGINFOD_URLS="http://127.0.0.1:$port"
if "$checker" 0123456789abcdef0123456789abcdef01234567; then echo "found what nobody has"; exit 1; fi

# The server scans in its own time, and the client remembers for a while that a server had nothing.
for attempt in $(seq 60); do
  rm -rf "$work/cache"
  if path=$("$checker" "$id" 2>/dev/null); then
    cmp "$path" "$file"
    echo "fetched $id (attempt $attempt)"
    test -n "$inquest" || exit 0
    rm -rf "$work/cache"
    "$inquest" ps "$dump" >"$work/ps"
    grep -q kthreadd "$work/ps"
    echo "listed $(wc -l <"$work/ps") tasks of $dump with the fetched vmlinux"
    exit 0
  fi
  sleep 0.5
done
cat "$work/log"
echo "not served: $id"
exit 1
