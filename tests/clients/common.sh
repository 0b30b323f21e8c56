# shellcheck shell=bash disable=SC2034
# What the clients' scripts share; sourced by them. Each works in a folder of its own below target/, to which
# its sources are copied: what is generated is never beside what is committed.

# shellcheck source=k8s/demo/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../k8s/demo/common.sh"
here=$root/tests/clients/$(basename "$(dirname "$(realpath "$0")")")
document=$root/openapi/openapi.json
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$target/clients/$(basename "$here")
mkdir -p "$out" "$state"

# machine COMMAND:PACKAGE...: installs what is missing of it. One at a time: several of these scripts may run.
machine() {
	local need
	for need in "$@"; do
		if ! command -v "${need%%:*}" >/dev/null; then
			flock "$target/clients/machine.lock" k8s/demo/check-machine "$@"
			return
		fi
	done
}

# machine_python: virtual environments can be made; Debian has what that needs in a package of its own.
machine_python() {
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then machine ensurepip:python3-venv; fi
}

# machine_node: node and npm on the PATH, 20 or newer. Debian 12 has Node.js 18: PyPI has a newer one.
machine_node() {
	local major
	major=$(node --version 2>/dev/null | sed 's/^v//; s/\..*//') || true
	if ((${major:-0} >= 20)) && command -v npm >/dev/null; then return; fi
	machine_python
	(
		flock 9
		environment "$target/clients/node" presets/javascript/node.txt
	) 9>"$target/clients/machine.lock"
	PATH=$target/clients/node/bin:$PATH
}

# prepared COMMAND...: copies the sources and the document to $out and runs the command there, unless it was
# done with the same ones already.
prepared() {
	local now
	now=$(find "$here" "$document" tests/clients/common.sh -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
	if [[ $now == "$(cat "$out/.prepared" 2>/dev/null)" ]]; then return; fi
	rm -f "$out/.prepared"
	cp -r "$here/." "$document" "$out/"
	(cd "$out" && "$@")
	printf '%s\n' "$now" >"$out/.prepared"
}
