//! docs/backends.md, command by command.

use std::net::TcpListener;

use crate::{Cases, cluster::LIMIT};

const TUTORIAL: &str = include_str!("../../docs/backends.md");

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::the_tutorial_command_by_command", |world| async move {
        let blocks: Vec<&str> = TUTORIAL
            .split("\n```sh\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block))
            .collect();
        assert!(blocks.len() >= 9, "the blocks are found");
        // Another one may run on this machine.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let gateway = world.cluster.env("NODE_ADDRESS");
        // The program is built already, and the services' hosts are the test cluster's.
        let script = format!(
            r#"
            cd "$(mktemp -d)"
            cargo() {{ [ "$*" = "run --bin api" ] && exec setpriv --pdeathsig KILL env EPHEMERON_API_LISTEN=127.0.0.1:{port} EPHEMERON_LISTEN=off EPHEMERON_API_DRAIN=0s '{api}'; }}
            curl() {{
                case "$*" in
                *localhost:{port}*) command curl "$@" ;;
                *) command curl --connect-to "::{gateway}:" "$@" ;;
                esac
            }}
            trap 'kill %1; wait' EXIT
            set -x
            {commands}
            "#,
            api = env!("CARGO_BIN_EXE_api"),
            commands = blocks.join("\n").replace("localhost:3030", &format!("localhost:{port}")),
        );
        let ran = tokio::time::timeout(4 * LIMIT, world.cluster.shell(&script)).await;
        let output = ran.expect("its commands come to an end");
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{error}");
    });
}
