# shellcheck shell=bash disable=SC2034
# What the demo's scripts share; sourced by them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root" || exit
# Everything that a demo leaves: the controller's pid and log, the logs of the steps.
state=$root/.demo
log=$state/controller.log
program=${CARGO_TARGET_DIR:-target}/debug/run
cluster=tests/cluster/cluster
: "${EPHEMERON_CLUSTER_DIR:=/var/lib/ephemeron-cluster}"
export EPHEMERON_CLUSTER_DIR
# Where Go's own installer and rustup put things: sudo forgets the PATH.
PATH=$PATH:/usr/local/go/bin:$HOME/.cargo/bin:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

heading() { printf '\n== %s\n' "$*"; }

fail() {
	printf '\n%s\n' "$1" >&2
	shift
	if (($#)); then printf '  -> %s\n' "$@" >&2; fi
	exit 1
}

# show_log FILE: its name and last lines.
show_log() {
	say "the log ${1#"$root"/} ends:" >&2
	tail -n 15 "$1" | sed 's/^/  | /' >&2
}

# step NAME COMMAND...: runs a command with its output in .demo/NAME.log.
step() {
	local name=$1 began=$SECONDS
	shift
	printf '%s (log: .demo/%s.log) ... ' "$name" "${name// /-}"
	if ! "$@" >"$state/${name// /-}.log" 2>&1 </dev/null; then
		say "failed"
		show_log "$state/${name// /-}.log"
		exit 1
	fi
	say "done in $((SECONDS - began)) s"
}

# The controller of the demo, if it runs. A pid alone may be another process's by now.
controller_pid() {
	local pid
	pid=$(cat "$state/controller.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
	[[ $(ps -p "$pid" -o args= 2>/dev/null) == "$program"* ]] && echo "$pid"
}

stop_controller() {
	local pid i
	if pid=$(controller_pid); then
		kill -TERM "$pid"
		# It finishes what is under way. It is no child of this shell: there is nothing to wait on.
		for ((i = 0; i < 200; i++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$pid" 2>/dev/null || true
		say "stopped the controller (pid $pid)"
	fi
	rm -f "$state/controller.pid"
}

# start_controller: with the environment as it is; its log starts anew, and says on which port of
# its own it answers: one that is free, since a demo must not fail for the sake of a port.
start_controller() {
	stop_controller
	# In a process group of its own: Ctrl-C here is not meant for it.
	set -m
	EPHEMERON_LISTEN=${EPHEMERON_LISTEN:-127.0.0.1:0} nohup "$program" >"$log" 2>&1 </dev/null &
	set +m
	echo $! >"$state/controller.pid"
	say "started the controller (pid $!, log: .demo/controller.log)"
}

apply_definition() {
	step "apply the definition" kubectl apply -f k8s/ephemerons.yaml
	step "await the definition" kubectl wait --for=condition=Established --timeout=60s crd/ephemerons.qualified.io
}

apply_example() {
	EXPIRES=$(date -d '+1 days' -Iseconds --utc 2>/dev/null || date -u -v+1d +%Y-%m-%dT%H:%M:%S+00:00)
	export EXPIRES
	# shellcheck disable=SC2016  # envsubst is told which variable it shall replace
	envsubst '$EXPIRES' <k8s/example.yaml | kubectl apply -f -
}

# await_example CHECK...: waits until it is available; else tells all that is known, with CHECK's word.
await_example() {
	say "waiting until it is available (kubectl wait --for=condition=Available ephemeron/example)"
	if kubectl wait --for=condition=Available --timeout=120s ephemeron/example; then return; fi
	say
	kubectl get ephemeron example -o wide >&2 || true
	"$@" >&2 || true
	fail "the example did not become available" "the REASON and MESSAGE above say why"
}

# page URL [CURL-OPTION...]: the headline of the page. Routes may need a moment to get everywhere.
page() {
	curl -fsS --retry 5 --retry-all-errors --retry-delay 1 --max-time 10 "${@:2}" "$1" | grep -o '<h1>.*</h1>'
}
