//! Who calls: what a request's token says, and what of the services is the caller's.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use poem::Request;
use poem_openapi::{SecurityScheme, auth::Bearer};

use super::{Api, problem::Problem, settings::App, token::Subject};
use crate::resource::{APP_LABEL, CREATED_BY_ANNOTATION, Ephemeron, GROUP_LABEL, USER_LABEL};

/// A token of POST /auth, or of POST /auth/app for the backend itself.
#[derive(SecurityScheme)]
#[oai(rename = "token", ty = "bearer", bearer_format = "JWT", checker = "check")]
pub struct Authorized(pub Caller);

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The backend.
    pub app: Arc<App>,
    /// For whom it calls; None for the backend itself.
    pub user: Option<User>,
    /// Until when the token is valid.
    pub expires: DateTime<Utc>,
}

/// For whom a backend calls.
#[derive(Clone, Debug)]
pub struct User {
    /// `{uid}.{app}`.
    pub name: String,
    /// `{gid}.{app}`.
    pub group: Option<String>,
}

#[expect(clippy::unused_async, reason = "a checker is asynchronous")]
async fn check(request: &Request, bearer: Bearer) -> poem::Result<Caller> {
    let api = request.data::<Arc<Api>>().ok_or_else(Problem::internal)?;
    let caller = Caller::of(api, &bearer.token).map_err(Problem::unauthorized)?;
    if let Some(Who(who)) = request.data() {
        // It is set once for a request, here.
        let _ = who.set(caller.name().to_owned());
    }
    Ok(caller)
}

/// The caller's name, for the log.
#[derive(Clone, Debug, Default)]
pub struct Who(pub Arc<OnceLock<String>>);

impl Caller {
    fn of(api: &Api, token: &str) -> Result<Self, String> {
        let token = api.signer.verify(token, Utc::now()).map_err(|error| error.to_string())?;
        let (app, user) = match token.subject {
            Subject::App(app) => (app, None),
            Subject::User { user, group, app } => (app, Some(User { name: user, group })),
        };
        let known = api.settings.apps.get(&app).cloned();
        let app =
            known.ok_or_else(|| format!("the token is of the app {app:?}, which is not known any more"))?;
        Ok(Self { app, user, expires: token.expires })
    }

    /// The user's name, or the app's.
    #[must_use]
    pub fn name(&self) -> &str {
        self.user.as_ref().map_or(&self.app.name, |user| &user.name)
    }

    /// The topic of all that is the caller's.
    #[must_use]
    pub fn topic(&self) -> String {
        self.user.as_ref().map_or_else(|| of_app(&self.app.name), |user| of_user(&user.name))
    }

    /// Whether a service is the caller's: the user's own, or one of the backend's.
    #[must_use]
    pub fn owns(&self, ephemeron: &Ephemeron) -> bool {
        match &self.user {
            Some(user) => owner(ephemeron) == Some(&user.name),
            None => app_of(ephemeron) == Some(&self.app.name),
        }
    }

    /// Asks for a backend's own token.
    ///
    /// # Errors
    ///
    /// It is a user's.
    pub fn is_app(&self) -> Result<(), Problem> {
        let why = "this takes a token of the backend itself: get one by POST /auth/app";
        if self.user.is_none() { Ok(()) } else { Err(Problem::forbidden(why)) }
    }
}

/// The user that a service was created for. The annotation is older than the label.
#[must_use]
pub fn owner(ephemeron: &Ephemeron) -> Option<&str> {
    ephemeron.annotations().get(CREATED_BY_ANNOTATION).map(String::as_str)
}

/// The group that a service belongs to.
#[must_use]
pub fn group(ephemeron: &Ephemeron) -> Option<&str> {
    let of_pod = || ephemeron.spec.pod_labels()?.get(GROUP_LABEL);
    ephemeron.labels().get(GROUP_LABEL).or_else(of_pod).map(String::as_str)
}

/// The backend that a service was created by.
#[must_use]
pub fn app_of(ephemeron: &Ephemeron) -> Option<&str> {
    let of_owner = || owner(ephemeron)?.split_once('.').map(|(_, app)| app);
    ephemeron.labels().get(APP_LABEL).map(String::as_str).or_else(of_owner)
}

/// The topic of one service.
#[must_use]
pub fn of_service(id: &str) -> String {
    format!("service {id}")
}

/// The topic of a user's services.
#[must_use]
pub fn of_user(user: &str) -> String {
    format!("user {user}")
}

/// The topic of a group's services.
#[must_use]
pub fn of_group(group: &str) -> String {
    format!("group {group}")
}

/// The topic of a backend's services.
#[must_use]
pub fn of_app(app: &str) -> String {
    format!("app {app}")
}

/// The topics that a service belongs to.
#[must_use]
pub fn topics(ephemeron: &Ephemeron) -> Vec<String> {
    let user = owner(ephemeron).or_else(|| ephemeron.labels().get(USER_LABEL).map(String::as_str));
    let all = [user.map(of_user), group(ephemeron).map(of_group), app_of(ephemeron).map(of_app)];
    all.into_iter().flatten().collect()
}
