//! Asks a public URL through the gateway, again and again, until it answers.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, MissedTickBehavior},
};

use crate::cluster::LIMIT;

/// From one request to the next, unless an answer takes longer.
const PERIOD: Duration = Duration::from_millis(5);

/// Returns with the first 200 for `http://{host}/`, asked for at port 80 of `address`. One
/// connection is used as long as it lasts.
pub async fn first_200(address: &str, host: &str) {
    let asking = async {
        let mut ticks = time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            ticks.tick().await;
            match ask(&mut connection, address, host).await {
                Some(StatusCode::OK) => return,
                Some(_) => {}
                None => connection = None,
            }
        }
    };
    time::timeout(LIMIT, asking).await.unwrap_or_else(|_| panic!("http://{host}/ never answered"));
}

type Connection = SendRequest<Empty<Bytes>>;

/// The status of the answer; None without one, and without a connection that can be used again.
async fn ask(connection: &mut Option<Connection>, address: &str, host: &str) -> Option<StatusCode> {
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(address).await?),
    };
    sender.ready().await.ok()?;
    let request = Request::get("/").header("host", host).body(Empty::new()).expect("a request");
    let mut answer = sender.send_request(request).await.ok()?;
    while let Some(frame) = answer.body_mut().frame().await {
        frame.ok()?;
    }
    Some(answer.status())
}

async fn connect(address: &str) -> Option<Connection> {
    let stream = TcpStream::connect((address, 80)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with the sender.
    tokio::spawn(driver);
    Some(sender)
}
