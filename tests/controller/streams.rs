//! WebSockets, and answers that last longer than gateways wait by themselves: 15 s with Contour.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{
    Cases, World,
    life::{PROBE, manifest_for},
};

/// Lines of the stream; one is sent each second.
const LINES: usize = 17;

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("streams::httproute_on_traefik", |world| async move {
        let address = world.cluster.env("NODE_ADDRESS").to_owned();
        last(&world, "stream-t", "", "localhost", &address).await;
    });
    cases.add("streams::httproute_on_contour", |world| async move {
        let address = world.cluster.env("SECOND_ADDRESS").to_owned();
        last(&world, "stream-c", "controller: contour", "contour.localhost", &address).await;
    });
    cases.add("streams::ingress_on_traefik", |world| async move {
        let address = world.cluster.env("NODE_ADDRESS").to_owned();
        last(&world, "stream-i", "controller: ingress", "ingress.localhost", &address).await;
    });
}

/// A WebSocket stays open while a stream arrives whole.
async fn last(world: &World, prefix: &str, labels: &str, domain: &str, address: &str) {
    let cluster = &world.cluster;
    let name = cluster.name(prefix);
    let manifest = manifest_for(&name, labels, "lifetime: 30m", PROBE);
    cluster.apply(&manifest).await.expect("it is accepted");
    cluster.available(&name).await;
    let host = format!("{name}.{domain}");

    let connection = TcpStream::connect((address, 80)).await.expect("the gateway listens");
    let (mut socket, _) =
        client_async(format!("ws://{host}/ws"), connection).await.expect("a WebSocket is opened");
    echoes(&mut socket, "before the stream").await;

    let url = format!("http://{host}/stream?interval=1s&lines={LINES}");
    let ask = format!("command curl -sS -m 100 --connect-to ::{address}: -w '%{{http_code}}' '{url}'");
    let output = cluster.shell(&ask).await;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let whole = (1..=LINES).fold(String::new(), |text, line| text + &format!("line {line}\n")) + "200";
    assert_eq!(said, whole, "the stream arrives whole: {error}");

    echoes(&mut socket, "after the stream").await;
    cluster.delete(&name).await;
}

/// A message comes back as it was sent.
async fn echoes(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.expect("it is sent");
    let answer = tokio::time::timeout(crate::cluster::LIMIT, socket.next()).await.expect("an answer");
    let answer = answer.expect("the WebSocket is open").expect("a message");
    assert_eq!(answer, Message::text(text));
}
