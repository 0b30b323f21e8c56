//! The whole life of a service, with the client of progenitor.

use std::env;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, HOST, HeaderMap},
};
use serde_json::json;
use uuid::Uuid;

// Client, and the module `types`. The path is from Cargo.toml.
progenitor::generate_api!("openapi.json");

use types::{AppLogin, Kind, Login, NewEnd, NewService, Phase, Service};

fn need(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

/// A token lives for five minutes: a backend gets one for each user, when that user needs something.
fn with_token(token: &str) -> Result<Client> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse()?)]);
    let http = reqwest::Client::builder().default_headers(headers).build()?;
    Ok(Client::new_with_client(&need("API_URL")?, http))
}

/// A service's page. Names below `localhost` have no DNS: elsewhere this is `reqwest::get(service.url)`.
async fn open(service: &Service) -> Result<String> {
    let host = service.host.as_deref().context("it has a host")?;
    let request = reqwest::Client::new().get(need("GATEWAY")?).header(HOST, host);
    Ok(request.send().await?.error_for_status()?.text().await?)
}

/// The request was refused: with which status, and what the API says.
fn refused<T>(answer: Result<T, Error<types::Error>>) -> Result<(StatusCode, types::Error)> {
    match answer {
        Err(Error::ErrorResponse(answer)) => Ok((answer.status(), answer.into_inner())),
        Err(other) => Err(other.into()),
        Ok(_) => anyhow::bail!("it was not refused"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (app, key, preset) = (need("APP")?, need("KEY")?, need("PRESET")?);
    let uid = format!("rust-{}", Uuid::new_v4());

    // Who calls: a backend, for one of its users.
    let anonymous = Client::new(&need("API_URL")?);
    let login = Login { app: app.parse()?, key: key.parse()?, uid: uid.clone(), gid: None };
    let api = with_token(&anonymous.login(&login).await?.token)?;

    // What there is.
    let presets = api.list_presets().await?.into_inner().presets;
    ensure!(presets.iter().any(|one| one.name == preset), "there is no preset {preset}");

    // Create. Sent again with the same key, it is the same service.
    let wanted = NewService {
        preset,
        lifetime_minutes: Some(10.try_into()?),
        expiration_time: None,
        parameters: None,
    };
    let once = Uuid::new_v4().to_string();
    let created = api.create_service(Some(&once), &wanted).await?.into_inner();
    ensure!(api.create_service(Some(&once), &wanted).await?.id == created.id, "it was created twice");
    let id = &created.id;

    // What the preset does not take is told by name.
    let parameters = json!({"colour": "red"}).as_object().cloned();
    let wrong = NewService { parameters, ..wanted.clone() };
    let (status, why) = refused(api.create_service(None, &wrong).await)?;
    ensure!(status == StatusCode::UNPROCESSABLE_ENTITY && why.faults[0].pointer == "/colour", "{why:?}");

    // Wait until it is available, and open it.
    let available = api.read_service(id, Some(120)).await?.into_inner();
    ensure!(available.phase == Phase::Available, "{:?}", available.message);
    ensure!(open(&available).await?.contains("Welcome to nginx!"), "it is not nginx that answers");

    // It lives longer.
    let longer = NewEnd { lifetime_minutes: Some(60.try_into()?), expiration_time: None };
    let end: DateTime<Utc> = api.extend_service(id, &longer).await?.expiration_time;
    ensure!(end > created.expiration_time, "it does not live longer");
    let services = api.list_services(None, None, None, None, None, None).await?.into_inner().services;
    ensure!(
        services.len() == 1 && services[0].id == *id && services[0].expiration_time == end,
        "{services:?}"
    );

    // Follow it to its end. The stream begins with the service as it is.
    let mut stream = api.follow_service(id).await?.into_inner().into_inner().eventsource();
    let mut kinds = Vec::new();
    while let Some(message) = stream.next().await {
        let event: types::Event = serde_json::from_str(&message?.data)?;
        if kinds.is_empty() {
            ensure!(event.service.is_some_and(|service| service.id == *id), "it is of another service");
            api.delete_service(id).await?;
        }
        kinds.push(event.kind);
    }
    ensure!(kinds.first() == Some(&Kind::Service) && kinds.last() == Some(&Kind::Gone), "{kinds:?}");

    // Nothing is left of it.
    let (status, why) = refused(api.read_service(id, None).await)?;
    ensure!(status == StatusCode::NOT_FOUND && why.message.contains(id), "{why:?}");

    // The backend itself sees the services of all its users, and can delete many at once.
    let second = api.create_service(None, &wanted).await?.into_inner();
    let login = AppLogin { app: app.parse()?, key: key.parse()? };
    let backend = with_token(&anonymous.login_app(&login).await?.token)?;
    let of_user = async || {
        let page = backend.list_services(None, None, None, None, None, Some(&uid)).await?;
        anyhow::Ok(page.into_inner().services)
    };
    let services = of_user().await?;
    ensure!(services.len() == 1 && services[0].id == second.id, "{services:?}");
    ensure!(services[0].user == Some(format!("{uid}.{app}")), "{services:?}");
    let outcome = backend.delete_services(None, None, None, Some(&uid)).await?.into_inner();
    ensure!((outcome.matched, outcome.done, outcome.failed) == (1, 1, 0), "{outcome:?}");
    ensure!(of_user().await?.is_empty(), "something is left");

    println!("rust: {id} has lived, from its creation to its end");
    Ok(())
}
