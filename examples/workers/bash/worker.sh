#!/usr/bin/env bash
# A Safelight worker in bash (4.3 or newer), curl and jq: takes tasks, runs
# guetzli on their pictures, gives the results back. README.md tells the protocol.
set -u
set -m # every background job is a process group of its own, and can be killed with its children
umask 077

server=${SAFELIGHT_SERVER:-http://127.0.0.1:8080}
guetzli=${GUETZLI:-guetzli}
lease=${LEASE:-30}
lease=${lease%s} # seconds
left=${MAX_TASKS:--1}
beat=$((lease * 1000 / 3)) # two beats may be lost before the lease is
beat=$(printf '%d.%03d' $((beat / 1000)) $((beat % 1000)))
claim=$(jq -nc --arg functions "${FUNCTIONS:-guetzli}" --arg lease "${lease}s" --arg worker "${WORKER:-bash-$$}" \
	'{functions: ($functions | split(",")), max: 1, wait: "20s", lease: $lease, worker: $worker}')

dir=$(mktemp -d) || exit 1
trap '[ "$BASHPID" != $$ ] || rm -rf "$dir"' EXIT # a job that is killed as it begins may still have this trap
: >"$dir/curl" # curl reads the key here: arguments can be seen by everybody on the machine
[ -z "${SAFELIGHT_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$SAFELIGHT_KEY" >"$dir/curl"

# bash runs a trap only between commands, and `wait` is the one command that a
# signal interrupts. So whatever takes long runs in the background.
stopping=0 busy=
trap 'stopping=1; [ -z "$busy" ] || kill -- "-$busy" 2>/dev/null' TERM INT

# Jobs ignore SIGINT: the worker ends them itself, and bash tells of jobs that it ends.
deaf() { # COMMAND …
	trap - EXIT TERM
	trap '' INT
	exec "$@"
}

finish() { # PID: waits for its end, through signals
	while kill -0 "$1" 2>/dev/null; do wait "$1" 2>/dev/null; done
}

pause() { # SECONDS
	((stopping)) && return
	deaf sleep "$1" & busy=$!
	finish "$busy"
	busy=
}

# call TRIES CURL-ARGUMENTS …: the status is in $status (000: no answer), the
# body in $dir/answer. What may pass (no answer, 429, 5xx) is tried again.
call() {
	local tries=$1 wait=1 pid
	shift
	status=000
	while ((!stopping || uninterrupted)); do
		deaf curl -sS --config "$dir/curl" -o "$dir/answer" -w '%{http_code}' "$@" >"$dir/status" & pid=$!
		((uninterrupted)) || busy=$pid
		((stopping && !uninterrupted)) && kill "$pid" # the signal came just before
		finish "$pid"
		busy=
		status=$(<"$dir/status")
		case ${status:=000} in 000 | 429 | 5??) ;; *) return ;; esac
		((--tries <= 0 || stopping)) && return
		pause "$wait"
		wait=$((wait < 16 ? wait * 2 : 30))
	done
}
uninterrupted=0

url() { jq -r --arg name "$1" '.urls[$name]' "$dir/task"; }

post() { # TRIES URL JSON
	call "$1" --max-time 40 -H 'Content-Type: application/json' -d "$3" "$2"
}

report() { # JSON; a 409 means that the task is no longer ours, which is fine
	uninterrupted=1
	post 5 "$(url report)" "$1"
	uninterrupted=0
	echo "task $id: $(jq -r .outcome <<<"$1"), answer $status"
}

failed() { # TEXT
	report "$(jq -nc --arg error "$1" '{outcome: "failed", error: $error, final: false}')"
}

# usable tells whether work goes on after a call: not when we stop (the task is
# given back), not when the lease is lost (it is somebody else's).
usable() { # WHAT
	((stopping)) && { report '{"outcome":"later","delay":"0s"}'; return 1; }
	case $status in
	2??) return 0 ;;
	000 | 409 | 429 | 5??) echo "task $id: dropped, $1 was answered $status" ;;
	*) failed "$1 was answered $status: $(head -c 500 "$dir/answer")" ;;
	esac
	return 1
}

# Guetzli does not tell how far it is; this guess nears 99 and never reaches it.
heartbeat() {
	post 1 "$(url heartbeat)" "$(jq -nc --argjson s $((SECONDS - begun)) --arg lease "${lease}s" \
		'{progress: (99 * $s / ($s + 30) | floor), message: "guetzli, \($s) s", extend: $lease}')"
}

work() {
	local id quality pid begun=$SECONDS
	id=$(jq -r .id "$dir/task")
	quality=$(jq -r '.args.quality // 90' "$dir/task")
	call 5 --max-time 60 "$(url input)"
	usable "the input" || return
	mv "$dir/answer" "$dir/input"
	rm -f "$dir/output"
	{ trap '' INT
		"$guetzli" --quality "$quality" "$dir/input" "$dir/output" </dev/null >/dev/null 2>"$dir/stderr"
		echo $? >"$dir/exit"; } & pid=$!
	while kill -0 "$pid" 2>/dev/null && ! ((stopping)); do
		deaf sleep "$beat" & nap=$!
		wait -n "$pid" "$nap" 2>/dev/null
		disown "$nap" 2>/dev/null # or bash would tell of its end
		kill "$nap" 2>/dev/null || ((stopping)) || heartbeat
		[[ $status == 4?? && $status != 429 ]] && break # the lease is lost, or the task cancelled
	done
	if ((stopping)) || [[ $status == 4?? && $status != 429 ]]; then
		disown "$pid" 2>/dev/null
		kill -9 -- "-$pid" 2>/dev/null
		finish "$pid"
		usable "the heartbeat"
		return
	fi
	[ "$(<"$dir/exit")" = 0 ] || { failed "guetzli, status $(<"$dir/exit"): $(tail -c 2000 "$dir/stderr")"; return; }
	heartbeat # a whole lease for the upload
	call 5 --max-time 60 -T "$dir/output" -H 'Content-Type: image/jpeg' "$(url output)"
	usable "the output" || return
	report "$(jq -nc --argjson before "$(wc -c <"$dir/input")" --argjson after "$(wc -c <"$dir/output")" \
		'{outcome: "done", result: {before: $before, after: $after}}')"
}

while ((!stopping && left != 0)); do
	post 1000000 "$server/v1/worker/claim" "$claim"
	[ "$status" != 200 ] && ((stopping)) && break # a task that was on its way goes back when its lease ends
	[ "$status" = 200 ] || { echo "the claim was answered $status: $(<"$dir/answer")" >&2; exit 1; }
	jq -ce '.tasks[0] // empty' "$dir/answer" >"$dir/task" || continue
	((left--))
	work
done
exit 0
