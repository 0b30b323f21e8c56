//! Tokens.

use std::sync::Arc;

use chrono::Utc;
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};

use super::Tag;
use crate::api::{
    Api,
    body::Body,
    json::Text,
    problem::{BAD, BODY, MANY, Problem, Refused, UNKNOWN},
    settings::App,
    token::{LONGEST_SUBJECT, Subject, is_uid},
};

/// The operations.
pub struct Auth;

/// Which backend asks, and for which of its users.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct Login {
    /// The backend's name.
    pub app: Text,
    /// Its key.
    pub key: Text,
    /// The user: letters and digits, and `-` and `_` inside. With a full stop and the app's name it has at
    /// most 63 characters.
    pub uid: Text,
    /// A group of users, in the same form.
    #[oai(nullable)]
    pub gid: Option<Text>,
}

impl Example for Login {
    fn example() -> Self {
        Self { app: "example".into(), key: "apikey".into(), uid: "user".into(), gid: None }
    }
}

/// Which backend asks.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct AppLogin {
    /// The backend's name.
    pub app: Text,
    /// Its key.
    pub key: Text,
}

impl Example for AppLogin {
    fn example() -> Self {
        Self { app: "example".into(), key: "apikey".into() }
    }
}

/// A token.
#[derive(Debug, Object)]
#[oai(rename = "Token", example)]
pub struct TokenBody {
    /// To be sent as `Authorization: Bearer TOKEN`; it is valid for five minutes.
    pub token: String,
}

impl Example for TokenBody {
    fn example() -> Self {
        Self { token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.signature".into() }
    }
}

#[derive(ApiResponse)]
enum Given {
    /// A token.
    #[oai(status = 200)]
    Ok(Json<TokenBody>),
}

type Answer = Result<Given, Refused<{ BAD | UNKNOWN | BODY | MANY }>>;

#[OpenApi(tag = "Tag::Auth")]
impl Auth {
    /// Get a token for a user
    ///
    /// The backend proves with its key who it is, and gets a token that acts for one of its users for five
    /// minutes. A wrong key is answered late.
    #[oai(path = "/auth", method = "post", operation_id = "login")]
    async fn login(&self, api: Data<&Arc<Api>>, login: Body<Login>) -> Answer {
        let Body(Login { app, key, uid, gid }) = login;
        let app = known(&api, &app.0, &key.0).await?;
        let user = full("uid", &uid.0, &app)?;
        let group = gid.map(|gid| full("gid", &gid.0, &app)).transpose()?;
        Ok(token(&api, &Subject::User { user, group, app: app.name.clone() })?)
    }

    /// Get a token for the backend itself
    ///
    /// It reads, extends and deletes the services of all users of the app, and reads what a preset has said is
    /// secret. It is not meant for browsers.
    #[oai(path = "/auth/app", method = "post", operation_id = "loginApp")]
    async fn login_app(&self, api: Data<&Arc<Api>>, login: Body<AppLogin>) -> Answer {
        let Body(AppLogin { app, key }) = login;
        let app = known(&api, &app.0, &key.0).await?;
        Ok(token(&api, &Subject::App(app.name.clone()))?)
    }
}

async fn known(api: &Api, app: &str, key: &str) -> Result<Arc<App>, Problem> {
    match api.settings.apps.get(app).filter(|app| app.key.is(key)) {
        Some(app) => Ok(Arc::clone(app)),
        None => Err(api.keeper.refuse().await),
    }
}

/// `{uid}.{app}`, which is the value of a label.
fn full(field: &str, uid: &str, app: &App) -> Result<String, Problem> {
    let room = LONGEST_SUBJECT.saturating_sub(app.name.len() + 1);
    if is_uid(uid) && uid.len() <= room {
        return Ok(format!("{uid}.{}", app.name));
    }
    Err(Problem::bad_request(format!(
        "{field} must have 1 to {room} letters and digits, with - and _ only inside"
    )))
}

fn token(api: &Api, subject: &Subject) -> Result<Given, Problem> {
    let token = api.signer.sign(subject, Utc::now()).map_err(|error| {
        tracing::error!(%error, "a token cannot be signed");
        Problem::internal()
    })?;
    Ok(Given::Ok(Json(TokenBody { token })))
}
