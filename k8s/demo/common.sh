# shellcheck shell=bash disable=SC2034
# What the demo's scripts share; sourced by them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root" || exit
# Everything that a demo leaves in the checkout: its installation, the logs of the steps.
state=$root/.demo
log=$state/controller.log
program=${CARGO_TARGET_DIR:-target}/debug/run
cluster=tests/cluster/cluster
: "${EPHEMERON_CLUSTER_DIR:=/var/lib/ephemeron-cluster}"
export EPHEMERON_CLUSTER_DIR
# Which controller runs beside that cluster: it is shared by all checkouts that name the same folder.
record=$EPHEMERON_CLUSTER_DIR/demo
# Which checkout's demo is installed in it. It goes with the cluster.
installed=$EPHEMERON_CLUSTER_DIR/run/demo
system=ephemeron-system
# Where Go's own installer and rustup put things: sudo forgets the PATH.
PATH=$PATH:/usr/local/go/bin:$HOME/.cargo/bin:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

# shipped: the folder with the programs as compile_programs makes them.
shipped() { realpath -m "${CARGO_TARGET_DIR:-$root/target}/$(rustc -vV | sed -n 's/^host: //p')/image"; }

# compile_programs: both programs as they are shipped, each of them one static file.
compile_programs() {
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --workspace --profile image --bin run --bin api \
		--target "$(rustc -vV | sed -n 's/^host: //p')"
}

heading() { printf '\n== %s\n' "$*"; }

fail() {
	printf '\nerror: %s\n' "$1" >&2
	shift
	if (($#)); then printf '  -> %s\n' "$@" >&2; fi
	exit 1
}

# show_log FILE: its name and last lines.
show_log() {
	say "the log ${1#"$root"/} ends:" >&2
	tail -n 15 "$1" | sed 's/^/  | /' >&2
}

# step NAME COMMAND...: runs a command with its output in .demo/NAME.log, and ends the script if it fails.
step() { step_or "$@" || exit 1; }

# step_or NAME COMMAND...: the same, but the script goes on.
step_or() {
	local name=$1 began=$SECONDS
	local file=$state/${name//[^a-zA-Z0-9]/-}.log
	shift
	printf '%s (log: %s) ... ' "$name" "${file#"$root"/}"
	if ! "$@" >"$file" 2>&1 </dev/null; then
		say "failed"
		show_log "$file"
		return 1
	fi
	say "done in $((SECONDS - began)) s"
}

# again COMMAND...: runs it, and again if it fails: what it fetches may not have come.
again() {
	local pause
	for pause in 2 10 30; do
		if "$@"; then return; fi
		sleep "$pause"
	done
	"$@"
}

# environment FOLDER REQUIREMENTS: a virtual environment of Python with what these ask for; made anew when they change.
environment() {
	# Joined by hand: within `step`, a command that fails does not end the script.
	if ! cmp -s "$2" "$1/requirements.txt"; then
		rm -rf "$1" && python3 -m venv "$1" &&
			again "$1/bin/pip" -q --disable-pip-version-check install --require-hashes --requirement "$2" &&
			cp "$2" "$1/requirements.txt"
	fi
}

# apt_install PACKAGE...
apt_install() { step "install $*" "$root/tests/cluster/apt-get" install --no-install-recommends "$@"; }

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

# The checkout whose demo is installed in the cluster, if one is.
demo_checkout() { [[ -r $installed ]] && cat "$installed"; }

# refuse_controller COMMAND [CHECKOUT]: two on one cluster would work on the same objects. One of CHECKOUT is let be.
refuse_controller() {
	local pid other own=${2:-}
	local ways=("first: make demo-down, here or there, or let what it is there for end"
		"or take another cluster: EPHEMERON_CLUSTER_DIR=FOLDER $1")
	if pid=$(controller_pid) && [[ -z $own || $(controller_checkout) != "$own" ]]; then
		fail "a controller of the checkout $(controller_checkout) runs on the cluster in $EPHEMERON_CLUSTER_DIR (pid $pid)" \
			"${ways[@]}"
	fi
	if other=$(demo_checkout) && [[ -z $own || $other != "$own" ]]; then
		fail "a demo of the checkout $other runs on the cluster in $EPHEMERON_CLUSTER_DIR" "${ways[@]}"
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

# load_images: hands the node what k8s/images/build has made, unless it has it already.
load_images() {
	local there name images missing=()
	images=$(realpath -m "${CARGO_TARGET_DIR:-target}")/images
	there=$("$cluster" exec ctr --namespace k8s.io images list --quiet)
	for name in controller api; do
		grep -qxF "$(cat "$images/$name.ref")" <<<"$there" || missing+=("$images/$name.tar")
	done
	((${#missing[@]} == 0)) || step "load images" "$cluster" load-image "${missing[@]}"
}

# write_installation FOLDER ROUTE CONTROLLER API KEY=VALUE...: an installation of its own in a folder two levels below
# the checkout, with this folder of k8s/routes, these images, and these settings in place of those of k8s/settings.
write_installation() {
	local folder=$1 name setting route=$2
	local -A refs=([controller]=$3 [api]=$4)
	shift 4
	rm -rf "$folder"
	mkdir -p "$folder"
	cp -r k8s/settings "$folder/settings"
	for setting in "$@"; do
		sed -i.before "/^${setting%%=*}=/d" "$folder/settings/settings.env"
		printf '%s\n' "$setting" >>"$folder/settings/settings.env"
	done
	rm -f "$folder/settings/settings.env.before"
	{
		printf '%s\n' "# The demo's installation: k8s/kustomization.yaml, with settings and images of its own." \
			'apiVersion: kustomize.config.k8s.io/v1beta1' 'kind: Kustomization' \
			'resources: [settings, ../../k8s/install]' \
			"components: [../../k8s/routes/$route, ../../k8s/isolation]" 'images:'
		for name in controller api; do
			printf '  - {name: ephemeron-%s, newName: %s, newTag: "%s"}\n' "$name" \
				"${refs[$name]%:*}" "${refs[$name]##*:}"
		done
	} >"$folder/kustomization.yaml"
}

# apply_installation: what `write_installation` has written, until all of it is ready.
apply_installation() {
	say "\$ kubectl apply -k ${state#"$root"/}/install"
	step "install" kubectl apply -k "$state/install"
	local name
	for name in controller api; do
		if ! step_or "await the $name" kubectl -n "$system" rollout status "deployment/ephemeron-$name" --timeout=300s; then
			kubectl -n "$system" get pods >&2 || true
			kubectl -n "$system" logs "deployment/ephemeron-$name" --all-containers --tail 15 >&2 || true
			fail "the $name did not become ready, see above"
		fi
	done
}

# api_key: the key of the installation's first app.
api_key() {
	kubectl -n "$system" get secret ephemeron-api-keys -o go-template='{{.data.example | base64decode}}'
}

# rest_call URL [CURL-OPTION...]: asks the REST API for a service, as a backend does for its user; prints its answer.
rest_call() {
	local url=$1 token
	shift
	token=$(curl -fsS --retry 5 --retry-all-errors --retry-delay 1 --max-time 10 "$@" "$url/auth" \
		-H 'Content-Type: application/json' --data @- <<<"{\"app\":\"example\",\"key\":\"$(api_key)\",\"uid\":\"demo\"}" |
		sed 's/.*"token":"\([^"]*\)".*/\1/')
	curl -fsS --max-time 30 "$@" "$url/" -H 'Content-Type: application/json' -H "Authorization: Bearer $token" \
		-d '{"preset":"nginx","lifetimeMinutes":30}'
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
