# shellcheck shell=bash disable=SC2034
# What the demo's scripts share; sourced by them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root" || exit
# Everything that a demo leaves in the checkout: the controller's log, the logs of the steps.
state=$root/.demo
log=$state/controller.log
program=${CARGO_TARGET_DIR:-target}/debug/run
cluster=tests/cluster/cluster
: "${EPHEMERON_CLUSTER_DIR:=/var/lib/ephemeron-cluster}"
export EPHEMERON_CLUSTER_DIR
# Which controller runs on that cluster: it is shared by all checkouts that name the same folder.
record=$EPHEMERON_CLUSTER_DIR/demo
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

# started PID: when it began, in a form that is only good for comparison; fails if it has ended.
started() {
	local stat fields
	if [[ -d /proc/self ]]; then
		# The name in parentheses may hold spaces. After it: the state, and the start as the 20th field.
		stat=$(cat "/proc/$1/stat" 2>/dev/null) && read -ra fields <<<"${stat##*) }" || return 1
		[[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
	else
		stat=$(ps -p "$1" -o lstart=) && echo "${stat// /}"
	fi
}

# record_controller PID: writes down what `controller_pid` finds, from any checkout of this machine.
record_controller() {
	mkdir -p "$(dirname "$record")"
	printf '%s %s %s\n' "$1" "$(started "$1")" "$root" >"$record"
}

# The controller on the cluster, if one runs. A pid alone may be another process's by now.
controller_pid() {
	local pid start
	[[ -r $record ]] && read -r pid start _ <"$record" || return 1
	[[ $(started "$pid") == "$start" ]] && echo "$pid"
}

# The checkout that it was started from.
controller_checkout() { cut -d' ' -f3- "$record"; }

# refuse_other_controller: two on one cluster would work on the same objects.
refuse_other_controller() {
	local pid
	if pid=$(controller_pid) && [[ $(controller_checkout) != "$root" ]]; then
		fail "a demo of the checkout $(controller_checkout) runs on the cluster in $EPHEMERON_CLUSTER_DIR (pid $pid)" \
			"first: make demo-down, here or there" "or take another cluster: EPHEMERON_CLUSTER_DIR=FOLDER make ..."
	fi
}

stop_controller() {
	local pid i
	if pid=$(controller_pid); then
		kill -TERM "$pid"
		# It finishes what is under way. It is no child of this shell: there is nothing to wait on.
		for ((i = 0; i < 200; i++)); do
			controller_pid >/dev/null || break
			sleep 0.1
		done
		if controller_pid >/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi
		say "stopped the controller (pid $pid) of $(controller_checkout)"
	fi
	rm -f "$record"
}

# start_controller: with the environment as it is; its log starts anew, and says on which port of
# its own it answers: one that is free, since a demo must not fail for the sake of a port.
start_controller() {
	stop_controller
	# In a process group of its own: Ctrl-C here is not meant for it.
	set -m
	EPHEMERON_LISTEN=${EPHEMERON_LISTEN:-127.0.0.1:0} nohup "$program" >"$log" 2>&1 </dev/null &
	set +m
	record_controller $!
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
