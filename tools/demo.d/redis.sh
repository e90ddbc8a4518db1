# The part of tools/demo that shows a Redis: received while it runs, destroyed, and brought back to
# the second before somebody's mistake. Uses $work, step, blackstart, die and free_port of its caller.

redis_pids=()

# A server does not run as root.  Becomes the command, so that the shell's $! is the server.
become_redis()
{
	if [ "$(id -u)" -eq 0 ]; then
		exec setpriv --reuid=redis --regid=redis --init-groups "$@"
	fi
	exec "$@"
}

# start_redis FOLDER PORT [SETTING...]: with a password, nothing saved by itself.
start_redis()
{
	local folder=$1 port=$2
	shift 2
	mkdir -p "$folder"
	[ "$(id -u)" -ne 0 ] || chown -R redis: "$folder"
	# The password is told on a connection: a command line is there for all to read.
	become_redis redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --save '' \
	    --logfile "$folder/server.log" "$@" > /dev/null 2>&1 &
	redis_pids+=($!)
	disown
	for _ in $(seq 200); do
		! redis-cli -p "$port" PING 2> /dev/null | grep -q PONG || break
		sleep 0.05
	done
	redis-cli -p "$port" -x CONFIG SET requirepass < "$work/secret/redis" > /dev/null
}

# redis PORT WORD...: one command.
redis()
{
	local port=$1
	shift
	REDISCLI_AUTH=$(cat "$work/secret/redis") redis-cli -p "$port" "$@"
}

# Every key with a hash of its value, and whether it expires, in a fixed order.
redis_content()
{
	redis "$1" EVAL "local keys = redis.call('KEYS', '*'); table.sort(keys)
	    for i, key in ipairs(keys) do
	        keys[i] = key .. ' ' .. redis.sha1hex(redis.call('DUMP', key)) ..
	            (redis.call('PTTL', key) < 0 and '' or ' expires')
	    end
	    return keys" 0
}

demo_redis()
{
	local port again_port receiver good left conf=(-c "$work/redis.yaml")

	command -v redis-server > /dev/null || die "no Redis on this machine; 'tools/setup demo' installs it"
	(umask 077 && od -An -N 16 -tx1 /dev/urandom | tr -d ' \n' > "$work/secret/redis")
	port=$(free_port)
	step "A plant's Redis: live values, a queue of alarms, sessions that end by themselves"
	start_redis "$work/redis" "$port"
	for i in $(seq 200); do
		echo "HSET tag:$i value $((i * 7 % 100)) unit bar"
	done | redis "$port" > /dev/null
	redis "$port" RPUSH alarms 'pump 7: pressure high' 'pump 9: dry' > /dev/null
	cat > "$work/redis.yaml" << CONFIG
site: demo
timezone: Europe/Berlin
state_dir: $work/state-redis
store: { path: $work/backups-redis }
sources:
  redis: { type: redis, host: 127.0.0.1, port: $port, password_file: $work/secret/redis }
jobs:
  redis-stream: { source: redis, do: stream, continuous: true, keep: 7d }
  redis-6h:     { source: redis, do: rdb, cron: "0 */6 * * *", keep: 7d }
CONFIG
	echo "$ blackstart run redis-stream -c redis.yaml &"
	TMPDIR="$work/scratch" "$program" run redis-stream "${conf[@]}" > "$work/redis-receiver.log" 2>&1 &
	receiver=$!
	redis_pids+=("$receiver")
	for _ in $(seq 400); do
		! compgen -G "$work/backups-redis/redis/stream/*.partial" > /dev/null || break
		kill -0 "$receiver" 2> /dev/null || { cat "$work/redis-receiver.log" >&2; die "the receiver ended"; }
		sleep 0.05
	done
	blackstart run redis-6h "${conf[@]}"
	blackstart verify latest --level 3 "${conf[@]}"

	step "Work goes on; then somebody's mistake, and the server is lost as well"
	redis "$port" SET handover 'pump 7 was serviced' > /dev/null
	redis "$port" SET session:operator1 'hall 3' EX 3 > /dev/null
	redis_content "$port" > "$work/redis-before"
	sleep 0.2
	good=$(date -u '+%Y-%m-%dT%H:%M:%S.%6NZ')
	sleep 0.2
	redis "$port" FLUSHALL > /dev/null
	sleep 1.5
	kill -TERM "$receiver"
	wait "$receiver" || die "the receiver of the Redis did not end well"
	kill -KILL "${redis_pids[0]}"
	rm -rf "$work/redis"
	echo "  it was good at $good; then: FLUSHALL, and rm -rf $work/redis"
	sleep 4
	blackstart window redis "${conf[@]}"

	step "The Redis as it was at that second, the session with its time to live included"
	blackstart restore redis --at "$good" --to "$work/redis-again" "${conf[@]}"
	again_port=$(free_port)
	start_redis "$work/redis-again" "$again_port" --appendonly yes
	redis_content "$again_port" > "$work/redis-after"
	diff "$work/redis-before" "$work/redis-after" > "$work/diff" ||
	    { cat "$work/diff" >&2; die "the Redis that came back differs"; }
	left=$(redis "$again_port" TTL session:operator1)
	echo "  $(wc -l < "$work/redis-after") keys, every one as before; the session has $left s left to live"
}

end_redis()
{
	local pid
	for pid in ${redis_pids[@]+"${redis_pids[@]}"}; do
		kill -KILL "$pid" 2> /dev/null || true
	done
}
